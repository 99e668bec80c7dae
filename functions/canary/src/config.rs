//! What the canary reads from its environment.

use shared::edge::config::{ConfigError, Environment, required};

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `WEBHOOK_URL`: where Ring posts, and the canary with it.
    pub webhook_url: String,
    /// `WEBHOOK_INTAKE_FUNCTION`: who has the key, and signs.
    pub intake_function: String,
    /// `OAUTH_SECRET_ID` and `SIGNING_SECRET_ID`: what it looks at the age of. What they hold is not for it to read.
    pub secret_ids: [String; 2],
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
            intake_function: required(env, "WEBHOOK_INTAKE_FUNCTION")?,
            secret_ids: [required(env, "OAUTH_SECRET_ID")?, required(env, "SIGNING_SECRET_ID")?],
            events_table: required(env, "EVENTS_TABLE")?,
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
        })
    }
}
