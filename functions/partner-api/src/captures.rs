//! Captures: asked for here, recorded by `stream-capture`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use shared::audit::Deed;
use shared::capture::{self, Begun, Job, Stop};
use shared::device::Mark;
use shared::edge::gateway::{Id, JsonBody, SignedIn};
use shared::edge::idempotent::idempotency_key;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::{clock, key};
use shared::media::{CaptureRequest, Medium, MediumId, Progress, Request};
use shared::policy::{Action, DURATIONS};

use crate::media::accepted;
use crate::{App, unavailable};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CaptureRequest", example = serde_json::json!({ "duration": 30000 }))]
pub(crate) struct CaptureBody {
    /// In milliseconds.
    #[schemars(range(min = 1_000, max = 900_000))]
    duration: i64,
}

/// Begins a capture; while one of the device goes on, that one is prolonged, and answered.
pub(crate) async fn capture(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(device): Id,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CaptureBody>,
) -> Result<Response, Problem> {
    let (link, known) = app.device_of(&user, &device).await?;
    if !DURATIONS.contains(&body.duration) {
        let (shortest, longest) = (DURATIONS.start(), DURATIONS.end());
        return Err(Problem::field(
            "/duration",
            format!("{shortest} to {longest}, in milliseconds"),
        ));
    }
    let recorder = app.recorder()?;
    let name = idempotency_key(&headers)?.unwrap_or_else(|| key::random("once"));
    app.may_be_shown(&known, Action::Capture).await?;
    if known.online.as_ref().is_some_and(|told| !told.is) {
        return Err(Problem::new(ProblemType::DeviceOffline));
    }
    let policy = app.policies.holding_for(&known).await;
    let policy = policy.map_err(|error| unavailable(&error))?;
    let now = clock::now();
    let request = Request::Capture(CaptureRequest {
        duration: body.duration,
        audio: policy.audio,
    });
    let asked = Medium {
        id: MediumId::now(&link.account_id, &known.device_id, request.kind(), &name),
        ..Medium::requested(link.account_id, known.device_id, request, now)
    };
    // First that, so that a word that the device is gone does not pass by the capture.
    let marked = app
        .devices
        .mark(&asked.account_id, &asked.device_id, Mark::Captured)
        .await;
    marked.map_err(|error| unavailable(&error))?;
    let begun = capture::begin(&app.captures, &asked, now)
        .await
        .map_err(|error| unavailable(&error))?;
    let medium = match &begun {
        Begun::Now(_) => asked,
        Begun::Prolonged(id) | Begun::Before(id) => {
            let medium = app.media.get(id).await.map_err(|error| unavailable(&error))?;
            medium.ok_or_else(|| Problem::new(ProblemType::NotFound))?
        }
    };
    // Told twice, it is recorded once.
    if medium.progress == Progress::Requested && !matches!(begun, Begun::Prolonged(_)) {
        let told = recorder.send(Job::message(&medium)).await;
        told.map_err(|error| unavailable(&error))?;
    }
    app.audited(&user, &medium.account_id, &medium.device_id, Deed::Recorded)
        .await;
    accepted(&app, medium).await
}

/// Has a capture stop whose medium is deleted.
pub(crate) async fn stop(app: &App, medium: &Medium) -> Result<(), Problem> {
    let Request::Capture(_) = medium.request else {
        return Ok(());
    };
    let (account, device) = (&medium.account_id, &medium.device_id);
    capture::stop(&app.captures, account, device, Some(&medium.id), Stop::Deleted)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(())
}
