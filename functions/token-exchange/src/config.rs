//! What the token exchange reads from its environment.

use std::fmt;

use crate::signature::TokenUrlSignature;
use shared::edge::config::{ConfigError, Environment, RingConfig, list, parsed, required};
use subtle::{Choice, ConstantTimeEq as _};

/// The least length of a key in the Token Exchange URL: what it must be to be unguessable.
const LEAST_KEY_LENGTH: usize = 16;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is.
    pub ring: RingConfig,
    /// `OAUTH_SECRET_ID`: our client id and secret at Ring.
    pub oauth_secret_id: String,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `RESCUE_QUEUE_URL`: where a pair waits that the table did not take.
    pub rescue_queue_url: String,
    /// `GRANTS_EPOCH`: raised when the table of grants is restored from a backup.
    pub grants_epoch: u64,
    /// `RESOLVE_QUEUE_URL`: told of a grant whose owner is not known yet.
    pub resolve_queue_url: String,
    /// `REFUSED_CODES_PER_MINUTE`: how many codes that Ring refuses one source may bring.
    pub refused_codes_per_minute: u64,
    /// `TOKEN_URL_SIGNATURE`: `off`, `observe` or `require`.
    pub signature: TokenUrlSignature,
    /// `SIGNING_SECRET_ID`: what signatures are verified with; needed unless they are `off`.
    pub signing_secret_id: Option<String>,
    /// `TOKEN_URL_KEY`: what makes the Token Exchange URL unguessable.
    pub url_keys: UrlKeys,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let signature = parsed(env, "TOKEN_URL_SIGNATURE")?;
        let signing_secret_id = match signature {
            TokenUrlSignature::Off => None,
            TokenUrlSignature::Observe | TokenUrlSignature::Require => Some(required(env, "SIGNING_SECRET_ID")?),
        };
        Ok(Self {
            ring: RingConfig::read(env)?,
            oauth_secret_id: required(env, "OAUTH_SECRET_ID")?,
            grants_table: required(env, "GRANTS_TABLE")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            rescue_queue_url: required(env, "RESCUE_QUEUE_URL")?,
            grants_epoch: parsed(env, "GRANTS_EPOCH")?,
            resolve_queue_url: required(env, "RESOLVE_QUEUE_URL")?,
            refused_codes_per_minute: parsed(env, "REFUSED_CODES_PER_MINUTE")?,
            signature,
            signing_secret_id,
            url_keys: UrlKeys::read(env)?,
        })
    }
}

/// The one key of the Token Exchange URL, or the two while it is changed.
#[derive(Clone)]
pub struct UrlKeys(Vec<String>);

impl UrlKeys {
    fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let invalid = |why: &str| ConfigError::Invalid {
            name: "TOKEN_URL_KEY",
            why: why.to_owned(),
        };
        required(env, "TOKEN_URL_KEY")?;
        let keys = list(env, "TOKEN_URL_KEY");
        if keys.is_empty() || keys.len() > 2 {
            return Err(invalid("it must be one key, or two with a comma between"));
        }
        if keys.iter().any(|key| key.len() < LEAST_KEY_LENGTH) {
            return Err(invalid("a key must have 16 characters and more"));
        }
        Ok(Self(keys))
    }

    /// Whether this is one of them, in a time that does not tell how nearly.
    #[must_use]
    pub fn hold(&self, key: &str) -> bool {
        let none = Choice::from(0);
        self.0
            .iter()
            .fold(none, |found, known| found | known.as_bytes().ct_eq(key.as_bytes()))
            .into()
    }
}

impl fmt::Debug for UrlKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn keys(text: &str) -> Result<UrlKeys, ConfigError> {
        UrlKeys::read(&HashMap::from([("TOKEN_URL_KEY".to_owned(), text.to_owned())]))
    }

    #[test]
    fn two_keys_hold_while_one_takes_the_others_place() {
        let keys = keys("0123456789abcdef,fedcba9876543210").unwrap();
        assert!(keys.hold("0123456789abcdef") && keys.hold("fedcba9876543210"));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef,fedcba9876543210",
            "0123456789abcdeF",
        ] {
            assert!(!keys.hold(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_could_be_guessed_stops_the_start_and_is_not_shown() {
        for text in ["short", "0123456789abcdef,short", "a,b,c", ","] {
            let error = keys(text).unwrap_err().to_string();
            assert!(error.contains("TOKEN_URL_KEY") && !error.contains("short"), "{error}");
        }
    }
}
