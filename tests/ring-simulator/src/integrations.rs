//! Linking: the nonce (Ring: "Nonce Technical Reference"), the life of an integration, and
//! `POST` and `PATCH /v1/accounts/me/app-integrations` (Ring: "App Integration").

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::error::ApiError;
use crate::journal::Note;
use crate::ring::Ring;

/// Ring: "Validation window".
const NONCE_LIFE: SignedDuration = SignedDuration::from_secs(600);

/// How many nonces of one user are remembered.
const NONCE_LIMIT: usize = 100;

/// What a user and the partner's app are to each other.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Integration {
    pub(crate) status: Status,
    account_identifier: Option<String>,
    updated_at: Option<Timestamp>,
    #[serde(skip)]
    minted: Vec<Minted>,
}

/// Where an integration stands. `Installed` is before the nonce is confirmed: no device can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    #[default]
    NotInstalled,
    Installed,
    Awaiting,
    Completed,
}

#[derive(Clone, Debug)]
struct Minted {
    time: String,
    at: Timestamp,
    used: bool,
}

impl Status {
    /// Whether devices can be reached: "once the integration reaches awaiting or completed status".
    pub(crate) fn opens_devices(self) -> bool {
        matches!(self, Self::Awaiting | Self::Completed)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            _ => "awaiting",
        }
    }
}

impl Integration {
    /// The user installed the app, again perhaps: then what was linked stays linked.
    pub(crate) fn install(&mut self) {
        if self.status == Status::NotInstalled {
            self.status = Status::Installed;
        }
    }

    /// The user clicked "Confirm": a nonce is minted, and comes back with its time.
    pub(crate) fn confirm(&mut self, account: &str, key: &str, now: Timestamp) -> (String, String) {
        let time = now.as_millisecond().to_string();
        let nonce = nonce(key, &time, account);
        self.minted.retain(|minted| now.duration_since(minted.at) <= NONCE_LIFE);
        if self.minted.len() >= NONCE_LIMIT {
            self.minted.remove(0);
        }
        self.minted.push(Minted {
            time: time.clone(),
            at: now,
            used: false,
        });
        (nonce, time)
    }

    /// Whether a nonce is one that was minted for this account in the last 600 s, with any of the keys.
    fn accepts(&mut self, account: &str, received: &str, keys: &[&str], single_use: bool, now: Timestamp) -> bool {
        // A clock moved back makes a nonce of the future: as old as one of the past, and as little good.
        let fresh = |minted: &&mut Minted| {
            let age = now.as_millisecond() - minted.at.as_millisecond();
            (0..=NONCE_LIFE.as_millis()).contains(&i128::from(age)) && !(single_use && minted.used)
        };
        for minted in self.minted.iter_mut().filter(fresh) {
            for key in keys {
                if bool::from(nonce(key, &minted.time, account).as_bytes().ct_eq(received.as_bytes())) {
                    minted.used = true;
                    return true;
                }
            }
        }
        false
    }
}

/// `HMAC-SHA256(key, "<time>:<account>")` in Base64url without padding; the key is the UTF-8 of its text.
fn nonce(key: &str, time: &str, account: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{time}:{account}").as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new()
        .route("/v1/accounts/me/app-integrations", post(confirm).patch(update))
        .with_state(ring)
}

async fn confirm(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let caller = ring.caller(&headers, &note).map_err(|_| ApiError::invalid_client())?;
    let settings = ring.settings();
    let keys: Vec<&str> = [Some(&settings.signing_key), settings.signing_key_previous.as_ref()]
        .into_iter()
        .flatten()
        .map(|key| &**key)
        .collect();
    let now = ring.clock.now();
    let mut users = ring.users();
    let integration = find(users.get_mut(&caller.user).map(|user| &mut user.integration), &note)?;
    let order = object(&body);
    let Some(received) = order
        .get("nonce")
        .and_then(Value::as_str)
        .filter(|nonce| !nonce.is_empty())
    else {
        return Err(refused(&note, "Missing Required Fields", "The nonce field is missing"));
    };
    if !integration.accepts(&caller.user, received, &keys, settings.nonces_single_use, now) {
        return Err(refused(&note, "Invalid Nonce", "Nonce validation failed"));
    }
    integration.status = Status::Awaiting;
    integration.updated_at = Some(now);
    if let Some(identifier) = order.get("account_identifier").and_then(Value::as_str) {
        integration.account_identifier = Some(identifier.to_owned());
    }
    Ok(Json(json!({ "status": integration.status.word() })))
}

