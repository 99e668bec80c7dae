//! Clips and snapshots: asked for here, fetched by `media-fetch`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use ring_partner::media::{AudioOptions, ClipRequest, ImageOptions, Resolution, SnapshotRequest, VideoOptions};
use serde::{Deserialize, Serialize};
use shared::device::Known;
use shared::edge::gateway::{Id, JsonBody, Params, SignedIn, private};
use shared::edge::problem::{FieldError, Problem, ProblemType};
use shared::edge::{clock, key, page};
use shared::link::Link;
use shared::media::{Medium, MediumId, Progress, Request, Window};

use crate::{App, captures, footage, unavailable};

/// How far back "now" looks for the latest image. Ring takes a window of 24 h (Ring: Image Snapshots, Request Body).
const LATEST_WITHIN: SignedDuration = SignedDuration::from_hours(24);
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// A medium as its user sees it.
#[derive(Debug, Serialize)]
struct MediumView {
    id: String,
    kind: &'static str,
    device_id: String,
    event_id: Option<String>,
    state: &'static str,
    reason: Option<String>,
    requested: Window,
    actual: Option<Window>,
    origin: Option<String>,
    partial: bool,
    stale: bool,
    codec: Option<String>,
    resolution: Option<Resolution>,
    privacy_zones: String,
    bytes: Option<u64>,
    sha256: Option<String>,
    /// What a clip is made of that did not come in one go, in order of time; `url`, `bytes` and `sha256` are the first one's then.
    parts: Vec<PartView>,
    /// Presigned, as `url` is.
    thumbnail: Option<String>,
    url: Option<String>,
    ring_request_id: Option<String>,
}

/// A part of a clip, as its user sees it.
#[derive(Debug, Serialize)]
struct PartView {
    requested: Window,
    actual: Option<Window>,
    bytes: u64,
    sha256: String,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClipBody {
    /// In epoch milliseconds; with `record` it is when the recording begins.
    timestamp: Option<i64>,
    duration: i64,
    video_options: Option<VideoOptions>,
    audio_options: Option<AudioOptions>,
    /// Whether a live session is to be held first, so that there is footage.
    #[serde(default)]
    record: bool,
}

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
        return footage::ask(&app, link, &known, clip, &headers).await;
    }
    ask(&app, &link, &known, Request::Clip(clip), None, now).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotBody {
    r#type: Option<SnapshotType>,
    timestamp: Option<i64>,
    start_timestamp: Option<i64>,
    end_timestamp: Option<i64>,
    image_options: Option<ImageOptions>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
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
    ask(&app, &link, &known, Request::Snapshot(request), once, now).await
}

/// The caller's own name for a request, so that it can be sent again.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key
        .to_str()
        .ok()
        .filter(|key| (1..=LONGEST_IDEMPOTENCY_KEY).contains(&key.len()));
    let wrong = || Problem::field("Idempotency-Key", "1 to 255 visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(wrong)
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

#[derive(Debug, Deserialize)]
pub(crate) struct Paging {
    cursor: Option<String>,
    limit: Option<String>,
}

pub(crate) async fn of_device(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(id): Id,
    Params(paging): Params<Paging>,
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
