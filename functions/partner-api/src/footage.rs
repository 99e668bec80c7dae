//! Clips that are recorded first (Ring: Recommended Workflow, Record Then Download): asked for here, held by `stream-capture`,
//! fetched by `media-fetch`.

use axum::response::Response;
use http::HeaderMap;
use ring_partner::media::ClipRequest;
use ring_partner::whep::LONGEST_ON_MAINS;
use shared::capture::Job;
use shared::device::{Known, Mark};
use shared::edge::idempotent::idempotency_key;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::{clock, key};
use shared::link::Link;
use shared::media::{Medium, MediumId, Progress, Request};
use shared::policy::Action;

use crate::media::accepted;
use crate::{App, unavailable};

/// Keeps the request, and has a live session held for it. One is told from another by its `Idempotency-Key` alone, as each is
/// for what is there now.
pub(crate) async fn ask(
    app: &App,
    link: &Link,
    known: &Known,
    clip: ClipRequest,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let longest = LONGEST_ON_MAINS.as_millis();
    if i128::from(clip.duration) > i128::try_from(longest).unwrap_or_default() {
        let detail = format!("1 to {longest} milliseconds with `record`: no live session is longer");
        return Err(Problem::field("/duration", detail));
    }
    let recorder = app.recorder()?;
    let name = idempotency_key(headers)?.unwrap_or_else(|| key::random("once"));
    app.may_be_shown(known, Action::Clip).await?;
    if known.online.as_ref().is_some_and(|told| !told.is) {
        return Err(Problem::new(ProblemType::DeviceOffline));
    }
    // First that, so that a word that the device is gone does not pass by the session.
    let marked = app
        .devices
        .mark(&link.account_id, &known.device_id, Mark::Watched)
        .await;
    marked.map_err(|error| unavailable(&error))?;
    let request = Request::Clip(clip);
    let asked = Medium {
        id: MediumId::now(&link.account_id, &known.device_id, "recorded", &name),
        record_first: true,
        ..Medium::requested(link.account_id.clone(), known.device_id.clone(), request, clock::now())
    };
    let medium = app.media.request(asked).await.map_err(|error| unavailable(&error))?;
    // Told twice, a session is held once.
    if medium.progress == Progress::Requested && medium.record_first {
        let told = recorder.send(Job::message(&medium)).await;
        told.map_err(|error| unavailable(&error))?;
    }
    accepted(app, medium).await
}
