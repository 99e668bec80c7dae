//! What there is as a whole: health, state, the clock, faults, the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Ask, ENDPOINTS, Order};
use crate::devices::PRESETS;
use crate::error::Problem;
use crate::faults::Fault;
use crate::journal::Filter;
use crate::ring::Ring;
use crate::webhooks::travel;

pub(super) async fn health(State(ring): State<Arc<Ring>>) -> Json<Value> {
    let endpoints: Vec<Value> = ENDPOINTS
        .iter()
        .map(|(method, path, purpose)| json!({ "method": method, "path": path, "purpose": purpose }))
        .collect();
    let presets: Map<String, Value> = PRESETS
        .iter()
        .map(|(name, what)| ((*name).to_owned(), json!(what)))
        .collect();
    Json(json!({
        "status": "ok",
        "now": ring.clock.now().to_string(),
        "api_url": ring.origins.api,
        "oauth_url": format!("{}/oauth/token", ring.origins.oauth),
        "media_url": ring.origins.media,
        "control_url": ring.origins.control,
        "endpoints": endpoints,
        "device_presets": presets,
    }))
}

pub(super) async fn state(State(ring): State<Arc<Ring>>) -> Json<Value> {
    let now = ring.clock.now();
    let users: Vec<(String, Value, usize)> = {
        let users = ring.users();
        users
            .all()
            .map(|user| (user.id.clone(), json!(user.integration), user.devices.len()))
            .collect()
    };
    let users: Map<String, Value> = {
        let grants = ring.grants();
        let mut families = grants.families(now);
        let of_user = |(id, integration, devices): (String, Value, usize)| {
            let families = families.remove(id.as_str()).unwrap_or_default();
            let live = families.iter().filter(|family| family.live).count();
            let access: usize = families.iter().map(|family| family.live_access_tokens).sum();
            let state = json!({
                "integration": integration,
                "devices": devices,
                "families": families,
                "live_families": live,
                "live_access_tokens": access,
            });
            (id, state)
        };
        users.into_iter().map(of_user).collect()
    };
    let mut deliveries = BTreeMap::<&str, usize>::new();
    for delivery in ring.webhooks.list(None, now) {
        *deliveries.entry(delivery.status).or_default() += 1;
    }
    Json(
        json!({ "now": now.to_string(), "users": users, "deliveries": deliveries, "faults": ring.faults.list().len(), "live_open": ring.live.open_ones() }),
    )
}

/// Where to put the hands: one of `now` and the advances, and whether they stand still afterwards.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hands {
    now: Option<Timestamp>,
    advance_seconds: Option<f64>,
    frozen: Option<bool>,
}

pub(super) async fn clock(State(ring): State<Arc<Ring>>) -> Json<Value> {
    Json(json!({ "now": ring.clock.now().to_string(), "frozen": ring.clock.is_frozen() }))
}

/// Moves the clock. Forward, it visits each moment at which a webhook is due; back, it just goes.
pub(super) async fn move_clock(
    State(ring): State<Arc<Ring>>,
    Order(order): Order<Hands>,
) -> Result<Json<Value>, Problem> {
    let start = ring.clock.now();
    let target = match (order.now, order.advance_seconds) {
        (Some(_), Some(_)) => return Err(Problem::bad_order("give now or advance_seconds, not both")),
        (Some(now), None) => Some(now),
        (None, Some(seconds)) => {
            let distance = SignedDuration::try_from_secs_f64(seconds).ok();
            let target = distance.and_then(|distance| start.checked_add(distance).ok());
            Some(target.ok_or_else(|| Problem::bad_order("advance_seconds leads out of time"))?)
        }
        (None, None) if order.frozen.is_some() => None,
        (None, None) => {
            return Err(Problem::bad_order(
                "give {\"now\": \"2026-01-01T00:00:00Z\"}, {\"advance_seconds\": 60} or {\"frozen\": true}",
            ));
        }
    };
    if order.frozen == Some(true) {
        ring.clock.set(start, Some(true)); // first, so that the target is met exactly
    }
    match target {
        Some(target) if target > start => travel(&ring, target).await,
        Some(target) => ring.clock.set(target, None),
        None => {}
    }
    if order.frozen == Some(false) {
        ring.clock.set(ring.clock.now(), Some(false));
    }
    Ok(clock(State(ring)).await)
}

pub(super) async fn faults(State(ring): State<Arc<Ring>>) -> Json<Value> {
    Json(json!({ "items": ring.faults.list() }))
}

pub(super) async fn order_fault(
    State(ring): State<Arc<Ring>>,
    Order(fault): Order<Fault>,
) -> Result<(StatusCode, Json<Fault>), Problem> {
    let fault = ring.faults.add(fault).map_err(Problem::bad_order)?;
    Ok((StatusCode::CREATED, Json(fault)))
}

pub(super) async fn clear_faults(State(ring): State<Arc<Ring>>) -> Json<Value> {
    Json(json!({ "removed": ring.faults.remove(None) }))
}

pub(super) async fn clear_fault(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    match ring.faults.remove(Some(&id)) {
        0 => Err(Problem::unknown(format!(
            "no fault {id:?} waits; GET /_sim/faults lists them"
        ))),
        removed => Ok(Json(json!({ "removed": removed }))),
    }
}

pub(super) async fn journal(State(ring): State<Arc<Ring>>, Ask(filter): Ask<Filter>) -> Json<Value> {
    let (items, dropped) = ring.journal.read(&filter);
    Json(json!({ "items": items, "dropped": dropped }))
}

pub(super) async fn clear_journal(State(ring): State<Arc<Ring>>) -> StatusCode {
    ring.journal.clear();
    StatusCode::NO_CONTENT
}
