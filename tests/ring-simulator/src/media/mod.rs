//! Clips and pictures (Ring: "Media Clips", "Image Snapshots").
//!
//! The bytes are small test recordings, the same whatever window, frame rate and resolution is asked for; codec, audio
//! and format are as asked for. What the headers say is true of the footage that the device is given.

mod footage;
mod payload;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};

pub(crate) use footage::Footage;

use crate::devices::Device;
use crate::error::{ApiError, MediaError, device_offline};
use crate::journal::Note;
use crate::oauth::scope;
use crate::ring::{Ring, fresh_id, secret, segment};
use footage::Frame;
use payload::{ClipOrder, PictureOrder, Search};

static CLIP_AVC: &[u8] = include_bytes!("../../assets/clip-avc.mp4");
static CLIP_AVC_AUDIO: &[u8] = include_bytes!("../../assets/clip-avc-audio.mp4");
static CLIP_HEVC: &[u8] = include_bytes!("../../assets/clip-hevc.mp4");
static PICTURE_JPEG: &[u8] = include_bytes!("../../assets/snapshot.jpg");
static PICTURE_PNG: &[u8] = include_bytes!("../../assets/snapshot.png");

/// The size of a piece of a clip that is sent without its length.
const PIECE: usize = 16 * 1024;

/// How many presigned URLs are remembered: expired ones are forgotten first, then those that expire next.
const PRESIGNED_LIMIT: usize = 10_000;

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new()
        .route("/v1/devices/{device}/media/video/download", post(clip))
        .route(
            "/v1/relay/{hop}/devices/{device}/media/video/download",
            post(relayed_clip),
        )
        .route("/v1/devices/{device}/media/image/download", post(picture))
        .with_state(ring)
}

/// The origin that presigned URLs lead to: it knows no bearer, and refuses one.
pub(crate) fn presigned_router(ring: Arc<Ring>) -> Router {
    Router::new().route("/v1/download", get(presigned)).with_state(ring)
}

/// What an answer's headers and error bodies need beside the error itself.
struct Exchange<'a> {
    ring: &'a Ring,
    note: &'a Note,
    now: Timestamp,
    request_id: String,
}

/// Why a request for media fails: with a media code, or (the device is offline) in the form of most endpoints.
enum Failure {
    Media(MediaError),
    Api(ApiError),
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        Self::Media(error)
    }
}

impl<'a> Exchange<'a> {
    fn new(ring: &'a Ring, note: &'a Note) -> Self {
        Self {
            ring,
            note,
            now: ring.clock.now(),
            request_id: fresh_id(),
        }
    }

    /// The caller's device: unknown ones are 404, another's or one before the link is confirmed 403.
    fn device(&self, headers: &HeaderMap, id: &str) -> Result<Device, MediaError> {
        self.note.device(id);
        let caller = self
            .ring
            .caller(headers, self.note)
            .map_err(|_| MediaError::unauthorized())?;
        if !caller.may(scope::VIDEO) {
            return Err(MediaError::forbidden());
        }
        let users = self.ring.users();
        let user = users
            .get(&caller.user)
            .filter(|user| user.integration.status.opens_devices());
        let user = user.ok_or_else(MediaError::forbidden)?;
        match user.device(id) {
            Some(device) => Ok(device.clone()),
            None if users.knows_device(id) => Err(MediaError::forbidden()),
            None => Err(MediaError::unknown_device(id)),
        }
    }

    fn answer(&self, outcome: Result<Response, Failure>) -> Response {
        match outcome {
            Ok(answer) => answer,
            Err(Failure::Media(error)) => {
                self.note.say(error.code());
                error.answer(&self.request_id, self.now)
            }
            Err(Failure::Api(error)) => {
                self.note.say(error.title());
                error.into_response()
            }
        }
    }
}

async fn clip(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let exchange = Exchange::new(&ring, &note);
    exchange.answer(answer_clip(&exchange, &headers, &device, None, &body))
}

