//! What the partner API reads from its environment.

use std::time::Duration;

use shared::edge::config::{ConfigError, Environment, RingConfig, parsed, parsed_or_empty, required};
use shared::policy::Regions;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is.
    pub ring: RingConfig,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `TOKEN_REFRESH_FUNCTION`: who renews tokens.
    pub token_refresh_function: String,
    /// `LIVE_LIMIT_SECONDS`: how long a live session lasts at the most of a device of which nothing is known.
    pub live_limit: Duration,
    /// `LINKS_TABLE`.
    pub links_table: String,
    /// `DEVICES_TABLE`.
    pub devices_table: String,
    /// `EVENTS_TABLE`.
    pub events_table: String,
    /// `MEDIA_TABLE`.
    pub media_table: String,
    /// `MEDIA_QUEUE_URL`: where requests for media go.
    pub media_queue_url: String,
    /// `CAPTURES_QUEUE_URL`: where captures to record go; nothing, where nobody records.
    pub captures_queue_url: Option<String>,
    /// `REQUESTS_PER_MINUTE`: how many requests one user may make.
    pub requests_per_minute: u64,
    /// `PRIVACY_REGIONS`: where privacy zones are obscured at the least; none when it is not set.
    pub privacy_regions: Regions,
    /// `AUDIT_TABLE`: who watched, fetched, recorded and deleted what.
    pub audit_table: String,
    /// `AUDIT_RETENTION_DAYS`: how long that is kept.
    pub audit_retention_days: u64,
    /// `MEDIA_BUCKET`.
    pub media_bucket: String,
    /// `METRICS_NAMESPACE`: what metrics are counted under.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            ring: RingConfig::read(env)?,
            grants_table: required(env, "GRANTS_TABLE")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            token_refresh_function: required(env, "TOKEN_REFRESH_FUNCTION")?,
            live_limit: parsed(env, "LIVE_LIMIT_SECONDS").map(Duration::from_secs)?,
            links_table: required(env, "LINKS_TABLE")?,
            devices_table: required(env, "DEVICES_TABLE")?,
            events_table: required(env, "EVENTS_TABLE")?,
            media_table: required(env, "MEDIA_TABLE")?,
            media_queue_url: required(env, "MEDIA_QUEUE_URL")?,
            captures_queue_url: env.get("CAPTURES_QUEUE_URL"),
            requests_per_minute: parsed(env, "REQUESTS_PER_MINUTE")?,
            privacy_regions: parsed_or_empty(env, "PRIVACY_REGIONS")?,
            audit_table: required(env, "AUDIT_TABLE")?,
            audit_retention_days: parsed(env, "AUDIT_RETENTION_DAYS")?,
            media_bucket: required(env, "MEDIA_BUCKET")?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
        })
    }
}
