//! What the media fetch reads from its environment.

use std::time::Duration;

use shared::edge::config::{ConfigError, Environment, RingConfig, parsed, parsed_or_empty, required};
use shared::policy::Regions;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is, and where its media may be.
    pub ring: RingConfig,
    /// `FETCH_SECONDS`: how long one piece of media may take; what takes longer is asked for in halves.
    pub fetch_within: Duration,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `LINKS_TABLE`.
    pub links_table: String,
    /// `DEVICES_TABLE`.
    pub devices_table: String,
    /// `EVENTS_TABLE`.
    pub events_table: String,
    /// `MEDIA_TABLE`.
    pub media_table: String,
    /// `MEDIA_BUCKET`.
    pub media_bucket: String,
    /// `MEDIA_RETENTION_DAYS`: after how many days media are forgotten; 0 is never.
    pub media_retention_days: u64,
    /// `MEDIA_QUEUE_URL`: where the requests come from.
    pub media_queue_url: String,
    /// `EVENT_BUS_NAME`.
    pub event_bus_name: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `TOKEN_REFRESH_FUNCTION`: who renews tokens.
    pub token_refresh_function: String,
    /// `METRICS_NAMESPACE`: what metrics are counted under.
    pub metrics_namespace: String,
    /// `PRIVACY_REGIONS`: where privacy zones are obscured at the least; none when it is not set.
    pub privacy_regions: Regions,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            ring: RingConfig::read(env)?,
            fetch_within: parsed(env, "FETCH_SECONDS").map(Duration::from_secs)?,
            grants_table: required(env, "GRANTS_TABLE")?,
            links_table: required(env, "LINKS_TABLE")?,
            devices_table: required(env, "DEVICES_TABLE")?,
            events_table: required(env, "EVENTS_TABLE")?,
            media_table: required(env, "MEDIA_TABLE")?,
            media_bucket: required(env, "MEDIA_BUCKET")?,
            media_retention_days: parsed(env, "MEDIA_RETENTION_DAYS")?,
            media_queue_url: required(env, "MEDIA_QUEUE_URL")?,
            event_bus_name: required(env, "EVENT_BUS_NAME")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            token_refresh_function: required(env, "TOKEN_REFRESH_FUNCTION")?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
            privacy_regions: parsed_or_empty(env, "PRIVACY_REGIONS")?,
        })
    }
}