async fn relayed_clip(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path((hop, device)): Path<(u8, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let exchange = Exchange::new(&ring, &note);
    exchange.answer(answer_clip(&exchange, &headers, &device, Some(hop), &body))
}

fn answer_clip(
    exchange: &Exchange<'_>,
    headers: &HeaderMap,
    id: &str,
    hop: Option<u8>,
    body: &[u8],
) -> Result<Response, Failure> {
    let device = exchange.device(headers, id)?;
    let now = exchange.now.as_millisecond();
    let order = ClipOrder::parse(body, now)?;
    if let Some(next) = hop.unwrap_or(device.clip_redirects).checked_sub(1) {
        let path = format!("/v1/relay/{next}/devices/{}/media/video/download", segment(id));
        // The first Location is absolute, later ones are not: RFC 9110 allows both.
        let location = if hop.is_none() {
            format!("{}{path}", exchange.ring.origins.api)
        } else {
            path
        };
        return Ok((StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response());
    }
    if !device.online && !device.cloud_storage {
        return Err(Failure::Api(device_offline()));
    }
    let found = footage::clip(&device.footage, order.window, now)?;
    let bytes = match (order.hevc.unwrap_or_else(|| device.prefers_hevc()), order.audio) {
        (true, _) => CLIP_HEVC,
        (false, true) => CLIP_AVC_AUDIO,
        (false, false) => CLIP_AVC,
    };
    let mut answer = if found == order.window {
        Bytes::from_static(bytes).into_response() // with Content-Length
    } else {
        let pieces = bytes
            .chunks(PIECE)
            .map(|piece| Ok::<_, std::convert::Infallible>(Bytes::from_static(piece)));
        let mut answer = Body::from_stream(stream::iter(pieces)).into_response(); // chunked
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        answer
            .headers_mut()
            .insert("x-media-length", HeaderValue::from(found.end - found.start));
        answer
    };
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    answer
        .headers_mut()
        .insert("x-media-timestamp", HeaderValue::from(found.start));
    Ok(answer)
}

async fn picture(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let exchange = Exchange::new(&ring, &note);
    exchange.answer(answer_picture(&exchange, &headers, &device, &body))
}

/// Validation errors come from here; whether there is a picture is told by the presigned URL.
fn answer_picture(exchange: &Exchange<'_>, headers: &HeaderMap, id: &str, body: &[u8]) -> Result<Response, Failure> {
    let device = exchange.device(headers, id)?;
    let now = exchange.now.as_millisecond();
    let order = PictureOrder::parse(body, now)?;
    if !device.online && !device.cloud_storage {
        return Err(Failure::Api(device_offline()));
    }
    let frame = match order.search {
        Search::At(moment) => footage::frame_at(&device.footage, &device.snapshots, moment, now),
        Search::LatestIn(window) => footage::latest(&device.footage, &device.snapshots, window, now),
    };
    let life = exchange.ring.settings().presign_seconds;
    let token = secret(48);
    let location = format!(
        "{}/v1/download?security_token={token}&req_type=image_download&req_id={}&X-Amz-Date={}&X-Amz-Expires={life}",
        exchange.ring.origins.media,
        exchange.request_id,
        exchange.now.strftime("%Y%m%dT%H%M%SZ"),
    );
    let picture = Picture {
        device: id.to_owned(),
        frame,
        png: order.png,
        request_id: exchange.request_id.clone(),
        expires: exchange.now + SignedDuration::from_secs(life.into()),
    };
    exchange.ring.presigned().keep(token, picture, exchange.now);
    let headers = [("location", location), ("x-request-id", exchange.request_id.clone())];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// The pictures that presigned URLs stand for.
#[derive(Default)]
pub(crate) struct Presigned(HashMap<String, Picture>);

#[derive(Clone)]
struct Picture {
    device: String,
    frame: Result<Frame, MediaError>,
    png: bool,
    request_id: String,
    expires: Timestamp,
}

impl Presigned {
    /// The secret part of each URL that leads to a picture of these devices.
    pub(crate) fn of(&self, devices: &[String]) -> Vec<&str> {
        let mine = self.0.iter().filter(|(_, picture)| devices.contains(&picture.device));
        mine.map(|(token, _)| token.as_str()).collect()
    }

    fn keep(&mut self, token: String, picture: Picture, now: Timestamp) {
        if self.0.len() >= PRESIGNED_LIMIT {
            self.0.retain(|_, picture| picture.expires > now);
        }
        if self.0.len() >= PRESIGNED_LIMIT {
            let first = self
                .0
                .iter()
                .min_by_key(|(_, picture)| picture.expires)
                .map(|(token, _)| token.clone());
            first.map(|token| self.0.remove(&token));
        }
        self.0.insert(token, picture);
    }
}

async fn presigned(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let token = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "security_token");
    let picture = token.and_then(|(_, token)| ring.presigned().0.get(&*token).cloned());
    let mut exchange = Exchange::new(&ring, &note);
    let outcome = answer_presigned(&mut exchange, &headers, picture).map_err(Failure::from);
    exchange.answer(outcome)
}

fn answer_presigned(
    exchange: &mut Exchange<'_>,
    headers: &HeaderMap,
    picture: Option<Picture>,
) -> Result<Response, MediaError> {
    // As a presigned store does: the URL is the credential, and a second one is an error.
    if headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE) {
        exchange.note.say("credentials sent to a presigned URL");
        return Err(MediaError::unreadable(
            "Only one auth mechanism allowed: send no Authorization and no Cookie here",
        ));
    }
    let picture = picture.ok_or_else(MediaError::forbidden)?;
    exchange.note.device(&picture.device);
    exchange.request_id.clone_from(&picture.request_id);
    if exchange.now >= picture.expires {
        return Err(MediaError::expired());
    }
    let frame = picture.frame?;
    let (kind, bytes) = if picture.png {
        ("image/png", PICTURE_PNG)
    } else {
        ("image/jpeg", PICTURE_JPEG)
    };
    let mut answer = ([(header::CONTENT_TYPE, kind)], Bytes::from_static(bytes)).into_response();
    let headers = answer.headers_mut();
    headers.insert("x-media-timestamp", HeaderValue::from(frame.timestamp));
    headers.insert("x-media-origin", HeaderValue::from_static(frame.origin));
    if let Ok(id) = HeaderValue::from_str(&picture.request_id) {
        headers.insert("x-request-id", id);
    }
    Ok(answer)
}
