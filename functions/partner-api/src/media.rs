//! Clips and snapshots: asked for here, fetched by `media-fetch`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use ring_partner::media::{AudioOptions, ClipRequest, ImageOptions, Resolution, SnapshotRequest, VideoOptions};
use ring_partner::object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::audit::Deed;
use shared::device::Known;
use shared::edge::gateway::{Id, JsonBody, Params, SignedIn, private};
use shared::edge::idempotent::idempotency_key;
use shared::edge::problem::{FieldError, Problem, ProblemType};
use shared::edge::{clock, key, page};
use shared::link::Link;
use shared::media::{Medium, MediumId, Progress, Request, Window};

use crate::{App, captures, footage, ring_shapes, unavailable};

/// How far back "now" looks for the latest image. Ring takes a window of 24 h (Ring: Image Snapshots, Request Body).
const LATEST_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A medium as its user sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Medium", example = serde_json::json!({
    "id": "med_9", "kind": "clip", "device_id": "ava1.ring.device.K4", "event_id": "evt_5", "state": "stored",
    "reason": null, "requested": { "timestamp": 1770989995231_i64, "duration": 30000 },
    "actual": { "timestamp": 1770989995000_i64, "duration": 29800 }, "origin": "recording", "partial": false,
    "stale": false, "codec": "avc", "resolution": { "width": 1920, "height": 1080 }, "privacy_zones": "none", "bytes": 1834021,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "parts": [], "thumbnail": null,
    "url": "https://example.com/clip.mp4", "ring_request_id": "5f2c",
}))]
pub(crate) struct MediumView {
    id: String,
    #[schemars(with = "Kind")]
    kind: &'static str,
    device_id: String,
    /// The event that asked for it.
    event_id: Option<String>,
    #[schemars(with = "Stage")]
    state: &'static str,
    /// Why it is not stored.
    reason: Option<String>,
    #[schemars(with = "WindowView")]
    requested: Window,
    /// What it truly shows.
    #[schemars(with = "Option<WindowView>")]
    actual: Option<Window>,
    /// `recording`, `snapshot` or `live`.
    origin: Option<String>,
    partial: bool,
    stale: bool,
    /// As its file has it: `avc` or `hevc` of a film.
    codec: Option<String>,
    /// As its file has it.
    #[schemars(with = "Option<ring_shapes::Size>")]
    resolution: Option<Resolution>,
    /// What was done about them: `none`, `obscured` or `as_recorded`.
    privacy_zones: String,
    bytes: Option<u64>,
    sha256: Option<String>,
    /// What a clip is made of that did not come in one go, in order of time; `url`, `bytes` and `sha256` are the first one's then.
    parts: Vec<PartView>,
    /// Where a picture of a clip can be had, as long as the clip.
    thumbnail: Option<String>,
    /// Where it can be had, for five minutes at the most.
    url: Option<String>,
    ring_request_id: Option<String>,
}

/// A window of time, as Ring has it.
#[derive(JsonSchema)]
#[schemars(rename = "Window")]
#[expect(dead_code, reason = "a shape of the description")]
struct WindowView {
    /// Its start, in epoch milliseconds.
    timestamp: i64,
    /// Its length, in milliseconds.
    duration: i64,
}

/// What a medium is.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "a word of the description")]
enum Kind {
    Clip,
    Snapshot,
    Capture,
}

/// How far a medium is.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "a word of the description")]
enum Stage {
    Requested,
    Fetching,
    Stored,
    NoMedia,
    Failed,
}

/// A part of a clip, as its user sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Part")]
struct PartView {
    #[schemars(with = "WindowView")]
    requested: Window,
    #[schemars(with = "Option<WindowView>")]
    actual: Option<Window>,
    bytes: u64,
    sha256: String,
    /// Presigned, as the medium's is.
    url: String,
}

