//! Installing the app, confirming the link, removing the app, and ending tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::events::{complaint, plain};
use super::{Order, no_user};
use crate::config::{PushFormat, Settings};
use crate::error::Problem;
use crate::integrations::{Integration, Status};
use crate::journal::{Direction, Entry};
use crate::oauth::{Holder, Which};
use crate::ring::Ring;
use crate::webhooks::{Sending, emit, path_of, reason, with_headers};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Install {
    /// False: the code is only given back, and the Token Exchange URL hears nothing.
    push: bool,
    /// In place of the configured format.
    format: Option<PushFormat>,
    /// In place of the configured scope.
    scope: Option<String>,
    /// PKCE (S256), of the legacy model.
    code_challenge: Option<String>,
}

impl Default for Install {
    fn default() -> Self {
        Self {
            push: true,
            format: None,
            scope: None,
            code_challenge: None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Uninstall {
    /// Also emit `app_integration_removed`, which is seen live though not documented.
    announce: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    user: String,
    #[serde(default)]
    which: Which,
}

/// A code is minted, and pushed to the Token Exchange URL. The partner's refusal is an answer, not an error.
pub(super) async fn install(
    State(ring): State<Arc<Ring>>,
    Path(id): Path<String>,
    Order(order): Order<Install>,
) -> Result<Json<Value>, Problem> {
    let settings = ring.settings();
    let url = settings.token_exchange_url.clone();
    if order.push && url.is_none() {
        return Err(Problem::conflict(
            "there is nowhere to push the code: PUT /_sim/config {\"token_exchange_url\": …}, or order {\"push\": false}",
        ));
    }
    ring.users()
        .get_mut(&id)
        .ok_or_else(|| no_user(&id))?
        .integration
        .install();
    let scope = order.scope.unwrap_or_else(|| settings.scope.clone());
    let holder = Holder {
        user: id.clone(),
        client: settings.client_id.clone(),
        scope,
    };
    let code = ring.grants().mint_code(holder, order.code_challenge, ring.clock.now());
    let Some(url) = url.filter(|_| order.push) else {
        return Ok(Json(json!({ "code": code, "pushed": false })));
    };
    let began = ring.clock.now();
    let outcome = push(
        &ring,
        &settings,
        &url,
        order.format.unwrap_or(settings.push_format),
        &code,
    )
    .await;
    let (status, error) = match outcome {
        Ok(status) => (Some(status), None),
        Err(error) => (None, Some(error)),
    };
    ring.journal.write(Entry {
        at: began.to_string(),
        direction: Direction::Sent,
        door: "code",
        method: "POST".into(),
        path: path_of(Some(&url)),
        status,
        user: Some(id),
        credentials_sha256: vec![crate::journal::fingerprint(&code)],
        notes: error.clone().into_iter().collect(),
        ..Entry::default()
    });
    Ok(Json(
        json!({ "code": code, "pushed": true, "partner_status": status, "partner_error": error }),
    ))
}

async fn push(ring: &Ring, settings: &Settings, url: &str, format: PushFormat, code: &str) -> Result<u16, String> {
    let mut url = Url::parse(url).map_err(|_| "token_exchange_url is no URL")?;
    if format == PushFormat::Query {
        url.query_pairs_mut().append_pair("code", code);
    }
    let request = ring.http.post(url);
    let request = match format {
        PushFormat::Json => request
            .header(CONTENT_TYPE, "application/json")
            .body(json!({ "code": code }).to_string()),
        PushFormat::Form => request.form(&[("code", code)]),
        PushFormat::Query => request.body(""), // with Content-Length: 0, as some gateways want
    };
    let answer = with_headers(request, &settings.push_headers).send().await;
    answer
        .map(|answer| answer.status().as_u16())
        .map_err(|error| reason(&error))
}

/// A nonce is minted. The URL is null while no Account Link URL is configured.
pub(super) async fn confirm(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let settings = ring.settings();
    let now = ring.clock.now();
    let mut users = ring.users();
    let integration = &mut users.get_mut(&id).ok_or_else(|| no_user(&id))?.integration;
    if integration.status == Status::NotInstalled {
        return Err(Problem::conflict(
            "the app is not installed: POST /_sim/users/{user}/install first",
        ));
    }
    let (nonce, time) = integration.confirm(&id, &settings.signing_key, now);
    let url = settings
        .account_link_url
        .as_deref()
        .and_then(|url| Url::parse(url).ok())
        .map(|mut url| {
            url.query_pairs_mut()
                .append_pair("nonce", &nonce)
                .append_pair("time", &time);
            url.to_string()
        });
    Ok(Json(json!({ "url": url, "nonce": nonce, "time": time })))
}

pub(super) async fn uninstall(
    State(ring): State<Arc<Ring>>,
    Path(id): Path<String>,
    Order(order): Order<Uninstall>,
) -> Result<Json<Value>, Problem> {
    let first_device = {
        let mut users = ring.users();
        let user = users.get_mut(&id).ok_or_else(|| no_user(&id))?;
        user.integration = Integration::default();
        user.devices.first().map(|device| device.id.clone())
    };
    let (families, tokens) = ring.grants().revoke(&id, Which::All, "the app was removed");
    ring.live.end_of_user(&id, ring.clock.now(), "uninstall");
    if order.announce {
        let event = plain("app_integration_removed", first_device.as_deref().unwrap_or(&id));
        emit(&ring, &id, &event, &Sending::default(), false).map_err(|why| complaint(&why, &id))?;
    }
    Ok(Json(
        json!({ "families_ended": families, "access_tokens_ended": tokens }),
    ))
}

pub(super) async fn revoke(State(ring): State<Arc<Ring>>, Order(order): Order<Revoke>) -> Result<Json<Value>, Problem> {
    if ring.users().get(&order.user).is_none() {
        return Err(no_user(&order.user));
    }
    let (families, tokens) = ring.grants().revoke(&order.user, order.which, "revoked on order");
    Ok(Json(
        json!({ "families_ended": families, "access_tokens_ended": tokens }),
    ))
}
