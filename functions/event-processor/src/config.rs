//! What the event processor reads from its environment.

use std::time::Duration;

use shared::edge::config::{ConfigError, Environment, RingConfig, parsed, parsed_or_empty, required};
use shared::media::RemovedMedia;
use shared::policy::Regions;

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
    /// `MEDIA_TABLE`.
    pub media_table: String,
    /// `AUDIT_TABLE`.
    pub audit_table: String,
    /// `AUDIT_RETENTION_DAYS`: for how long the audit trail keeps an entry.
    pub audit_retention_days: u64,
    /// `MEDIA_QUEUE_URL`: where requests for media go.
    pub media_queue_url: String,
    /// `CAPTURES_QUEUE_URL`: where captures to record go; nothing, where nobody records.
    pub captures_queue_url: Option<String>,
    /// `EVENTS_QUEUE_URL`: where the bodies come from.
    pub events_queue_url: String,
    /// `QUARANTINE_QUEUE_URL`: where poison goes.
    pub quarantine_queue_url: String,
    /// `MEDIA_BUCKET`: where bodies lie that no queue takes.
    pub media_bucket: String,
    /// `EVENT_BUS_NAME`.
    pub event_bus_name: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `TOKEN_REFRESH_FUNCTION`: who renews tokens.
    pub token_refresh_function: String,
    /// `HISTORY_RETENTION_DAYS`: for how long events are kept; never less than 30 days.
    pub history_kept_for: Duration,
    /// `PRIVACY_REGIONS`: where privacy zones are obscured at the least; none when it is not set.
    pub privacy_regions: Regions,
    /// `REMOVED_MEDIA` and `REMOVED_MEDIA_DAYS`: what becomes of a removed device's media.
    pub removed_media: RemovedMedia,
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
            media_table: required(env, "MEDIA_TABLE")?,
            audit_table: required(env, "AUDIT_TABLE")?,
            audit_retention_days: parsed(env, "AUDIT_RETENTION_DAYS")?,
            media_queue_url: required(env, "MEDIA_QUEUE_URL")?,
            captures_queue_url: env.get("CAPTURES_QUEUE_URL"),
            events_queue_url: required(env, "EVENTS_QUEUE_URL")?,
            quarantine_queue_url: required(env, "QUARANTINE_QUEUE_URL")?,
            media_bucket: required(env, "MEDIA_BUCKET")?,
            event_bus_name: required(env, "EVENT_BUS_NAME")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            token_refresh_function: required(env, "TOKEN_REFRESH_FUNCTION")?,
            history_kept_for: Duration::from_secs(parsed::<u64>(env, "HISTORY_RETENTION_DAYS")? * 24 * 3600),
            privacy_regions: parsed_or_empty(env, "PRIVACY_REGIONS")?,
            removed_media: removed_media(env)?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
        })
    }
}

fn removed_media(env: &impl Environment) -> Result<RemovedMedia, ConfigError> {
    let name = "REMOVED_MEDIA";
    let days: u64 = parsed(env, "REMOVED_MEDIA_DAYS")?;
    match required(env, name)?.as_str() {
        "delete" => Ok(RemovedMedia::Delete),
        "retain" => Ok(RemovedMedia::Retain(Duration::from_secs(days * 24 * 3600))),
        "hold" => Ok(RemovedMedia::Hold),
        _ => Err(ConfigError::Invalid {
            name,
            why: "it must be delete, retain or hold".to_owned(),
        }),
    }
}
