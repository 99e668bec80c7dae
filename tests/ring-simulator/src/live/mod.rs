//! Live video by WHEP (Ring: "Live Video"): an offer is answered by a real WebRTC connection that sends a film of this
//! simulator's own, in the device's codec, until somebody closes the session or its time is over.
//!
//! The documentation gives three limits (30 s on a battery, 60 s on mains power, 20 s after motion) and shows neither which
//! power a device has nor what a session counts as; here a session that is opened within 20 s of its device's motion counts as
//! triggered by it. The limit runs from the 201, by the simulator's clock; the film runs by real time.

mod film;
mod habits;
mod offer;
mod peer;
mod sessions;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

pub(crate) use habits::{Habits, Power};
pub(crate) use sessions::Sessions;

use crate::devices::Device;
use crate::error::{ApiError, device_offline};
use crate::journal::Note;
use crate::media::Footage;
use crate::oauth::scope;
use crate::ring::{Ring, fresh_id, segment};
use film::{Codec, Film, Title};
use habits::Location;
use offer::Offer;
use peer::{CLOCK_RATE, Peer};
use sessions::Session;
use wire::Wire;

/// Ring: Session Duration Limits.
const ON_BATTERY: SignedDuration = SignedDuration::from_secs(30);
const ON_MAINS: SignedDuration = SignedDuration::from_secs(60);
const ON_MOTION: SignedDuration = SignedDuration::from_secs(20);

/// The films' own.
const FRAMES_A_SECOND: u32 = 15;

/// The largest offer.
const OFFER_LIMIT: usize = 64 * 1024;

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new()
        .route("/v1/devices/{device}/media/streaming/whep/sessions", post(open))
        .route(
            "/v1/devices/{device}/media/streaming/whep/sessions/{session}",
            // WHEP knows PATCH too, for trickling; Ring documents none.
            any(async || StatusCode::METHOD_NOT_ALLOWED).delete(close),
        )
        .with_state(ring)
}

async fn open(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match opened(&ring, &note, &id, &headers, &body).await {
        Ok(answer) => answer,
        Err(error) => {
            note.say(error.title());
            error.into_response()
        }
    }
}

