//! The pages as they are sent: what the stack says put into each, and the headers that bind it.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Config, asset};

/// A page, ready to be sent.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) tag: HeaderValue,
}

/// All pages, and what is sent with each.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) link: Page,
    pub(crate) home: Page,
    pub(crate) headers: HeaderMap,
}

/// What a page is told: read by `session.js`.
#[derive(Serialize)]
struct Settings<'a> {
    issuer: &'a str,
    client_id: &'a str,
    sign_in_url: &'a str,
    token_url: &'a str,
    sign_out_url: Option<&'a str>,
    stun_url: Option<&'a str>,
}

/// What a page may ask a browser for: nothing of it.
const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
    microphone=(), midi=(), payment=(), usb=(), browsing-topics=()";

impl Pages {
    pub(crate) fn of(config: &Config) -> Self {
        let settings = Settings {
            issuer: &config.oidc_issuer,
            client_id: &config.oidc_client_id,
            sign_in_url: config.oidc_sign_in_url.as_str(),
            token_url: config.oidc_token_url.as_str(),
            sign_out_url: config.oidc_sign_out_url.as_deref(),
            stun_url: config.stun_url.as_deref(),
        };
        let settings = serde_json::to_string(&settings).expect("texts are JSON");
        let page = |template: &str| {
            let html = template
                .replace("{{assets}}", &format!("assets/{}", asset::version()))
                .replace("{{settings}}", &escaped(&settings));
            let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&html)[..8]));
            Page {
                tag: HeaderValue::try_from(tag).expect("hex digits are a header's value"),
                html,
            }
        };
        Self {
            link: page(include_str!("../pages/link.html")),
            home: page(include_str!("../pages/home.html")),
            headers: headers(config),
        }
    }
}

fn headers(config: &Config) -> HeaderMap {
    let token = config.oidc_token_url.origin().ascii_serialization();
    let media = config.media_origin.origin().ascii_serialization();
    let policy = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        &format!("connect-src 'self' {token}"),
        &format!("img-src 'self' {media}"),
        &format!("media-src {media}"),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    .join("; ");
    let policy = HeaderValue::try_from(policy).expect("origins are a header's value");
    let fixed = |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, policy),
        fixed("referrer-policy", "no-referrer"),
        fixed("x-content-type-options", "nosniff"),
        fixed("x-frame-options", "DENY"),
        fixed("permissions-policy", PERMISSIONS),
        fixed("cross-origin-opener-policy", "same-origin"),
        fixed("cross-origin-resource-policy", "same-origin"),
        fixed("strict-transport-security", "max-age=31536000"),
    ])
}

/// A text within an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
