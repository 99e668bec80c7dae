//! The control API under `/_sim/`, on its own listener: what the real Ring does of itself, or never. JSON in and out;
//! what can't be done comes back as a problem document that says what to do.

mod events;
mod links;
mod live;
mod settings;
mod users;
mod world;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::routing::{delete, get, patch, post};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::Problem;
use crate::ring::Ring;

/// Every endpoint: `GET /_sim/health` lists them, and a test holds the README to them.
pub(crate) const ENDPOINTS: [(&str, &str, &str); 35] = [
    ("GET", "/_sim/health", "this list, and where everything is"),
    ("GET", "/_sim/config", "the settings"),
    ("PUT", "/_sim/config", "change settings; what is left out stays"),
    (
        "POST",
        "/_sim/keys/rotate",
        "a new signing key; the current one becomes the previous",
    ),
    ("GET", "/_sim/users", "all users with their devices"),
    ("POST", "/_sim/users", "make a user, with devices"),
    ("GET", "/_sim/users/{user}", "one user"),
    ("DELETE", "/_sim/users/{user}", "the user is gone, with all tokens"),
    (
        "GET",
        "/_sim/users/{user}/secrets",
        "every token and presigned URL that was issued for the user, in clear",
    ),
    ("POST", "/_sim/users/{user}/devices", "share a device"),
    ("PATCH", "/_sim/users/{user}/devices/{device}", "change a device"),
    (
        "DELETE",
        "/_sim/users/{user}/devices/{device}",
        "share a device no more",
    ),
    (
        "POST",
        "/_sim/users/{user}/install",
        "install the app: mint a code, push it to the Token Exchange URL",
    ),
    (
        "POST",
        "/_sim/users/{user}/confirm",
        "click Confirm: mint a nonce, get the Account Link URL",
    ),
    (
        "POST",
        "/_sim/users/{user}/uninstall",
        "remove the app: no integration, no tokens",
    ),
    ("POST", "/_sim/users/{user}/events", "emit an event as a signed webhook"),
    ("POST", "/_sim/events/raw", "emit any bytes as a signed webhook"),
    ("GET", "/_sim/deliveries", "all deliveries, or those of a status"),
    ("GET", "/_sim/deliveries/{delivery}", "one delivery with its attempts"),
    (
        "POST",
        "/_sim/deliveries/{delivery}/replay",
        "send one again, as Ring does on request within 72 hours",
    ),
    (
        "GET",
        "/_sim/live",
        "live sessions, the open ones and those that are over",
    ),
    ("GET", "/_sim/live/{session}", "one live session"),
    ("PATCH", "/_sim/live/{session}", "change how a live session goes"),
    ("DELETE", "/_sim/live/{session}", "end a live session, as a device does"),
    ("GET", "/_sim/clock", "the time"),
    (
        "PUT",
        "/_sim/clock",
        "set, advance, freeze; due webhooks are sent on the way",
    ),
    ("POST", "/_sim/clock", "the same"),
    ("GET", "/_sim/faults", "the faults that wait"),
    ("POST", "/_sim/faults", "order a fault"),
    ("DELETE", "/_sim/faults", "take all back"),
    ("DELETE", "/_sim/faults/{fault}", "take one back"),
    ("GET", "/_sim/journal", "what came and went, filtered"),
    ("DELETE", "/_sim/journal", "forget it"),
    ("POST", "/_sim/tokens/revoke", "end tokens of a user"),
    (
        "GET",
        "/_sim/state",
        "integrations, token families, deliveries, by count",
    ),
];

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new()
        .route("/_sim/health", get(world::health))
        .route("/_sim/state", get(world::state))
        .route(
            "/_sim/clock",
            get(world::clock).put(world::move_clock).post(world::move_clock),
        )
        .route(
            "/_sim/faults",
            get(world::faults).post(world::order_fault).delete(world::clear_faults),
        )
        .route("/_sim/faults/{fault}", delete(world::clear_fault))
        .route("/_sim/journal", get(world::journal).delete(world::clear_journal))
        .route("/_sim/config", get(settings::show).put(settings::change))
        .route("/_sim/keys/rotate", post(settings::rotate_keys))
        .route("/_sim/users", get(users::list).post(users::create))
        .route("/_sim/users/{user}", get(users::show).delete(users::remove))
        .route("/_sim/users/{user}/secrets", get(users::secrets))
        .route("/_sim/users/{user}/devices", post(users::share))
        .route(
            "/_sim/users/{user}/devices/{device}",
            patch(users::change).delete(users::unshare),
        )
        .route("/_sim/users/{user}/install", post(links::install))
        .route("/_sim/users/{user}/confirm", post(links::confirm))
        .route("/_sim/users/{user}/uninstall", post(links::uninstall))
        .route("/_sim/live", get(live::list))
        .route(
            "/_sim/live/{session}",
            get(live::show).patch(live::change).delete(live::end),
        )
        .route("/_sim/tokens/revoke", post(links::revoke))
        .route("/_sim/users/{user}/events", post(events::emit))
        .route("/_sim/events/raw", post(events::emit_raw))
        .route("/_sim/deliveries", get(events::list))
        .route("/_sim/deliveries/{delivery}", get(events::show))
        .route("/_sim/deliveries/{delivery}/replay", post(events::replay))
        .fallback(async || Problem::unknown("no such path; GET /_sim/health lists every endpoint"))
        .method_not_allowed_fallback(async || Problem::wrong_method())
        .with_state(ring)
}

/// A JSON body; none at all is an empty object.
struct Order<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Order<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|_| Problem::bad_order("the body is larger than 2 MB, or broke off"))?;
        let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|error| Problem::bad_order(error.to_string()))
    }
}

/// A query string.
struct Ask<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Problem::bad_order(error.body_text()))
    }
}

fn no_user(id: &str) -> Problem {
    Problem::unknown(format!(
        "there is no user {id:?}; GET /_sim/users lists them, POST /_sim/users makes one"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_every_endpoint() {
        let readme = include_str!("../../README.md");
        for (method, path, _) in ENDPOINTS {
            assert!(
                readme.contains(&format!("`{method} {path}`")),
                "{method} {path} is missing in the README"
            );
        }
    }
}
