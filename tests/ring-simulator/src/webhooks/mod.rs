//! Webhooks: what is told to the partner, signed, and delivered on Ring's schedule (Ring: "Notifications").

mod deliveries;
mod payload;
mod schedule;
mod seal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use deliveries::{NoReplay, Webhooks, id as delivery_id};
pub(crate) use payload::{Event, SubTypeAt};
pub(crate) use seal::Key;

use crate::integrations::Status;
use crate::journal::{Direction, Entry};
use crate::media::Footage;
use crate::ring::{Ring, fresh_id};
use deliveries::Letter;
use seal::Seal;

/// How much of a recording a motion or a button press makes: from a little before it to half a minute after.
const RECORDED_BEFORE_MS: i64 = 5_000;
const RECORDED_AFTER_MS: i64 = 30_000;

/// How many copies of one webhook can be ordered.
pub(crate) const COPIES_LIMIT: u16 = 1_000;

/// How a webhook is sent, beside what it says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sending {
    pub(crate) copies: u16,
    pub(crate) key: Key,
    pub(crate) signature: Option<String>,
}

/// An event that was sent on its way.
pub(crate) struct Emitted {
    pub(crate) request_id: String,
    pub(crate) body: Value,
    pub(crate) deliveries: Vec<u64>,
}

/// Why an event can't be told.
pub(crate) enum NotEmitted {
    NowhereToDeliver,
    UnknownUser,
    NoDevice,
    TooManyPending,
}

/// Tells the partner of an event. With `effects` the world follows it: motion is recorded, a device that goes offline is offline.
pub(crate) fn emit(
    ring: &Arc<Ring>,
    user: &str,
    event: &Event,
    sending: &Sending,
    effects: bool,
) -> Result<Emitted, NotEmitted> {
    if ring.settings().webhook_url.is_none() {
        return Err(NotEmitted::NowhereToDeliver);
    }
    if ring.webhooks.is_full() {
        return Err(NotEmitted::TooManyPending);
    }
    let now = ring.clock.now();
    let device = {
        let mut users = ring.users();
        let user = users.get_mut(user).ok_or(NotEmitted::UnknownUser)?;
        let device = event
            .device
            .clone()
            .or_else(|| user.devices.first().map(|device| device.id.clone()));
        let device = device.ok_or(NotEmitted::NoDevice)?;
        if effects {
            follow(user, &device, event, now);
        }
        device
    };
    if effects {
        match event.kind.as_str() {
            "device_removed" => ring.live.end_of_device(&device, now, "removed"),
            "device_offline" => ring.live.end_of_device(&device, now, "offline"),
            "app_integration_removed" => ring.live.end_of_user(user, now, "uninstall"),
            _ => {}
        }
    }
    let request_id = event.request_id.clone().unwrap_or_else(fresh_id);
    let body = payload::body(event, user, &device, &request_id, now);
    let letter = Letter {
        user: Some(user.to_owned()),
        device: Some(device),
        kind: event.kind.clone(),
        request_id: Some(request_id.clone()),
        content_type: "application/json".into(),
        body: payload::text(&body).into(),
        seal: Seal {
            key: sending.key,
            header: sending.signature.clone(),
        },
        replay_of: None,
    };
    let deliveries = post(ring, letter, sending.copies);
    Ok(Emitted {
        request_id,
        body,
        deliveries,
    })
}

/// Sends bytes as they are, signed.
pub(crate) fn emit_raw(
    ring: &Arc<Ring>,
    body: Bytes,
    content_type: String,
    sending: &Sending,
) -> Result<Vec<u64>, NotEmitted> {
    if ring.settings().webhook_url.is_none() {
        return Err(NotEmitted::NowhereToDeliver);
    }
    if ring.webhooks.is_full() {
        return Err(NotEmitted::TooManyPending);
    }
    let letter = Letter {
        user: None,
        device: None,
        kind: "raw".into(),
        request_id: None,
        content_type,
        body,
        seal: Seal {
            key: sending.key,
            header: sending.signature.clone(),
        },
        replay_of: None,
    };
    Ok(post(ring, letter, sending.copies))
}

/// Sends a delivery that is over once more, from the start of the schedule. Its body is the same, `request_id` too unless a new
/// one is asked for.
pub(crate) fn replay(ring: &Arc<Ring>, id: &str, new_request_id: bool) -> Result<u64, NoReplay> {
    let mut letter = ring.webhooks.reopen(id, ring.clock.now())?;
    if new_request_id && let Ok(mut body) = serde_json::from_slice::<Value>(&letter.body) {
        let fresh = fresh_id();
        crate::devices::merge(&mut body, &json!({ "meta": { "request_id": fresh } }));
        letter.body = payload::text(&body).into();
        letter.request_id = Some(fresh);
    }
    Ok(post(ring, letter, 1)[0])
}

