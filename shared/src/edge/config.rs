//! Settings from the environment. A required one that is missing stops the start and names itself; there are no
//! defaults that would let a program run half configured.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

/// Where settings come from: the process, or a test's map.
pub trait Environment {
    /// The value of `name`, if it is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl Environment for Process {
    fn get(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Environment for std::collections::HashMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// Why a program can't start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A required setting is not there.
    #[error("the environment variable {0} is not set; the template sets it for this function")]
    Missing(&'static str),
    /// A setting is there and can't be used. The value is not shown: it may be a secret.
    #[error("the environment variable {name} can't be used: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// A required text.
pub fn required(env: &impl Environment, name: &'static str) -> Result<String, ConfigError> {
    env.get(name).ok_or(ConfigError::Missing(name))
}

/// A required value of a type that can be read from text.
pub fn parsed<T>(env: &impl Environment, name: &'static str) -> Result<T, ConfigError>
where
    T: FromStr,
    T::Err: Display,
{
    required(env, name)?
        .parse()
        .map_err(|error: T::Err| ConfigError::Invalid {
            name,
            why: error.to_string(),
        })
}

/// A value of a type that can be read from text, and from none when it is not set.
pub fn parsed_or_empty<T>(env: &impl Environment, name: &'static str) -> Result<T, ConfigError>
where
    T: FromStr,
    T::Err: Display,
{
    env.get(name)
        .unwrap_or_default()
        .parse()
        .map_err(|error: T::Err| ConfigError::Invalid {
            name,
            why: error.to_string(),
        })
}

/// A required number of milliseconds.
pub fn milliseconds(env: &impl Environment, name: &'static str) -> Result<Duration, ConfigError> {
    parsed(env, name).map(Duration::from_millis)
}

/// A comma-separated list; empty when it is not set.
pub fn list(env: &impl Environment, name: &str) -> Vec<String> {
    let text = env.get(name).unwrap_or_default();
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Where Ring is, and which further hosts may see what.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// `RING_API_URL`.
    pub api_url: Url,
    /// `RING_OAUTH_URL`.
    pub oauth_url: Url,
    /// `RING_BEARER_HOSTS`: further hosts that may see the bearer on a redirect.
    pub bearer_hosts: Vec<String>,
    /// `RING_MEDIA_HOSTS`: suffixes that a media redirect may lead to; empty: any public https host.
    pub media_hosts: Vec<String>,
    /// `RING_SHARE`: how many of the 100 requests a second that Ring allows one client id (Ring: Rate Limiting) are this
    /// program's, and of those that share with it.
    pub share: u32,
    /// `RING_SHARED_BY`: in how many processes these can run at once.
    pub shared_by: u32,
}

impl RingConfig {
    /// Reads the `RING_…` variables.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            api_url: parsed(env, "RING_API_URL")?,
            oauth_url: parsed(env, "RING_OAUTH_URL")?,
            bearer_hosts: list(env, "RING_BEARER_HOSTS"),
            media_hosts: list(env, "RING_MEDIA_HOSTS"),
            share: parsed(env, "RING_SHARE")?,
            shared_by: parsed(env, "RING_SHARED_BY")?,
        })
    }

    /// The client for it.
    pub fn client(&self) -> Result<ring_partner::Ring, ring_partner::client::SettingsError> {
        ring_partner::Ring::new(self.settings())
    }

    /// What the client for it is made of.
    #[must_use]
    pub fn settings(&self) -> ring_partner::Settings {
        let mut settings = ring_partner::Settings::new(self.api_url.clone(), self.oauth_url.clone());
        settings.bearer_hosts.clone_from(&self.bearer_hosts);
        settings.media_hosts.clone_from(&self.media_hosts);
        settings.budget_per_second = self.share;
        settings.budget_shared_by = self.shared_by;
        settings
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_missing_setting_names_itself() {
        let error = required(&env(&[]), "GRANTS_TABLE").unwrap_err();
        assert!(error.to_string().contains("GRANTS_TABLE"), "{error}");
    }

    #[test]
    fn an_empty_setting_is_a_missing_one() {
        assert!(matches!(
            required(&env(&[("A", "")]), "A"),
            Err(ConfigError::Missing("A"))
        ));
    }

    #[test]
    fn an_unusable_setting_is_named_and_not_shown() {
        let error = parsed::<Url>(&env(&[("RING_API_URL", "not-a-url-secret")]), "RING_API_URL").unwrap_err();
        assert!(error.to_string().contains("RING_API_URL"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn lists_are_trimmed_and_may_be_absent() {
        assert_eq!(
            list(&env(&[("H", " a.example, ,b.example ")]), "H"),
            ["a.example", "b.example"]
        );
        assert!(list(&env(&[]), "H").is_empty());
    }
}
