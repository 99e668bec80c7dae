//! What a simulator is started with, and the settings that its control API can change while it runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// What a simulator is started with. Port 0 takes a free one. Like its settings it has no `Debug`: secrets are in it.
#[derive(Clone)]
pub struct Config {
    /// The address that all listeners bind.
    pub bind: IpAddr,
    /// Ring's API (`api.amazonvision.com`).
    pub api_port: u16,
    /// Ring's OAuth server (`oauth.ring.com`).
    pub oauth_port: u16,
    /// The origin of presigned media URLs (`download-{region}.{domain}`).
    pub media_port: u16,
    /// The control API under `/_sim/`, which the real Ring has not.
    pub control_port: u16,
    /// Credentials, the partner's endpoints and habits; `PUT /_sim/config` changes them later.
    pub settings: Settings,
    /// Start with users and devices in it, so that there is something to look at.
    pub demo_world: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            api_port: 0,
            oauth_port: 0,
            media_port: 0,
            control_port: 0,
            settings: Settings::default(),
            demo_world: false,
        }
    }
}

/// What Ring knows about the partner, and how this Ring behaves where the documentation is silent.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The partner's client id. Rate limits are counted by it.
    pub client_id: String,
    /// The partner's client secret. The default has characters that a form must percent-encode.
    pub client_secret: String,
    /// The HMAC signing key: signs webhooks and nonces.
    pub signing_key: String,
    /// The key before the last rotation; a nonce made with it is still good.
    pub signing_key_previous: Option<String>,
    /// Where one-time codes are pushed.
    pub token_exchange_url: Option<String>,
    /// Where webhooks are delivered.
    pub webhook_url: Option<String>,
    /// Where users are sent with `nonce` and `time` to link their account.
    pub account_link_url: Option<String>,
    /// Headers added to each push (codes and webhooks). `Host` replaces the URL's, for a local API gateway.
    pub push_headers: BTreeMap<String, String>,
    /// How a code is pushed: the documentation does not say.
    pub push_format: PushFormat,
    /// What a spent refresh token is worth.
    pub refresh_mode: RefreshMode,
    /// In the mode `grace`: how long the previous refresh token works and gives the same successor.
    pub grace_seconds: u32,
    /// The scope of new grants, space separated; each install may ask for another. See `oauth` for the words.
    pub scope: String,
    /// Requests a second for each client id; 0 switches the limit off.
    pub rate_per_second: u32,
    /// How long a presigned media URL works.
    pub presign_seconds: u32,
    /// How long a webhook waits for its answer, in milliseconds of real time. Ring: 5,000.
    pub webhook_timeout_ms: u64,
    /// Devices on a page of `GET /v1/devices`, with `links.next`; none: all on one, as the documentation shows.
    pub page_size: Option<u32>,
    /// Live sessions that a device may have open at once; more are 409. The documentation is silent; none: no bound.
    pub live_sessions_per_device: Option<usize>,
    /// Refuse a nonce that was used before. The documentation is silent; without it a repeat within 600 s is accepted.
    pub nonces_single_use: bool,
    /// Refuse `completed` for an integration that is completed. The documentation is silent.
    pub refuse_repeated_status: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "ring-simulator-client".into(),
            client_secret: "secret/with+signs=&a%sign".into(),
            signing_key: "simulator-signing-key".into(),
            signing_key_previous: None,
            token_exchange_url: None,
            webhook_url: None,
            account_link_url: None,
            push_headers: BTreeMap::new(),
            push_format: PushFormat::Json,
            refresh_mode: RefreshMode::Strict,
            grace_seconds: 60,
            scope: "devices:read video:read notifications:read configurations:read".into(),
            rate_per_second: 100,
            presign_seconds: 300,
            webhook_timeout_ms: 5_000,
            page_size: None,
            live_sessions_per_device: None,
            nonces_single_use: false,
            refuse_repeated_status: false,
        }
    }
}

/// How a one-time code is pushed to the Token Exchange URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushFormat {
    /// `POST` with `{"code": "…"}`.
    Json,
    /// `POST` with `code=…` as a form.
    Form,
    /// `POST` without a body, `?code=…` in the URL.
    Query,
}

/// What happens when a refresh token that was spent is presented again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshMode {
    /// The whole family dies: both the thief and the owner are out.
    Strict,
    /// The previous token works for [`Settings::grace_seconds`] and gives the same successor; later it is strict.
    Grace,
}
