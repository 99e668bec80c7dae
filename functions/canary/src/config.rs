//! What the canary reads from its environment.

use shared::edge::config::{ConfigError, Environment, required};

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `WEBHOOK_URL`: where Ring posts, and the canary with it.
    pub webhook_url: String,
    /// `SIGNING_SECRET_ID`: the keys that Ring signs with.
    pub signing_secret_id: String,
    /// `EVENTS_TABLE`: where the record is to appear.
    pub events_table: String,
    /// `METRICS_NAMESPACE`: what our metrics stand under.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            webhook_url: required(env, "WEBHOOK_URL")?,
            signing_secret_id: required(env, "SIGNING_SECRET_ID")?,
            events_table: required(env, "EVENTS_TABLE")?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
        })
    }
}
