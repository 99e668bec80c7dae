//! What the event processor reads from its environment.

use std::time::Duration;

use shared::edge::config::{ConfigError, Environment, RingConfig, parsed, required};

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is.
    pub ring: RingConfig,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `LINKS_TABLE`.
    pub links_table: String,
    /// `EVENTS_TABLE`.
    pub events_table: String,
    /// `DEVICES_TABLE`.
    pub devices_table: String,
    /// `EVENTS_QUEUE_URL`: where the bodies come from.
    pub events_queue_url: String,
    /// `QUARANTINE_QUEUE_URL`: where poison goes.
    pub quarantine_queue_url: String,
    /// `EVENT_BUS_NAME`.
    pub event_bus_name: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `TOKEN_REFRESH_FUNCTION`: who renews tokens.
    pub token_refresh_function: String,
    /// `HISTORY_RETENTION_DAYS`: for how long events are kept; never less than 30 days.
    pub history_kept_for: Duration,
    /// `METRICS_NAMESPACE`: what our metrics stand under.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            ring: RingConfig::read(env)?,
            grants_table: required(env, "GRANTS_TABLE")?,
            links_table: required(env, "LINKS_TABLE")?,
            events_table: required(env, "EVENTS_TABLE")?,
            devices_table: required(env, "DEVICES_TABLE")?,
            events_queue_url: required(env, "EVENTS_QUEUE_URL")?,
            quarantine_queue_url: required(env, "QUARANTINE_QUEUE_URL")?,
            event_bus_name: required(env, "EVENT_BUS_NAME")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            token_refresh_function: required(env, "TOKEN_REFRESH_FUNCTION")?,
            history_kept_for: Duration::from_secs(parsed::<u64>(env, "HISTORY_RETENTION_DAYS")? * 24 * 3600),
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
        })
    }
}