async fn opened(
    ring: &Arc<Ring>,
    note: &Note,
    id: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    note.device(id);
    let (user, device) = reached(ring, note, id, headers)?;
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp")) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported Media Type",
        ));
    }
    let sdp = std::str::from_utf8(body).ok().filter(|sdp| sdp.len() <= OFFER_LIMIT);
    let offer = Offer::read(sdp.unwrap_or_default(), &codecs(&device)).map_err(ApiError::bad_request)?;
    if !device.online {
        return Err(device_offline());
    }
    let film = match &device.live.film {
        None => Film::of(offer.codec, Title::Usual),
        Some(path) => Film::read(offer.codec, path)
            .map_err(|error| ApiError::bad_request(format!("The film {} can't be sent: {error}", path.display())))?,
    };
    let wire = Wire::new(Uuid::new_v4().as_u64_pair().0);
    wire.set_loss(device.live.loss);
    let peer = Peer::answer(&offer, &wire, device.live.retransmit, ring.bind)
        .await
        .map_err(|error| ApiError::bad_request(format!("The offer can't be answered: {error}")))?;
    let now = ring.clock.now();
    let limit = limit(&device, now);
    let (fresh, owner) = (fresh_id(), (user, id.to_owned()));
    let session = Session::new(fresh, owner, offer.codec, (now, limit), device.live.clone(), wire);
    let Some(session) = ring.live.open(session, ring.settings().live_sessions_per_device) else {
        peer.close().await;
        return Err(ApiError::new(StatusCode::CONFLICT, "Conflict").because("Too many live sessions"));
    };
    note.say(format!("live session {} is open", session.id));
    let answer = told(&peer.answer, &device.live);
    tokio::spawn(hold(Arc::clone(ring), Arc::clone(&session), peer, film));
    let mut response = (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/sdp")], answer).into_response();
    if let Some(location) = location(ring, &session).and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A session that is not the caller's, or is over, is as one that there never was.
async fn close(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path((device, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    note.device(&device);
    let caller = ring.caller(&headers, &note).map_err(|_| ApiError::invalid_client())?;
    let session = ring
        .live
        .get(&id)
        .filter(|session| session.device == device && session.user == caller.user);
    match session {
        Some(session) if session.end(ring.clock.now(), "delete") => {
            note.say(format!("live session {id} is closed"));
            Ok(StatusCode::OK)
        }
        _ => Err(ApiError::not_found()),
    }
}

fn reached(ring: &Ring, note: &Note, id: &str, headers: &HeaderMap) -> Result<(String, Device), ApiError> {
    let caller = ring.caller(headers, note).map_err(|_| ApiError::invalid_client())?;
    if !caller.may(scope::VIDEO) {
        return Err(ApiError::out_of_scope());
    }
    let users = ring.users();
    let user = users.get(&caller.user).ok_or_else(ApiError::not_found)?;
    if !user.integration.status.opens_devices() {
        return Err(ApiError::out_of_scope());
    }
    let device = user.device(id).ok_or_else(ApiError::not_found)?;
    Ok((caller.user, device.clone()))
}

fn codecs(device: &Device) -> Vec<Codec> {
    let named = device.capabilities["video"]["codecs"].as_array();
    let known = named.into_iter().flatten().filter_map(|name| match name.as_str() {
        Some("AVC") => Some(Codec::Avc),
        Some("HEVC") => Some(Codec::Hevc),
        _ => None,
    });
    known.collect()
}

fn limit(device: &Device, now: Timestamp) -> SignedDuration {
    let by_power = match device.power {
        Power::Battery => ON_BATTERY,
        Power::Mains => ON_MAINS,
    };
    let lately = device
        .motion_at
        .is_some_and(|at| (0..=ON_MOTION.as_millis()).contains(&i128::from(now.as_millisecond() - at)));
    match device.live.limit_ms {
        Some(ms) => SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)),
        None if lately => ON_MOTION,
        None => by_power,
    }
}

/// The answer as this device gives it.
fn told(answer: &str, habits: &Habits) -> String {
    let line = |line: &str| match line {
        "a=sendonly" | "a=sendrecv" if habits.inactive => "a=inactive".to_owned(),
        _ if habits.wrong_fingerprint && line.starts_with("a=fingerprint:") => other_fingerprint(line),
        _ => line.to_owned(),
    };
    answer.lines().map(|text| line(text) + "\r\n").collect()
}

/// A fingerprint of the same form of a certificate that nobody has.
fn other_fingerprint(line: &str) -> String {
    let Some((name, digits)) = line.rsplit_once(' ') else {
        return line.to_owned();
    };
    let other = digits.chars().map(|digit| match digit {
        ':' => ':',
        '0' => '1',
        _ => '0',
    });
    format!("{name} {}", other.collect::<String>())
}

fn location(ring: &Ring, session: &Session) -> Option<String> {
    let path = format!(
        "/v1/devices/{}/media/streaming/whep/sessions/{}",
        segment(&session.device),
        session.id
    );
    match session.habits.borrow().location {
        Location::Absolute => Some(format!("{}{path}", ring.origins.api)),
        Location::Relative => Some(path),
        Location::Hostile => Some(format!("{}{path}", ring.origins.media)),
        Location::Missing => None,
    }
}

/// Holds a session until it is over.
async fn hold(ring: Arc<Ring>, session: Arc<Session>, mut peer: Peer, film: Arc<Film>) {
    let mut closing = ring.closing.subscribe();
    let over = {
        let show = show(&session, &mut peer, film);
        tokio::pin!(show);
        let mut gone = false;
        loop {
            tokio::select! {
                over = session.ended() => break Some(over),
                () = ring.clock.until(session.ends_at) => {
                    session.end(session.ends_at, "limit");
                }
                _ = closing.wait_for(|closing| *closing) => break None,
                () = &mut show, if !gone => gone = true,
            }
        }
    };
    peer.close().await;
    if let Some(over) = over {
        record(&ring, &session, over);
    }
}

/// Sends the film. It returns when the sender is gone before its session is over.
async fn show(session: &Session, peer: &mut Peer, mut film: Arc<Film>) {
    peer.connected().await;
    session.connected.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let (mut place, mut key_frame_wanted) = (0, false);
    let mut tick = 0_u32;
    loop {
        tokio::select! {
            () = sleep_until(began + Duration::from_secs(1) * tick / FRAMES_A_SECOND) => {}
            () = peer.key_frame_asked() => {
                session.wire.key_frames_asked.fetch_add(1, Ordering::Relaxed);
                key_frame_wanted = true;
                continue;
            }
        }
        let (now, since) = (tick, began.elapsed());
        tick += 1;
        let habits = session.habits.borrow().clone();
        session.wire.set_loss(habits.loss);
        if Habits::is_reached(habits.vanish_after_ms, since) {
            peer.close().await;
            return;
        }
        let changed = Film::of(session.codec, Title::Small);
        if Habits::is_reached(habits.change_after_ms, since) && !Arc::ptr_eq(&film, &changed) {
            (film, place) = (changed, 0);
        }
        if habits.is_quiet(since) {
            continue;
        }
        if std::mem::take(&mut key_frame_wanted) && habits.answer_pli {
            place = film.key_from(place);
        }
        let frame = &film.frames[place];
        place = (place + 1) % film.frames.len();
        let timestamp = now.wrapping_mul(CLOCK_RATE / FRAMES_A_SECOND);
        for _ in 0..habits.garbage {
            // It is lost like any other packet, should it not be sent.
            let _ = peer.send_garbage(timestamp.wrapping_sub(1)).await;
        }
        if peer.send(frame, timestamp).await.is_ok() {
            session.frames.fetch_add(1, Ordering::Relaxed);
            session.key_frames.fetch_add(frame.key.into(), Ordering::Relaxed);
        }
    }
}

/// What was shown is footage of its device, where the device records its live view.
fn record(ring: &Ring, session: &Session, over: Timestamp) {
    let habits = session.habits.borrow().clone();
    let (start, end) = (session.opened_at.as_millisecond(), over.as_millisecond());
    if !habits.records || start >= end {
        return;
    }
    let ready_at = end.saturating_add(i64::try_from(habits.record_ready_ms).unwrap_or(i64::MAX));
    let mut users = ring.users();
    if let Some(device) = users
        .get_mut(&session.user)
        .and_then(|user| user.device_mut(&session.device))
    {
        device.footage.push(Footage {
            start,
            end,
            ready_at: Some(ready_at),
            corrupt: false,
        });
    }
}

/// What the control API can do with sessions.
impl Sessions {
    pub(crate) fn views(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.all().iter().map(|session| session.view()).filter(wanted).collect()
    }

    pub(crate) fn view(&self, id: &str) -> Option<Value> {
        self.get(id).map(|session| session.view())
    }

    /// Changes how a session behaves; `None`: there is none of this id.
    pub(crate) fn change(&self, id: &str, change: &Value) -> Option<Result<Value, String>> {
        let session = self.get(id)?;
        let changed = session.habits.borrow().changed(change);
        Some(changed.map(|changed| {
            session.habits.send_replace(changed);
            session.view()
        }))
    }

    /// Ends a session as if its device had; `None`: there is none of this id.
    pub(crate) fn end(&self, id: &str, at: Timestamp) -> Option<Value> {
        let session = self.get(id)?;
        session.end(at, "order");
        Some(session.view())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_92_a_session_lasts_as_long_as_its_power_and_its_trigger_let_it() {
        let now = Timestamp::from_second(1_000).expect("a time");
        let mut device = Device::preset("doorbell", "user", "seed", now).expect("a preset");
        assert_eq!(limit(&device, now), ON_BATTERY);
        device.power = Power::Mains;
        assert_eq!(limit(&device, now), ON_MAINS);
        device.motion_at = Some(now.as_millisecond() - 20_000);
        assert_eq!(limit(&device, now), ON_MOTION);
        device.motion_at = Some(now.as_millisecond() - 20_001);
        assert_eq!(limit(&device, now), ON_MAINS);
        device.live.limit_ms = Some(1_500);
        assert_eq!(limit(&device, now), SignedDuration::from_millis(1_500));
    }

    #[test]
    fn an_answer_can_be_spoilt_on_order() {
        let answer = "v=0\r\na=sendonly\r\na=fingerprint:sha-256 A0:1B\r\n";
        assert_eq!(told(answer, &Habits::default()), answer);
        let inactive = Habits::default()
            .changed(&serde_json::json!({"inactive": true}))
            .expect("good");
        assert!(told(answer, &inactive).contains("a=inactive\r\n"));
        let wrong = Habits::default()
            .changed(&serde_json::json!({"wrong_fingerprint": true}))
            .expect("good");
        assert!(told(answer, &wrong).contains("a=fingerprint:sha-256 01:00\r\n"));
    }
}