async fn update(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let caller = ring.caller(&headers, &note).map_err(|_| ApiError::invalid_client())?;
    let strict = ring.settings().refuse_repeated_status;
    let now = ring.clock.now();
    let mut users = ring.users();
    let integration = find(users.get_mut(&caller.user).map(|user| &mut user.integration), &note)?;
    let order = object(&body);
    let identifier = order.get("account_identifier").and_then(Value::as_str);
    let status = order.get("status");
    if identifier.is_none() && status.is_none() {
        return Err(refused(&note, "Missing Required Fields", "Request body is empty"));
    }
    if !integration.status.opens_devices() {
        return Err(refused(
            &note,
            "Invalid Status Transition",
            "The account link was not confirmed by POST yet",
        ));
    }
    let wanted = match status.map(Value::as_str) {
        None => integration.status,
        Some(Some("completed")) => Status::Completed,
        Some(Some("awaiting")) => Status::Awaiting,
        Some(_) => {
            return Err(refused(
                &note,
                "Invalid Status Transition",
                "The requested status change is not allowed",
            ));
        }
    };
    if strict && status.is_some() && wanted == integration.status {
        return Err(refused(
            &note,
            "Invalid Status Transition",
            "The integration has this status already",
        ));
    }
    integration.status = wanted;
    if let Some(identifier) = identifier {
        integration.account_identifier = Some(identifier.to_owned());
    }
    integration.updated_at = Some(now);
    Ok(Json(json!({
        "account_identifier": integration.account_identifier,
        "status": integration.status.word(),
        "updated_at": now.to_string(),
    })))
}

fn find<'a>(integration: Option<&'a mut Integration>, note: &Note) -> Result<&'a mut Integration, ApiError> {
    integration
        .filter(|integration| integration.status != Status::NotInstalled)
        .ok_or_else(|| {
            note.say("Not Found");
            ApiError::new(StatusCode::NOT_FOUND, "Not Found").because("No integration exists for this token")
        })
}

/// A body that is no object has none of the fields.
fn object(body: &[u8]) -> serde_json::Map<String, Value> {
    serde_json::from_slice(body).unwrap_or_default()
}

fn refused(note: &Note, title: &'static str, detail: &str) -> ApiError {
    note.say(title);
    ApiError::new(StatusCode::BAD_REQUEST, title).because(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "ava1.ring.account.XXXYYY";

    /// python3 -c "import hmac,hashlib,base64; print(base64.urlsafe_b64encode(hmac.new(b'test-signing-key',
    /// b'1771130906289:ava1.ring.account.XXXYYY', hashlib.sha256).digest()).rstrip(b'=').decode())"
    #[test]
    fn trap_22_a_nonce_is_what_pythons_hmac_makes_of_it() {
        assert_eq!(
            nonce("test-signing-key", "1771130906289", ACCOUNT),
            "UV9zdxnZoTeZWiNav7OxpW5IZs8VzvzqRn_F6oWgHFw"
        );
    }

    #[test]
    fn trap_24_a_nonce_is_good_for_600_seconds_by_the_millisecond() {
        let minted_at = Timestamp::from_millisecond(1_771_130_906_289).unwrap();
        let check = |after_ms: i64, good: bool| {
            let mut integration = Integration::default();
            let (nonce, time) = integration.confirm(ACCOUNT, "key", minted_at);
            assert_eq!(time, "1771130906289");
            let then = minted_at + SignedDuration::from_millis(after_ms);
            assert_eq!(
                integration.accepts(ACCOUNT, &nonce, &["key"], false, then),
                good,
                "{after_ms} ms"
            );
        };
        check(0, true);
        check(600_000, true);
        check(600_001, false);
        check(-1, false);
    }

    #[test]
    fn a_nonce_binds_the_account_and_the_key_and_may_be_single_use() {
        let now = Timestamp::from_millisecond(1_771_130_906_289).unwrap();
        let mut integration = Integration::default();
        let (good, time) = integration.confirm(ACCOUNT, "old", now);
        assert!(!integration.accepts("another", &good, &["old"], false, now));
        assert!(!integration.accepts(ACCOUNT, &good, &["new"], false, now));
        assert!(
            !integration.accepts(ACCOUNT, &format!("{good}="), &["old"], false, now),
            "no padding"
        );
        let never_minted = nonce("old", &(time + "0"), ACCOUNT);
        assert!(
            !integration.accepts(ACCOUNT, &never_minted, &["old"], false, now),
            "good HMAC, but not ours"
        );
        assert!(
            integration.accepts(ACCOUNT, &good, &["new", "old"], true, now),
            "the previous key"
        );
        assert!(!integration.accepts(ACCOUNT, &good, &["new", "old"], true, now), "used");
        assert!(
            integration.accepts(ACCOUNT, &good, &["new", "old"], false, now),
            "unless that is allowed"
        );
    }
}
