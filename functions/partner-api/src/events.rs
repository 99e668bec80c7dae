//! What happened, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::edge::gateway::{Id, Params, SignedIn, private};
use shared::edge::problem::Problem;
use shared::edge::{clock, page};
use shared::event::store::Span;
use shared::event::{Past, device_key};

use crate::{App, unavailable};

/// An event as its user sees it.
#[derive(Debug, Serialize)]
struct EventView {
    event_id: String,
    r#type: String,
    subtype: Option<String>,
    device_id: Option<String>,
    occurred_at: String,
    received_at: String,
    media: Vec<String>,
    #[serde(skip)]
    position: String,
}

impl From<Past> for EventView {
    fn from(past: Past) -> Self {
        Self {
            position: past.place().position,
            event_id: past.event_id.as_str().to_owned(),
            r#type: past.kind.as_str().to_owned(),
            subtype: past.subtype,
            device_id: past.device_id.map(|device| device.to_string()),
            occurred_at: past.occurred_at.to_string(),
            received_at: past.received_at.to_string(),
            media: past.media,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    from: Option<String>,
    to: Option<String>,
    r#type: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

impl Asked {
    fn span(&self) -> Result<Span, Problem> {
        let time = |text: &Option<String>, name: &str| {
            let wrong = |_| Problem::field(name, "a time as RFC 3339 has it, such as 2026-02-14T00:02:53Z");
            text.as_deref().map(str::parse::<Timestamp>).transpose().map_err(wrong)
        };
        Ok(Span {
            from: time(&self.from, "?from")?,
            to: time(&self.to, "?to")?,
            kind: self.r#type.clone(),
            before: self.cursor.as_deref().map(page::position).transpose()?,
            now: clock::now(),
        })
    }
}

pub(crate) async fn of_device(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(id): Id,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let (link, known) = app.device_of(&user, &id).await?;
    answer(&app, &asked, &[device_key(&link.account_id, &known.device_id)]).await
}

pub(crate) async fn of_user(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let links = app.links_of(&user).await?;
    let each = links.iter().map(|link| app.devices.ever_of_account(&link.account_id));
    let known = futures_util::future::try_join_all(each)
        .await
        .map_err(|error| unavailable(&error))?;
    let devices: Vec<_> = known
        .iter()
        .flatten()
        .map(|known| device_key(&known.account_id, &known.device_id))
        .collect();
    answer(&app, &asked, &devices).await
}

async fn answer(app: &App, asked: &Asked, devices: &[String]) -> Result<Response, Problem> {
    let limit = page::limit(asked.limit.as_deref())?;
    let found = app
        .events
        .history(devices, &asked.span()?, limit + 1)
        .await
        .map_err(|error| unavailable(&error))?;
    let found = found.into_iter().map(EventView::from).collect();
    Ok(private(axum::Json(page::cut(found, limit, |event| {
        event.position.clone()
    }))))
}
