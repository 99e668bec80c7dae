//! Settings and keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::Order;
use crate::config::Settings;
use crate::error::Problem;
use crate::ring::{Ring, secret};

/// The longest that a webhook can be made to wait for its answer.
const TIMEOUT_LIMIT_MS: u64 = 600_000;

pub(super) async fn show(State(ring): State<Arc<Ring>>) -> Json<Settings> {
    Json(Settings::clone(&ring.settings()))
}

/// Changes the fields that are given; null takes an optional one away.
pub(super) async fn change(
    State(ring): State<Arc<Ring>>,
    Order(change): Order<Map<String, Value>>,
) -> Result<Json<Settings>, Problem> {
    let mut settings = json!(*ring.settings());
    for (name, value) in change {
        settings[name] = value;
    }
    let settings: Settings = serde_json::from_value(settings).map_err(|error| Problem::bad_order(error.to_string()))?;
    if let Some(objection) = objection(&settings) {
        return Err(Problem::bad_order(objection));
    }
    ring.settle(settings.clone());
    Ok(Json(settings))
}

fn objection(settings: &Settings) -> Option<String> {
    let urls = [
        ("token_exchange_url", &settings.token_exchange_url),
        ("webhook_url", &settings.webhook_url),
        ("account_link_url", &settings.account_link_url),
    ];
    for (name, url) in urls {
        let good = |url: &String| Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
        if url.as_ref().is_some_and(|url| !good(url)) {
            return Some(format!("{name} must be an http or https URL"));
        }
    }
    for (name, value) in &settings.push_headers {
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            return Some(format!("push_headers: {name:?} or its value is no valid header"));
        }
    }
    if [&settings.client_id, &settings.client_secret, &settings.signing_key]
        .iter()
        .any(|text| text.is_empty())
    {
        return Some("client_id, client_secret and signing_key must not be empty".into());
    }
    if !(1..=TIMEOUT_LIMIT_MS).contains(&settings.webhook_timeout_ms) {
        return Some(format!("webhook_timeout_ms must be from 1 to {TIMEOUT_LIMIT_MS}"));
    }
    None
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewKey {
    key: Option<String>,
}

pub(super) async fn rotate_keys(State(ring): State<Arc<Ring>>, Order(order): Order<NewKey>) -> Json<Value> {
    let mut settings = Settings::clone(&ring.settings());
    let key = order.key.filter(|key| !key.is_empty()).unwrap_or_else(|| secret(32));
    let previous = std::mem::replace(&mut settings.signing_key, key);
    settings.signing_key_previous = Some(previous);
    let answer = json!({
        "signing_key": settings.signing_key,
        "signing_key_previous": settings.signing_key_previous,
    });
    ring.settle(settings);
    Json(answer)
}