impl MediumView {
    async fn new(app: &App, medium: Medium) -> Result<Self, Problem> {
        let (state, reason) = match &medium.progress {
            Progress::Requested => ("requested", medium.hindered.clone()),
            Progress::Fetching { .. } => ("fetching", medium.hindered.clone()),
            Progress::Waiting { .. } => ("requested", Some("device_offline".to_owned())),
            Progress::Stored { .. } => ("stored", None),
            Progress::NoMedia { reason, .. } => ("no_media", Some(reason.clone())),
            Progress::Failed { reason, .. } => ("failed", Some(reason.clone())),
        };
        let requested = medium.request.window(medium.requested_at);
        let mut view = Self {
            id: medium.id.as_str().to_owned(),
            kind: medium.request.kind(),
            device_id: medium.device_id.to_string(),
            event_id: medium.event_id,
            state,
            reason,
            requested,
            actual: None,
            origin: None,
            partial: false,
            stale: false,
            codec: None,
            resolution: None,
            privacy_zones: "none".to_owned(),
            bytes: None,
            sha256: None,
            parts: Vec::new(),
            thumbnail: None,
            url: None,
            ring_request_id: medium.ring.and_then(|ring| ring.request_id.or(ring.error_id)),
        };
        if let Progress::Stored { object, .. } = medium.progress {
            let object = *object;
            let url = app
                .archive
                .presigned(&object.key)
                .await
                .map_err(|error| unavailable(&error))?;
            let thumbnail = match &object.thumbnail {
                Some(key) => Some(app.archive.presigned(key).await.map_err(|error| unavailable(&error))?),
                None => None,
            };
            let mut parts = Vec::new();
            for part in object.parts {
                let url = app.archive.presigned(&part.key).await;
                parts.push(PartView {
                    requested: part.requested,
                    actual: part.actual,
                    bytes: part.bytes,
                    sha256: part.sha256,
                    url: url.map_err(|error| unavailable(&error))?,
                });
            }
            view = Self {
                codec: object.codec,
                resolution: object.resolution,
                thumbnail,
                actual: object.actual,
                origin: object.origin,
                privacy_zones: object.privacy_zones,
                partial: object.partial,
                stale: object.stale,
                parts,
                bytes: Some(object.bytes),
                sha256: Some(object.sha256),
                url: Some(url),
                ring_request_id: object.ring_request_id,
                ..view
            };
        }
        Ok(view)
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
// A clip that is recorded first begins when it is recorded, and is no longer than a live session.
#[schemars(rename = "ClipRequest", extend(
    "if" = { "required": ["record"], "properties": { "record": { "const": true } } },
    "then" = { "properties": { "duration": { "maximum": 60_000 } } },
    "else" = { "required": ["timestamp"], "properties": { "timestamp": { "type": "integer" } } },
), example = serde_json::json!({ "timestamp": 1770989995231_i64, "duration": 30000 }))]
pub(crate) struct ClipBody {
    /// Where it begins, in epoch milliseconds; with `record` it is when the recording begins, and left out.
    timestamp: Option<i64>,
    /// How long it is, in milliseconds.
    #[schemars(range(min = 1, max = 900_000))]
    duration: i64,
    #[serde(default, deserialize_with = "object::optional")]
    #[schemars(with = "Option<ring_shapes::VideoOptions>")]
    video_options: Option<VideoOptions>,
    #[serde(default, deserialize_with = "object::optional")]
    #[schemars(with = "Option<ring_shapes::AudioOptions>")]
    audio_options: Option<AudioOptions>,
    /// Whether a live session is to be held first, so that there is footage.
    #[serde(default)]
    record: bool,
}

/// Asks for a clip
///
/// The same request again is the same medium while it is under way or stored.
pub(crate) async fn clip(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(device): Id,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ClipBody>,
) -> Result<Response, Problem> {
    let (link, known) = app.device_of(&user, &device).await?;
    let now = clock::now();
    let ClipBody {
        timestamp,
        duration,
        video_options,
        audio_options,
        record,
    } = body;
    let timestamp = match timestamp {
        _ if record => now.as_millisecond(),
        Some(timestamp) => timestamp,
        None => {
            return Err(Problem::field(
                "/timestamp",
                "epoch milliseconds; a clip has to begin somewhere",
            ));
        }
    };
    let mut clip = ClipRequest {
        timestamp,
        duration,
        video_options,
        audio_options,
    }
    .checked(now)
    .map_err(fields)?;
    if let Some(video) = known.capabilities.as_ref().and_then(|all| all.video.as_ref()) {
        clip.fits(video).map_err(fields)?;
        clip = clip.in_ratio(video);
    }
    if record {
        let asked = footage::ask(&app, &link, &known, clip, &headers).await?;
        app.audited(&user, &link.account_id, &known.device_id, Deed::Recorded)
            .await;
        return Ok(asked);
    }
    let asked = ask(&app, &link, &known, Request::Clip(clip), None, now).await?;
    app.audited(&user, &link.account_id, &known.device_id, Deed::Fetched)
        .await;
    Ok(asked)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SnapshotRequest", example = serde_json::json!({}), example = serde_json::json!({ "timestamp": 1770989995231_i64 }))]
pub(crate) struct SnapshotBody {
    /// Told by the other fields where it is left out.
    r#type: Option<SnapshotType>,
    /// The time of the image, in epoch milliseconds. With neither this nor a window, it is the latest image.
    timestamp: Option<i64>,
    /// Where the window begins of which the latest image is, in epoch milliseconds.
    start_timestamp: Option<i64>,
    /// Where it ends; now unless told.
    end_timestamp: Option<i64>,
    #[serde(default, deserialize_with = "object::optional")]
    #[schemars(with = "Option<ring_shapes::ImageOptions>")]
    image_options: Option<ImageOptions>,
}

/// Ring's two forms.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SnapshotType {
    AtTimestamp,
    LatestInRange,
}

