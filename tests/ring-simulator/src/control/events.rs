//! Events, and the deliveries they become.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Ask, Order, no_user};
use crate::error::Problem;
use crate::ring::Ring;
use crate::webhooks::{self, COPIES_LIMIT, Event, Key, NoReplay, NotEmitted, Sending, SubTypeAt, delivery_id};

/// How an order is sent: these fields stand beside those of the event, or of the raw body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct How {
    copies: u16,
    key: Key,
    signature: Option<String>,
    wait: bool,
    effects: bool,
}

const HOW: [&str; 5] = ["copies", "key", "signature", "wait", "effects"];

impl Default for How {
    fn default() -> Self {
        Self {
            copies: 1,
            key: Key::Current,
            signature: None,
            wait: false,
            effects: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    body: Option<String>,
    /// For bytes that are no text.
    body_base64: Option<String>,
    content_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    status: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Replay {
    /// Ring may send a replay under another `request_id`; `data.id` stays.
    new_request_id: bool,
    wait: bool,
}

pub(super) async fn emit(
    State(ring): State<Arc<Ring>>,
    Path(user): Path<String>,
    Order(order): Order<Map<String, Value>>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (how, event): (How, Event) = split(order)?;
    let sending = how.sending()?;
    let emitted = webhooks::emit(&ring, &user, &event, &sending, how.effects).map_err(|why| complaint(&why, &user))?;
    let mut answer = answer(&ring, &emitted.deliveries, how.wait).await;
    answer.1["request_id"] = json!(emitted.request_id);
    answer.1["body"] = emitted.body;
    Ok(answer)
}

pub(super) async fn emit_raw(
    State(ring): State<Arc<Ring>>,
    Order(order): Order<Map<String, Value>>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (how, raw): (How, Raw) = split(order)?;
    let sending = how.sending()?;
    let body = match (raw.body, raw.body_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(encoded)) => {
            let decoded = STANDARD.decode(encoded).map(Bytes::from);
            decoded.map_err(|_| Problem::bad_order("body_base64 must be Base64, with padding"))?
        }
        _ => return Err(Problem::bad_order("give body (a text) or body_base64, one of the two")),
    };
    let content_type = raw.content_type.unwrap_or_else(|| "application/json".into());
    let deliveries = webhooks::emit_raw(&ring, body, content_type, &sending).map_err(|why| complaint(&why, ""))?;
    Ok(answer(&ring, &deliveries, how.wait).await)
}

pub(super) async fn list(State(ring): State<Arc<Ring>>, Ask(wanted): Ask<Wanted>) -> Result<Json<Value>, Problem> {
    const STATUSES: [&str; 6] = ["due", "under_way", "delivered", "refused", "dead_lettered", "expired"];
    if wanted
        .status
        .as_deref()
        .is_some_and(|status| !STATUSES.contains(&status))
    {
        return Err(Problem::bad_order(format!(
            "status must be one of {}",
            STATUSES.join(", ")
        )));
    }
    Ok(Json(
        json!({ "items": ring.webhooks.list(wanted.status.as_deref(), ring.clock.now()) }),
    ))
}

pub(super) async fn show(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let shown = ring
        .webhooks
        .show(&id, ring.clock.now())
        .ok_or_else(|| no_delivery(&id))?;
    Ok(Json(json!(shown)))
}

pub(super) async fn replay(
    State(ring): State<Arc<Ring>>,
    Path(id): Path<String>,
    Order(order): Order<Replay>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let number = webhooks::replay(&ring, &id, order.new_request_id).map_err(|why| match why {
        NoReplay::Unknown => no_delivery(&id),
        NoReplay::UnderWay => Problem::conflict("this delivery is not over yet; PUT /_sim/clock moves its retries on"),
        NoReplay::Expired => Problem::gone("the dead-letter queue keeps an event for 72 hours, and they have passed"),
    })?;
    Ok(answer(&ring, &[number], order.wait).await)
}

/// An event with nothing but its type and its device.
pub(super) fn plain(kind: &str, device: &str) -> Event {
    Event {
        kind: kind.into(),
        device: Some(device.into()),
        sub_type: None,
        sub_type_at: SubTypeAt::default(),
        timestamp: None,
        id: None,
        request_id: None,
        version: None,
        data: Map::new(),
        meta: Map::new(),
    }
}

pub(super) fn complaint(why: &NotEmitted, user: &str) -> Problem {
    match why {
        NotEmitted::NowhereToDeliver => {
            Problem::conflict("there is nowhere to deliver to: PUT /_sim/config {\"webhook_url\": …}")
        }
        NotEmitted::UnknownUser => no_user(user),
        NotEmitted::TooManyPending => {
            Problem::conflict("too many deliveries are pending: let the partner answer, or move the clock on")
        }
        NotEmitted::NoDevice => Problem::bad_order("this user has no device: name one in \"device\", known or not"),
    }
}

impl How {
    fn sending(&self) -> Result<Sending, Problem> {
        if !(1..=COPIES_LIMIT).contains(&self.copies) {
            return Err(Problem::bad_order(format!("copies must be from 1 to {COPIES_LIMIT}")));
        }
        Ok(Sending {
            copies: self.copies,
            key: self.key,
            signature: self.signature.clone(),
        })
    }
}

/// Parts an order's fields: how to send, and what.
fn split<T: serde::de::DeserializeOwned>(order: Map<String, Value>) -> Result<(How, T), Problem> {
    let (how, what): (Map<_, _>, Map<_, _>) = order.into_iter().partition(|(name, _)| HOW.contains(&name.as_str()));
    let bad = |error: serde_json::Error| Problem::bad_order(error.to_string());
    Ok((
        serde_json::from_value(how.into()).map_err(bad)?,
        serde_json::from_value(what.into()).map_err(bad)?,
    ))
}

async fn answer(ring: &Ring, numbers: &[u64], wait: bool) -> (StatusCode, Json<Value>) {
    let ids: Vec<String> = numbers.iter().map(|number| delivery_id(*number)).collect();
    let mut answer = json!({ "delivery": ids.first(), "deliveries": ids });
    if !wait {
        return (StatusCode::ACCEPTED, Json(answer));
    }
    ring.webhooks.first_answers(numbers, webhooks::answer_bound(ring)).await;
    let now = ring.clock.now();
    answer["outcomes"] = ids
        .iter()
        .filter_map(|id| ring.webhooks.show(id, now))
        .map(|shown| json!(shown))
        .collect();
    (StatusCode::OK, Json(answer))
}

fn no_delivery(id: &str) -> Problem {
    Problem::unknown(format!("there is no delivery {id:?}; GET /_sim/deliveries lists them"))
}