/// Moves the clock forward, and stops at each moment on the way at which an attempt is due until it is answered: so the whole
/// schedule happens as it would, whatever the distance.
pub(crate) async fn travel(ring: &Arc<Ring>, target: Timestamp) {
    let bound = answer_bound(ring);
    ring.webhooks.quiet(ring.clock.now(), bound).await; // what is under way now may fall due again before the target
    while let Some(due) = ring.webhooks.earliest_due().filter(|due| *due <= target) {
        if due > ring.clock.now() {
            ring.clock.set(due, None);
        }
        ring.webhooks.quiet(due, bound).await;
        if *ring.closing.borrow() {
            return; // nothing is carried any more
        }
    }
    if target > ring.clock.now() {
        ring.clock.set(target, None);
    }
}

/// How long an attempt can take at the most: the time-out, and something for connecting.
pub(crate) fn answer_bound(ring: &Ring) -> Duration {
    Duration::from_millis(ring.settings().webhook_timeout_ms) + Duration::from_secs(5)
}

/// What an event changes in the world that tells of it.
fn follow(user: &mut crate::users::User, id: &str, event: &Event, now: Timestamp) {
    if event.kind == "device_removed" {
        user.devices.retain(|device| device.id != id);
    }
    if event.kind == "app_integration_removed" {
        user.integration.status = Status::NotInstalled;
    }
    let Some(device) = user.device_mut(id) else { return };
    match event.kind.as_str() {
        "device_online" => device.online = true,
        "device_offline" => device.online = false,
        "motion_detected" | "button_press" => {
            if event.kind == "motion_detected" {
                device.motion_at = Some(now.as_millisecond());
            }
            let moment = event.timestamp.unwrap_or_else(|| now.as_millisecond());
            let (start, end) = (
                moment.saturating_sub(RECORDED_BEFORE_MS),
                moment.saturating_add(RECORDED_AFTER_MS),
            );
            device.footage.push(Footage {
                start,
                end,
                ready_at: None,
                corrupt: false,
            });
        }
        _ => {}
    }
}

fn post(ring: &Arc<Ring>, letter: Letter, copies: u16) -> Vec<u64> {
    let now = ring.clock.now();
    let numbers: Vec<u64> = (0..copies.clamp(1, COPIES_LIMIT))
        .map(|_| ring.webhooks.take(letter.clone(), now))
        .collect();
    for number in &numbers {
        let (ring, number, mut closing) = (Arc::clone(ring), *number, ring.closing.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                () = carry(&ring, number) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        });
    }
    numbers
}

/// Carries one delivery from its first attempt to its end.
async fn carry(ring: &Ring, number: u64) {
    while let Some(due) = ring.webhooks.due(number) {
        ring.clock.until(due).await;
        let Some((letter, attempt)) = ring.webhooks.begin(number) else {
            return;
        };
        let (began, clock) = (ring.clock.now(), Instant::now());
        let (status, error) = match send(ring, &letter).await {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        ring.journal.write(Entry {
            at: began.to_string(),
            direction: Direction::Sent,
            door: "webhook",
            method: "POST".into(),
            path: path_of(ring.settings().webhook_url.as_deref()),
            status,
            user: letter.user.clone(),
            device: letter.device.clone(),
            notes: vec![letter.kind.clone(), format!("attempt {attempt}")],
            delivery: Some(delivery_id(number)),
            milliseconds: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..Entry::default()
        });
        ring.webhooks.end(number, status, error, began, ring.clock.now());
    }
}

async fn send(ring: &Ring, letter: &Letter) -> Result<u16, String> {
    let settings = ring.settings();
    let url = settings.webhook_url.as_deref().ok_or("no webhook_url is set")?;
    let mut request = ring
        .http
        .post(url)
        .timeout(Duration::from_millis(settings.webhook_timeout_ms))
        .header(CONTENT_TYPE, &letter.content_type)
        .body(letter.body.clone());
    if let Some(signature) = letter.seal.header(&settings, &letter.body) {
        request = request.header("x-signature", signature);
    }
    let answer = with_headers(request, &settings.push_headers)
        .send()
        .await
        .map_err(|error| reason(&error))?;
    let status = answer.status().as_u16();
    Ok(status)
}

/// Adds the headers that pushes are given; `Host` replaces the URL's.
pub(crate) fn with_headers(
    request: reqwest::RequestBuilder,
    headers: &BTreeMap<String, String>,
) -> reqwest::RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => request.header(name, value),
            _ => request, // refused where settings are made
        }
    })
}

/// Why nothing came back, in a few words and without the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "no answer in time".into()
    } else if error.is_connect() {
        "no connection".into()
    } else if error.is_builder() {
        "the URL or a header is not valid".into()
    } else {
        "the connection broke".into()
    }
}

/// The path of a URL, for the journal.
pub(crate) fn path_of(url: Option<&str>) -> String {
    url.and_then(|url| url::Url::parse(url).ok())
        .map(|url| url.path().to_owned())
        .unwrap_or_default()
}