/// What is asked for, and whether it is a "now".
#[derive(Debug, PartialEq)]
struct Asked {
    request: SnapshotRequest,
    now: bool,
}

impl SnapshotBody {
    /// Ring's two forms; a body that names no time asks for the latest image.
    fn asked(self, now: Timestamp) -> Result<Asked, Problem> {
        let Self {
            r#type,
            timestamp,
            start_timestamp,
            end_timestamp,
            image_options,
        } = self;
        let needed = |pointer: &str| Problem::field(pointer, "this type of snapshot needs it, in epoch milliseconds");
        let no_place = |pointer: &str| Problem::field(pointer, "this type of snapshot has no such field");
        let request = match (r#type, timestamp, start_timestamp) {
            (None, None, None) if end_timestamp.is_none() => {
                let start_timestamp = (now - LATEST_WITHIN).as_millisecond() + 1_000;
                let request = SnapshotRequest::LatestInRange {
                    start_timestamp,
                    end_timestamp,
                    image_options,
                };
                return Ok(Asked { request, now: true });
            }
            (Some(SnapshotType::AtTimestamp), None, _) => return Err(needed("/timestamp")),
            (Some(SnapshotType::LatestInRange), _, None) | (None, None, None) => {
                return Err(needed("/start_timestamp"));
            }
            (Some(SnapshotType::LatestInRange) | None, Some(_), Some(_)) => return Err(no_place("/timestamp")),
            (_, Some(_), Some(_)) => return Err(no_place("/start_timestamp")),
            (_, Some(_), None) if end_timestamp.is_some() => return Err(no_place("/end_timestamp")),
            (_, Some(timestamp), None) => SnapshotRequest::AtTimestamp {
                timestamp,
                image_options,
            },
            (_, None, Some(start_timestamp)) => SnapshotRequest::LatestInRange {
                start_timestamp,
                end_timestamp,
                image_options,
            },
        };
        Ok(Asked { request, now: false })
    }
}

/// Asks for a snapshot
///
/// The same request again is the same medium while it is under way or stored. A request for the latest image is told from
/// another by its `Idempotency-Key`.
pub(crate) async fn snapshot(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(device): Id,
    headers: HeaderMap,
    JsonBody(body): JsonBody<SnapshotBody>,
) -> Result<Response, Problem> {
    let (link, known) = app.device_of(&user, &device).await?;
    let now = clock::now();
    let asked = body.asked(now)?;
    let once = match idempotency_key(&headers)? {
        Some(key) if asked.now => Some(key),
        None if asked.now => Some(key::random("once")),
        _ => None,
    };
    let mut request = asked.request.checked(now).map_err(fields)?;
    if let Some(video) = known.capabilities.as_ref().and_then(|all| all.video.as_ref()) {
        request.fits(video).map_err(fields)?;
        request = request.in_ratio(video);
    }
    let asked = ask(&app, &link, &known, Request::Snapshot(request), once, now).await?;
    app.audited(&user, &link.account_id, &known.device_id, Deed::Fetched)
        .await;
    Ok(asked)
}

/// Keeps the request and has it fetched. `once` names a "now", which is told from another by nothing else.
async fn ask(
    app: &App,
    link: &Link,
    known: &Known,
    request: Request,
    once: Option<String>,
    now: Timestamp,
) -> Result<Response, Problem> {
    app.may_be_shown(known, request.action()).await?;
    let (account, device) = (link.account_id.clone(), known.device_id.clone());
    let mut medium = Medium::requested(account, device, request, now);
    if let Some(once) = once {
        medium.id = MediumId::now(&medium.account_id, &medium.device_id, medium.request.kind(), &once);
    }
    let medium = app.media.request(medium).await.map_err(|error| unavailable(&error))?;
    let stuck = matches!(medium.progress, Progress::Fetching { until } if until <= now);
    if stuck || medium.progress == Progress::Requested {
        app.media_queue
            .send(medium.fetch_message())
            .await
            .map_err(|error| unavailable(&error))?;
    }
    accepted(app, medium).await
}

