//! Live sessions: which there are and were, how each behaves, and its end on order.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Order};
use crate::error::Problem;
use crate::ring::Ring;

/// Which sessions are wanted; each field narrows.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    open: Option<bool>,
    user: Option<String>,
    device: Option<String>,
}

pub(super) async fn list(State(ring): State<Arc<Ring>>, Ask(wanted): Ask<Wanted>) -> Json<Value> {
    let is = |wanted: Option<&String>, found: &Value| wanted.is_none_or(|wanted| found == wanted);
    let items = ring.live.views(|session| {
        wanted.open.is_none_or(|open| session["open"] == open)
            && is(wanted.user.as_ref(), &session["user"])
            && is(wanted.device.as_ref(), &session["device"])
    });
    Json(json!({ "items": items, "open": ring.live.open_ones() }))
}

pub(super) async fn show(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    ring.live.view(&id).map(Json).ok_or_else(|| no_session(&id))
}

pub(super) async fn change(
    State(ring): State<Arc<Ring>>,
    Path(id): Path<String>,
    Order(order): Order<Value>,
) -> Result<Json<Value>, Problem> {
    let changed = ring.live.change(&id, &order).ok_or_else(|| no_session(&id))?;
    changed.map(Json).map_err(Problem::bad_order)
}

pub(super) async fn end(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let ended = ring.live.end(&id, ring.clock.now());
    ended.map(Json).ok_or_else(|| no_session(&id))
}

fn no_session(id: &str) -> Problem {
    Problem::unknown(format!("there is no live session {id:?}; GET /_sim/live lists them"))
}
