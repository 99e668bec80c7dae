//! What the pages need to know of the stack. None of it is a secret: each browser is told it.

use shared::edge::config::{ConfigError, Environment, parsed, required};
use url::Url;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `OIDC_ISSUER`: who signs users in, as their ID tokens name it.
    pub oidc_issuer: String,
    /// `OIDC_CLIENT_ID`: what the pages are known by there.
    pub oidc_client_id: String,
    /// `OIDC_SIGN_IN_URL`: the issuer's authorization endpoint.
    pub oidc_sign_in_url: Url,
    /// `OIDC_TOKEN_URL`: the issuer's token endpoint.
    pub oidc_token_url: Url,
    /// `OIDC_SIGN_OUT_URL`: where the issuer forgets who is signed in; without one only the page does.
    pub oidc_sign_out_url: Option<String>,
    /// `STUN_URL`: who tells a browser how it is reached from outside, for live video; nobody when it is not set.
    pub stun_url: Option<String>,
    /// `MEDIA_ORIGIN`: where presigned URLs lead to.
    pub media_origin: Url,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            oidc_issuer: required(env, "OIDC_ISSUER")?,
            oidc_client_id: required(env, "OIDC_CLIENT_ID")?,
            oidc_sign_in_url: parsed(env, "OIDC_SIGN_IN_URL")?,
            oidc_token_url: parsed(env, "OIDC_TOKEN_URL")?,
            oidc_sign_out_url: env.get("OIDC_SIGN_OUT_URL"),
            stun_url: env.get("STUN_URL"),
            media_origin: parsed(env, "MEDIA_ORIGIN")?,
        })
    }
}
