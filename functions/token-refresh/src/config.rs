//! What the token refresh reads from its environment.

use std::time::Duration;

use shared::edge::config::{ConfigError, Environment, RingConfig, milliseconds, parsed, required};
use shared::link::CompleteLink;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is.
    pub ring: RingConfig,
    /// `RING_API_SHARE`: how many requests a second are for devices and media. Links have a part of them.
    pub api_share: u32,
    /// `OAUTH_SECRET_ID`: our client id and secret at Ring.
    pub oauth_secret_id: String,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `LINKS_TABLE`.
    pub links_table: String,
    /// `DEVICES_TABLE`.
    pub devices_table: String,
    /// `EVENTS_TABLE`.
    pub events_table: String,
    /// `METRICS_NAMESPACE`: under which name metrics go out.
    pub metrics_namespace: String,
    /// `EVENTS_QUEUE_URL`: where events that came before their link go back to.
    pub events_queue_url: String,
    /// `EVENT_BUS_NAME`.
    pub event_bus_name: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `RESCUE_QUEUE_URL`: where a pair waits that the table did not take.
    pub rescue_queue_url: String,
    /// `GRANTS_EPOCH`: raised when the table of grants is restored from a backup.
    pub grants_epoch: u64,
    /// `RESOLVE_QUEUE_URL`: where new grants come from whose owner is not known yet.
    pub resolve_queue_url: String,
    /// `AUDIT_TABLE`.
    pub audit_table: String,
    /// `AUDIT_RETENTION_DAYS`: for how long the audit trail keeps an entry.
    pub audit_retention_days: u64,
    /// `COMPLETE_LINK`: `at-once` or `after-setup`.
    pub complete_link: CompleteLink,
    /// `LINK_LEEWAY_MS`: how far ahead of our clock a link's time may lie.
    pub link_leeway: Duration,
    /// `REFUSED_SHARE_PERCENT`: beyond this share of refused pairs nobody is believed to be refused.
    pub refused_share_percent: u64,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            ring: RingConfig::read(env)?,
            api_share: parsed(env, "RING_API_SHARE")?,
            oauth_secret_id: required(env, "OAUTH_SECRET_ID")?,
            grants_table: required(env, "GRANTS_TABLE")?,
            links_table: required(env, "LINKS_TABLE")?,
            devices_table: required(env, "DEVICES_TABLE")?,
            events_table: required(env, "EVENTS_TABLE")?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
            events_queue_url: required(env, "EVENTS_QUEUE_URL")?,
            event_bus_name: required(env, "EVENT_BUS_NAME")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            rescue_queue_url: required(env, "RESCUE_QUEUE_URL")?,
            grants_epoch: parsed(env, "GRANTS_EPOCH")?,
            resolve_queue_url: required(env, "RESOLVE_QUEUE_URL")?,
            audit_table: required(env, "AUDIT_TABLE")?,
            audit_retention_days: parsed(env, "AUDIT_RETENTION_DAYS")?,
            complete_link: parsed(env, "COMPLETE_LINK")?,
            link_leeway: milliseconds(env, "LINK_LEEWAY_MS")?,
            refused_share_percent: parsed(env, "REFUSED_SHARE_PERCENT")?,
        })
    }
}
