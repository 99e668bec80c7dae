//! What happened, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::edge::gateway::{Id, Params, SignedIn, private};
use shared::edge::problem::Problem;
use shared::edge::{clock, page};
use shared::event::store::Span;
use shared::event::{Past, device_key};

use crate::{App, unavailable};

/// An event as its user sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event", example = serde_json::json!({
    "event_id": "evt_5", "type": "motion_detected", "subtype": "human", "device_id": "ava1.ring.device.K4",
    "occurred_at": "2026-02-14T00:02:53Z", "received_at": "2026-02-14T00:02:54.2Z", "media": ["med_9"],
}))]
pub(crate) struct EventView {
    event_id: String,
    /// Ring's word for what happened: `motion_detected`, `button_press`, …
    r#type: String,
    /// What moved, where Ring tells.
    subtype: Option<String>,
    device_id: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    occurred_at: String,
    /// When it came to us.
    #[schemars(extend("format" = "date-time"))]
    received_at: String,
    /// The ids of the media that it asked for.
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

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Asked {
    /// The earliest that is shown.
    #[schemars(extend("format" = "date-time"))]
    from: Option<String>,
    /// The latest that is shown.
    #[schemars(extend("format" = "date-time"))]
    to: Option<String>,
    /// Ring's word for what happened.
    r#type: Option<String>,
    /// `next` of the page before.
    #[schemars(with = "Option<page::Cursor>")]
    cursor: Option<String>,
    /// The most items of a page; 50 unless told.
    #[schemars(with = "Option<u32>", range(min = 1, max = 100))]
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

/// What happened at a device, newest first
pub(crate) async fn of_device(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(id): Id,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let (link, known) = app.device_of(&user, &id).await?;
    answer(&app, &asked, &[device_key(&link.account_id, &known.device_id)]).await
}

/// What happened, newest first
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
