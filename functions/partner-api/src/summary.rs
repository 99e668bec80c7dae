//! Totals, for a dashboard.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use ring_partner::devices::Toggle;
use ring_partner::webhook::EventKind;
use schemars::JsonSchema;
use serde::Serialize;
use shared::device::Known;
use shared::edge::clock;
use shared::edge::gateway::{SignedIn, private};
use shared::edge::problem::Problem;
use shared::edge::table::StoreError;
use shared::event::device_key;
use shared::event::store::{Events, Span};

use crate::events::EventView;
use crate::{App, unavailable};

/// How far back motion is counted.
const COUNTED: SignedDuration = SignedDuration::from_hours(24);
/// How many of the last events are shown.
const LAST: usize = 10;
/// How many devices are counted at a time.
const AT_A_TIME: usize = 16;

/// Totals over all devices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(example = serde_json::json!({
    "devices": 2, "online": 1, "offline": 1, "motion_enabled": 2, "motion_24h": { "ava1.ring.device.K4": 7 }, "last": [],
}))]
pub(crate) struct Summary {
    devices: usize,
    /// Those that can be reached, as far as is known; all others are offline.
    online: usize,
    offline: usize,
    /// Those whose owner has switched motion detection on.
    motion_enabled: usize,
    /// How often motion was seen within 24 h, by device; each of the devices is in it.
    motion_24h: BTreeMap<String, usize>,
    /// The last ten events, newest first.
    last: Vec<EventView>,
}

/// Totals
pub(crate) async fn of_user(State(app): State<Arc<App>>, user: SignedIn) -> Result<Response, Problem> {
    let now = clock::now();
    let links = app.links_of(&user).await?;
    let each = links.iter().map(|link| app.devices.ever_of_account(&link.account_id));
    let ever = futures_util::future::try_join_all(each)
        .await
        .map_err(|error| unavailable(&error))?;
    let ever: Vec<_> = ever.into_iter().flatten().collect();
    let keys: Vec<_> = ever
        .iter()
        .map(|known| device_key(&known.account_id, &known.device_id))
        .collect();
    let lately = Span {
        from: None,
        to: None,
        kind: None,
        before: None,
        now,
    };
    let moved = Span {
        from: Some(now - COUNTED),
        kind: Some(EventKind::MotionDetected.as_str().to_owned()),
        ..lately.clone()
    };
    let present: Vec<_> = ever.iter().filter(|known| known.is_present()).collect();
    let mut counts = Vec::with_capacity(present.len());
    for known in &present {
        counts.push(counted(&app.events, known, &moved));
    }
    let counts = stream::iter(counts).buffer_unordered(AT_A_TIME).try_collect();
    let (motion_24h, last) = try_join(counts, app.events.history(&keys, &lately, LAST))
        .await
        .map_err(|error| unavailable(&error))?;
    let devices = present.len();
    let online = present
        .iter()
        .filter(|known| known.online.as_ref().is_some_and(|told| told.is))
        .count();
    Ok(private(axum::Json(Summary {
        devices,
        online,
        offline: devices - online,
        motion_enabled: present.iter().filter(|known| motion_is_on(known)).count(),
        motion_24h,
        last: last.into_iter().map(EventView::from).collect(),
    })))
}

/// A device, and how many of its events there are in this span.
async fn counted(events: &Events, known: &Known, span: &Span) -> Result<(String, usize), StoreError> {
    let count = events
        .count(&device_key(&known.account_id, &known.device_id), span)
        .await?;
    Ok((known.device_id.to_string(), count))
}

fn motion_is_on(known: &Known) -> bool {
    let motion = known
        .configurations
        .as_ref()
        .and_then(|set| set.motion_detection.as_ref());
    motion.is_some_and(|motion| motion.enabled == Some(Toggle::On))
}
