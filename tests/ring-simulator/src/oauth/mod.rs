//! Ring's OAuth server: `POST /oauth/token` (Ring: "Authentication Endpoints", "Refresh Tokens", and the legacy model's
//! JSON of "Account Linking, Ring Credential Transfer API"). Errors have the shape of RFC 6749, 5.2, where Ring is silent.
//!
//! The words of a scope are not documented. Here they are `devices:read`, `video:read`, `notifications:read` and
//! `configurations:read`, after Ring's list ("Access Tokens, Scope and Permissions").

mod grants;

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

pub(crate) use grants::{Bearer, Grants, Holder, InvalidGrant, Rotation, Which};

use crate::config::{RefreshMode, Settings};
use crate::journal::Note;
use crate::ring::Ring;

/// The scope words that endpoints ask for.
pub(crate) mod scope {
    pub(crate) const DEVICES: &str = "devices:read";
    pub(crate) const VIDEO: &str = "video:read";
    pub(crate) const CONFIGURATIONS: &str = "configurations:read";
}

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new().route("/oauth/token", post(token)).with_state(ring)
}

impl From<&Settings> for Rotation {
    fn from(settings: &Settings) -> Self {
        match settings.refresh_mode {
            RefreshMode::Strict => Self::Strict,
            RefreshMode::Grace => Self::Grace(SignedDuration::from_secs(settings.grace_seconds.into())),
        }
    }
}

#[derive(Deserialize)]
struct Form {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    code: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
}

/// RFC 6749, 5.2.
enum Refusal {
    InvalidRequest(&'static str),
    InvalidClient,
    InvalidGrant(InvalidGrant),
    UnsupportedGrantType,
}

async fn token(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match answer(&ring, &note, &headers, &body) {
        Ok(reply) => ([(header::CACHE_CONTROL, "no-store")], Json(reply)).into_response(),
        Err(refusal) => {
            let (status, error, description) = match refusal {
                Refusal::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
                Refusal::InvalidClient => (
                    StatusCode::UNAUTHORIZED,
                    "invalid_client",
                    "unknown client, or a wrong secret",
                ),
                Refusal::InvalidGrant(InvalidGrant(why)) => (StatusCode::BAD_REQUEST, "invalid_grant", why),
                Refusal::UnsupportedGrantType => (
                    StatusCode::BAD_REQUEST,
                    "unsupported_grant_type",
                    "authorization_code or refresh_token",
                ),
            };
            note.say(error);
            note.say(description);
            let body = json!({ "error": error, "error_description": description });
            (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
    }
}

fn answer(ring: &Ring, note: &Note, headers: &HeaderMap, body: &[u8]) -> Result<serde_json::Value, Refusal> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (form, legacy) = match kind.as_str() {
        "application/x-www-form-urlencoded" => (parse_form(body)?, false),
        "application/json" => (
            serde_json::from_slice(body).map_err(|_| Refusal::InvalidRequest("not the JSON of a token request"))?,
            true,
        ),
        _ => {
            return Err(Refusal::InvalidRequest(
                "content type must be a form, or JSON in the legacy model",
            ));
        }
    };
    let grant_type = form
        .grant_type
        .as_deref()
        .ok_or(Refusal::InvalidRequest("grant_type is missing"))?;
    note.say(grant_type);
    let settings = ring.settings();
    let client = form.client_id.as_deref().ok_or(Refusal::InvalidClient)?;
    let secret = form.client_secret.as_deref().ok_or(Refusal::InvalidClient)?;
    let known = client.as_bytes().ct_eq(settings.client_id.as_bytes())
        & secret.as_bytes().ct_eq(settings.client_secret.as_bytes());
    if !bool::from(known) {
        return Err(Refusal::InvalidClient);
    }
    let now = ring.clock.now();
    let rotation = Rotation::from(&*settings);
    let (reply, holder) = match grant_type {
        "authorization_code" => {
            let code = form.code.as_deref().ok_or(Refusal::InvalidRequest("code is missing"))?;
            note.credential(code);
            // Ring: "PKCE is required" in the legacy model, whose request is the JSON one.
            if legacy && form.code_verifier.as_deref().is_none_or(str::is_empty) {
                return Err(Refusal::InvalidRequest("code_verifier is missing"));
            }
            ring.grants()
                .exchange(code, client, form.code_verifier.as_deref(), rotation, now)
        }
        "refresh_token" => {
            let token = form
                .refresh_token
                .as_deref()
                .ok_or(Refusal::InvalidRequest("refresh_token is missing"))?;
            note.credential(token);
            ring.grants().refresh(token, client, rotation, now)
        }
        _ => return Err(Refusal::UnsupportedGrantType),
    }
    .map_err(Refusal::InvalidGrant)?;
    note.user(&holder.user);
    Ok(reply.body(now))
}

/// A form in which no parameter comes twice (RFC 6749, 3.2).
fn parse_form(body: &[u8]) -> Result<Form, Refusal> {
    let mut form = Form {
        grant_type: None,
        client_id: None,
        client_secret: None,
        code: None,
        code_verifier: None,
        refresh_token: None,
    };
    for (name, value) in url::form_urlencoded::parse(body) {
        let field = match &*name {
            "grant_type" => &mut form.grant_type,
            "client_id" => &mut form.client_id,
            "client_secret" => &mut form.client_secret,
            "code" => &mut form.code,
            "code_verifier" => &mut form.code_verifier,
            "refresh_token" => &mut form.refresh_token,
            _ => continue,
        };
        if field.replace(value.into_owned()).is_some() {
            return Err(Refusal::InvalidRequest("a parameter came twice"));
        }
    }
    Ok(form)
}
