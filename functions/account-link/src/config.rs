//! What account linking reads from its environment.

use std::time::Duration;

use shared::edge::config::{ConfigError, Environment, RingConfig, milliseconds, parsed, required};
use shared::link::CompleteLink;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is.
    pub ring: RingConfig,
    /// `SIGNING_SECRET_ID`: the keys that Ring makes nonces with.
    pub signing_secret_id: String,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `LINKS_TABLE`.
    pub links_table: String,
    /// `DEVICES_TABLE`.
    pub devices_table: String,
    /// `EVENTS_TABLE`.
    pub events_table: String,
    /// `EVENTS_QUEUE_URL`: where events that came before their link go back to.
    pub events_queue_url: String,
    /// `EVENT_BUS_NAME`.
    pub event_bus_name: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `TOKEN_REFRESH_FUNCTION`: who renews tokens.
    pub token_refresh_function: String,
    /// `COMPLETE_LINK`: `at-once` or `after-setup`.
    pub complete_link: CompleteLink,
    /// `AUDIT_TABLE`.
    pub audit_table: String,
    /// `AUDIT_RETENTION_DAYS`: for how long the audit trail keeps an entry.
    pub audit_retention_days: u64,
    /// `MEDIA_QUEUE_URL`: where what is to be erased, or given away, is asked for.
    pub media_queue_url: String,
    /// `MEDIA_BUCKET`: where archives are.
    pub media_bucket: String,
    /// `LINK_ATTEMPTS_PER_MINUTE`: how often one user may preview or link.
    pub link_attempts_per_minute: u64,
    /// `REQUESTS_PER_MINUTE`: how many requests one user may make.
    pub requests_per_minute: u64,
    /// `LINK_LEEWAY_MS`: how far ahead of our clock a link's time may lie.
    pub link_leeway: Duration,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            ring: RingConfig::read(env)?,
            signing_secret_id: required(env, "SIGNING_SECRET_ID")?,
            grants_table: required(env, "GRANTS_TABLE")?,
            links_table: required(env, "LINKS_TABLE")?,
            devices_table: required(env, "DEVICES_TABLE")?,
            events_table: required(env, "EVENTS_TABLE")?,
            events_queue_url: required(env, "EVENTS_QUEUE_URL")?,
            event_bus_name: required(env, "EVENT_BUS_NAME")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            token_refresh_function: required(env, "TOKEN_REFRESH_FUNCTION")?,
            complete_link: parsed(env, "COMPLETE_LINK")?,
            audit_table: required(env, "AUDIT_TABLE")?,
            audit_retention_days: parsed(env, "AUDIT_RETENTION_DAYS")?,
            media_queue_url: required(env, "MEDIA_QUEUE_URL")?,
            media_bucket: required(env, "MEDIA_BUCKET")?,
            link_attempts_per_minute: parsed(env, "LINK_ATTEMPTS_PER_MINUTE")?,
            requests_per_minute: parsed(env, "REQUESTS_PER_MINUTE")?,
            link_leeway: milliseconds(env, "LINK_LEEWAY_MS")?,
        })
    }
}
