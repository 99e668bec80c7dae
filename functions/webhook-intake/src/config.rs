//! What the webhook intake reads from its environment.

use shared::edge::config::{ConfigError, Environment, required};

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `SIGNING_SECRET_ID`: the keys that Ring signs with.
    pub signing_secret_id: String,
    /// `EVENTS_QUEUE_URL`: where the bodies go.
    pub events_queue_url: String,
    /// `QUARANTINE_QUEUE_URL`: where it is told of bodies that no queue takes.
    pub quarantine_queue_url: String,
    /// `MEDIA_BUCKET`: where those lie, in a folder of their own.
    pub media_bucket: String,
    /// `METRICS_NAMESPACE`: what our metrics stand under.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            signing_secret_id: required(env, "SIGNING_SECRET_ID")?,
            events_queue_url: required(env, "EVENTS_QUEUE_URL")?,
            quarantine_queue_url: required(env, "QUARANTINE_QUEUE_URL")?,
            media_bucket: required(env, "MEDIA_BUCKET")?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
        })
    }
}