/// A medium that is on its way, and where it will be.
pub(crate) async fn accepted(app: &App, medium: Medium) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(format!("/v1/media/{}", medium.id.as_str())).ok();
    let view = MediumView::new(app, medium).await?;
    let mut response = private((StatusCode::ACCEPTED, axum::Json(view)));
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn fields(errors: Vec<ring_partner::media::FieldError>) -> Problem {
    let errors = errors.into_iter();
    Problem::fields(
        errors
            .map(|error| FieldError {
                pointer: error.pointer.into_owned(),
                detail: error.detail.into_owned(),
            })
            .collect(),
    )
}

/// One medium
pub(crate) async fn one(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let medium = medium_of(&app, &user, id).await?;
    Ok(private(axum::Json(MediumView::new(&app, medium).await?)))
}

/// The medium goes first, and a row says in the same moment that its objects are to: nothing is left that nobody knows of.
pub(crate) async fn delete(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let medium = medium_of(&app, &user, id).await?;
    captures::stop(&app, &medium).await?;
    let gone = app.media.delete(&medium, clock::now()).await;
    let gone = gone.map_err(|error| unavailable(&error))?;
    let key = medium.object_key();
    let deleted = match medium.request {
        Request::Capture(_) => app.reels.delete_all(&key).await,
        Request::Clip(_) | Request::Snapshot(_) => app.archive.delete(&key).await,
    };
    deleted.map_err(|error| unavailable(&error))?;
    app.media.deleted(&gone).await.map_err(|error| unavailable(&error))?;
    app.audited(&user, &medium.account_id, &medium.device_id, Deed::MediumDeleted)
        .await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A medium of this user's.
pub(crate) async fn medium_of(app: &App, user: &SignedIn, id: String) -> Result<Medium, Problem> {
    let id = MediumId::from(id);
    let (links, medium) = tokio::join!(app.links_of(user), app.media.get(&id));
    let medium = medium.map_err(|error| unavailable(&error))?;
    let links = links?;
    let not_found = || Problem::new(ProblemType::NotFound);
    let medium = medium
        .filter(|medium| links.iter().any(|link| link.account_id == medium.account_id))
        .ok_or_else(not_found)?;
    // What was recorded of a device that Ring's user took away is out of reach from that moment on, whenever it is purged.
    let known = app.devices.get(&medium.account_id, &medium.device_id).await;
    let known = known.map_err(|error| unavailable(&error))?;
    known.filter(Known::is_present).map(|_| medium).ok_or_else(not_found)
}

/// The media of a device, newest first
pub(crate) async fn of_device(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(id): Id,
    Params(paging): Params<page::Paging>,
) -> Result<Response, Problem> {
    let limit = page::limit(paging.limit.as_deref())?;
    let before = paging.cursor.as_deref().map(page::position).transpose()?;
    let (link, known) = app.device_of(&user, &id).await?;
    let found = app
        .media
        .of_device(&link.account_id, &known.device_id, before.as_deref(), limit + 1)
        .await;
    let found = page::cut(found.map_err(|error| unavailable(&error))?, limit, Medium::position);
    let mut items = Vec::with_capacity(found.items.len());
    for medium in found.items {
        items.push(MediumView::new(&app, medium).await?);
    }
    Ok(private(axum::Json(page::Page {
        items,
        next: found.next,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_770_000_000).unwrap()
    }

    fn asked(body: &str) -> Option<Asked> {
        serde_json::from_str::<SnapshotBody>(body).unwrap().asked(now()).ok()
    }

    #[test]
    fn a_snapshot_without_a_time_is_the_latest_one() {
        let latest = asked("{}").unwrap();
        assert!(latest.now);
        assert!(latest.request.checked(now()).is_ok(), "Ring takes the window");
    }

    #[test]
    fn rings_two_forms_are_taken_with_and_without_their_type() {
        for body in [r#"{"type":"at_timestamp","timestamp":5}"#, r#"{"timestamp":5}"#] {
            assert!(matches!(
                asked(body).unwrap().request,
                SnapshotRequest::AtTimestamp { timestamp: 5, .. }
            ));
        }
        for body in [
            r#"{"type":"latest_in_range","start_timestamp":5}"#,
            r#"{"start_timestamp":5}"#,
        ] {
            assert!(matches!(
                asked(body).unwrap().request,
                SnapshotRequest::LatestInRange { start_timestamp: 5, .. }
            ));
        }
    }

    #[test]
    fn a_mixture_of_both_is_refused() {
        for body in [
            r#"{"type":"at_timestamp"}"#,
            r#"{"type":"latest_in_range","timestamp":5}"#,
            r#"{"type":"at_timestamp","timestamp":5,"start_timestamp":5}"#,
            r#"{"timestamp":5,"start_timestamp":5}"#,
            r#"{"timestamp":5,"end_timestamp":5}"#,
            r#"{"end_timestamp":5}"#,
        ] {
            assert_eq!(asked(body), None, "{body}");
        }
    }
}
