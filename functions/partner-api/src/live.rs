//! Live video: any WHEP player's offer goes to Ring, and Ring's answer back. No token of Ring's, no session of its and no host
//! reaches the player: what it gets is our own session, whose end it asks of us.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use ring_partner::whep::{LONGEST_DESCRIPTION, Offer};
use shared::audit::Deed;
use shared::capture::session::Session;
use shared::capture::session::live::{Asked, CloseFailure, OpenFailure};
use shared::capture::session::ports::Sessions as _;
use shared::device::Mark;
use shared::edge::gateway::{Id, SignedIn, private, whole};
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::{clock, key};
use shared::grant::access::CallError;
use shared::link::Link;
use shared::policy::Action;

use crate::{App, unavailable};

/// What WHEP speaks.
const SDP: &str = "application/sdp";

/// What is known of the device is looked at before Ring is asked.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(device): Id,
    request: Request,
) -> Result<Response, Problem> {
    spoken(request.headers())?;
    let (link, known) = app.device_of(&user, &device).await?;
    let body = whole(request, LONGEST_DESCRIPTION).await?;
    let offer = std::str::from_utf8(&body).unwrap_or_default();
    let offer =
        Offer::parse(offer).map_err(|error| Problem::new(ProblemType::UnusableOffer).detail(error.to_string()))?;
    app.may_be_shown(&known, Action::Capture).await?;
    if known.online.as_ref().is_some_and(|told| !told.is) {
        return Err(Problem::new(ProblemType::DeviceOffline));
    }
    // First that, so that a word that the device is gone does not pass by the session.
    if !known.watched {
        let marked = app
            .devices
            .mark(&link.account_id, &known.device_id, Mark::Watched)
            .await;
        marked.map_err(|error| unavailable(&error))?;
    }
    let asked = Asked {
        account: &link.account_id,
        device: &known.device_id,
        grant: &link.grant_id,
        capture: None,
    };
    let opened = app
        .live
        .open(key::random("live"), asked, &offer, &app.access, clock::now)
        .await;
    app.counted(opened.as_ref().err());
    let (session, answer) = opened.map_err(|failure| not_opened(&failure, clock::now()))?;
    tracing::info!(session.id = session.id, "a live session is open");
    app.audited(&user, &link.account_id, &known.device_id, Deed::Viewed)
        .await;
    let mut response = private((StatusCode::CREATED, answer));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    if let Ok(location) = HeaderValue::try_from(format!("/v1/live/{}", session.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Closes a live session
pub(crate) async fn close(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let (link, session) = session_of(&app, &user, &id).await?;
    match app
        .live
        .closer
        .close(session, &link.grant_id, &app.access, clock::now())
        .await
    {
        // Ring ends the one by itself that nobody can close.
        Ok(()) | Err(CloseFailure::EndsByItself { .. }) => {
            tracing::info!(session.id = id, "a live session is closed");
            Ok(StatusCode::OK.into_response())
        }
        Err(CloseFailure::Ring(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "live session {id} is closed later"
            );
            Err(Problem::new(ProblemType::RingUnavailable).retry_after(1))
        }
        Err(CloseFailure::Store(error)) => Err(unavailable(&error)),
    }
}

impl App {
    /// Counts a session that was opened, or was not by Ring's or our own fault. What the player, the device or the user could
    /// have done otherwise is no failure.
    fn counted(&self, failure: Option<&OpenFailure>) {
        let failed = failure.is_some_and(|failure| {
            matches!(
                failure,
                OpenFailure::Unavailable { .. } | OpenFailure::Store(_) | OpenFailure::Queue(_)
            )
        });
        if failed || failure.is_none() {
            self.metrics.count("live_opened", u64::from(!failed));
            self.metrics.count("live_failed", u64::from(failed));
            self.metrics.flush(clock::now());
        }
    }
}

async fn session_of(app: &App, user: &SignedIn, id: &str) -> Result<(Link, Session), Problem> {
    let links = app.links_of(user).await?;
    for link in links {
        let session = app.live.closer.sessions.get(&link.account_id, id).await;
        if let Some(session) = session.map_err(|error| unavailable(&error))? {
            return Ok((link, session));
        }
    }
    Err(Problem::new(ProblemType::NotFound))
}

/// Whether the two speak of the same: an offer comes, and an answer to it is taken.
fn spoken(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).and_then(essence);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(SDP)) {
        return Err(Problem::new(ProblemType::UnsupportedMediaType).detail("send application/sdp"));
    }
    let taken = |range: &str| {
        essence(range).is_some_and(|range| {
            [SDP, "application/*", "*/*"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(range))
        })
    };
    match text(header::ACCEPT) {
        Some(accepted) if !accepted.split(',').any(taken) => {
            Err(Problem::new(ProblemType::NotAcceptable).detail("the answer is application/sdp"))
        }
        _ => Ok(()),
    }
}

/// A media type without its parameters.
fn essence(text: &str) -> Option<&str> {
    text.split(';').next().map(str::trim)
}

fn not_opened(failure: &OpenFailure, now: Timestamp) -> Problem {
    tracing::warn!(
        error = failure as &dyn std::error::Error,
        "a live session is not opened"
    );
    match failure {
        OpenFailure::Busy { until } => {
            let left = until.duration_since(now).as_secs().max(0).unsigned_abs() + 1;
            Problem::new(ProblemType::SessionOpen).retry_after(left)
        }
        // Ring has no documented word for it, and does not say until when.
        OpenFailure::Elsewhere => Problem::new(ProblemType::RingUnavailable).retry_after(1),
        OpenFailure::Offline => Problem::new(ProblemType::DeviceOffline),
        OpenFailure::Refused(_) => Problem::new(ProblemType::UnusableOffer).detail("Ring does not take the offer"),
        OpenFailure::Gone => Problem::new(ProblemType::NotFound),
        OpenFailure::NotAllowed(CallError::Access(_)) => Problem::new(ProblemType::RelinkRequired),
        OpenFailure::NotAllowed(_) => {
            Problem::new(ProblemType::ScopeMissing).detail("the Ring account may have to be linked again")
        }
        OpenFailure::Unavailable { wait } => {
            Problem::new(ProblemType::RingUnavailable).retry_after(wait.as_secs().max(1))
        }
        OpenFailure::Store(_) | OpenFailure::Queue(_) => Problem::new(ProblemType::Unavailable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(content_type: Option<&str>, accept: Option<&str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::CONTENT_TYPE, content_type), (header::ACCEPT, accept)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        let refused = spoken(&headers).err()?;
        Some(refused.into_response().status().as_u16())
    }

    #[test]
    fn an_offer_comes_and_an_answer_is_taken() {
        for accept in [
            None,
            Some("application/sdp"),
            Some("text/html, */*;q=0.1"),
            Some("Application/*"),
        ] {
            assert_eq!(problem(Some("application/sdp"), accept), None, "{accept:?}");
        }
        assert_eq!(problem(Some("Application/SDP; charset=utf-8"), None), None);
        assert_eq!(problem(Some("application/sdp"), Some("application/json")), Some(406));
        for kind in [None, Some("application/json"), Some("application/sdp2"), Some("")] {
            assert_eq!(problem(kind, None), Some(415), "{kind:?}");
        }
    }
}
