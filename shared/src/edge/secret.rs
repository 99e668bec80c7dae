//! Secrets of Secrets Manager: the OAuth client's and the signing keys, read when first needed and kept for a while.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use http::HeaderMap;
use jiff::Timestamp;
use ring_partner::oauth::Credentials;
use ring_partner::signature::{self, SignatureError, SigningKey, Verified};
use serde::Deserialize;

use super::aws::Cause;

/// A secret that was read anew less than this ago, or could not be, is not read anew again, whatever a caller suspects.
const HOLD: Duration = Duration::from_secs(10);
/// What should be read again and can't be serves on for so long.
const SERVES_ON: Duration = Duration::from_secs(3_600);
/// How long a look at the secret may take while what is in memory serves on: whoever asked has an answer to give.
const LOOK_WITHIN: Duration = Duration::from_millis(500);

/// Why a secret is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager is out of reach, or refuses.
    #[error("the secret can't be read")]
    Unavailable(#[source] Cause),
    /// It was read, and is not what it should be. What it holds is not shown.
    #[error("the secret is not of the expected form: {0}")]
    Malformed(&'static str),
}

/// What is known of a secret.
#[derive(Debug)]
struct Known<T> {
    /// Its value, and when that was read.
    value: Option<(T, Timestamp)>,
    /// When it was last read because what was in memory seemed to be out of date. A read for another reason does not
    /// count: the secret may have been changed right after it.
    reread_at: Option<Timestamp>,
    /// When it could last not be read although something was in memory.
    failed_at: Option<Timestamp>,
}

/// Where a secret's string is read.
pub trait Source: Debug + Send + Sync + 'static {
    /// The string, as it is now.
    fn string(&self) -> impl Future<Output = Result<String, SecretError>> + Send;
}

/// One secret of Secrets Manager.
#[derive(Debug)]
pub struct SecretsManager {
    client: Client,
    id: String,
}

impl SecretsManager {
    /// The secret `id`.
    #[must_use]
    pub fn new(config: &SdkConfig, id: impl Into<String>) -> Self {
        Self {
            client: Client::new(config),
            id: id.into(),
        }
    }

    /// When what it holds was written, which is told without what it is.
    pub async fn written_at(&self) -> Result<Timestamp, SecretError> {
        let answer = self.client.list_secret_version_ids().secret_id(&self.id).send().await;
        let versions = answer.map_err(|error| SecretError::Unavailable(error.into()))?.versions;
        let mut versions = versions.into_iter().flatten();
        let current = versions.find(|version| version.version_stages().iter().any(|stage| stage == "AWSCURRENT"));
        let at = current.and_then(|version| version.created_date);
        at.and_then(|at| Timestamp::from_millisecond(at.to_millis().ok()?).ok())
            .ok_or(SecretError::Malformed("no version of it is the current one"))
    }
}

impl Source for SecretsManager {
    async fn string(&self) -> Result<String, SecretError> {
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer = answer.map_err(|error| SecretError::Unavailable(error.into()))?;
        answer.secret_string.ok_or(SecretError::Malformed("it has no string"))
    }
}

/// One secret of the form `T`, kept in memory for at most `keep`, and for an hour more where it can't be read.
#[derive(Debug)]
pub struct Secret<T, S = SecretsManager> {
    source: S,
    keep: Duration,
    known: Mutex<Known<T>>,
    reading: tokio::sync::Mutex<()>,
}

/// What a secret's JSON becomes.
pub trait FromSecret: Clone {
    /// Reads it from the secret's string.
    fn from_secret(text: &str) -> Result<Self, SecretError>;
}

impl<T: FromSecret> Secret<T> {
    /// The secret `id`, kept for at most `keep`.
    #[must_use]
    pub fn new(config: &SdkConfig, id: impl Into<String>, keep: Duration) -> Self {
        Self::of(SecretsManager::new(config, id), keep)
    }
}

impl<T: FromSecret, S: Source> Secret<T, S> {
    /// The secret that is read there, kept for at most `keep`.
    #[must_use]
    pub fn of(source: S, keep: Duration) -> Self {
        let nothing = Known {
            value: None,
            reread_at: None,
            failed_at: None,
        };
        Self {
            source,
            keep,
            known: Mutex::new(nothing),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// The secret, from memory where it is young enough.
    pub async fn get(&self, now: Timestamp) -> Result<T, SecretError> {
        if let Some(value) = self.in_memory(self.keep, now) {
            return Ok(value);
        }
        // One read at a time: whoever waited here finds what the first one read.
        let _one_read = self.reading.lock().await;
        match self.in_memory(self.keep, now) {
            Some(value) => Ok(value),
            None => self.read(now).await,
        }
    }

    /// The secret, read anew: for when what is in memory seems to be out of date. `None`: that was done in the last 10 s,
    /// and what is in memory is what there is. An error: it can't be read, or could not be in the last 10 s.
    pub async fn reread(&self, now: Timestamp) -> Result<Option<T>, SecretError> {
        let _one_read = self.reading.lock().await;
        if self.is_held(|known| known.failed_at, now) {
            return Err(SecretError::Unavailable("it could not be read a moment ago".into()));
        }
        if self.is_held(|known| known.reread_at, now) {
            return Ok(None);
        }
        let value = self
            .read(now)
            .await
            .inspect_err(|_| self.known().failed_at = Some(now))?;
        self.known().reread_at = Some(now);
        Ok(Some(value))
    }

    /// The secret; where it can't be read, or not in half a second, from memory for an hour more.
    pub async fn get_or_last_known(&self, now: Timestamp) -> Result<T, SecretError> {
        let Some(last_known) = self.in_memory(self.keep + SERVES_ON, now) else {
            return self.get(now).await;
        };
        let is_young = self.in_memory(self.keep, now).is_some();
        if !is_young && self.is_held(|known| known.failed_at, now) {
            return Ok(last_known);
        }
        let looked = tokio::time::timeout(LOOK_WITHIN, self.get(now)).await;
        looked
            .unwrap_or_else(|_| Err(SecretError::Unavailable("it took too long".into())))
            .or_else(|error| {
                self.known().failed_at = Some(now);
                tracing::error!(
                    alarm = "secret_unreadable",
                    error = &error as &dyn std::error::Error,
                    "a secret can't be read; what is in memory serves on"
                );
                Ok(last_known)
            })
    }

    async fn read(&self, now: Timestamp) -> Result<T, SecretError> {
        let read = self.source.string().await;
        let value = read.and_then(|text| T::from_secret(&text)).inspect_err(|error| {
            tracing::error!(
                alarm = "secret_unreadable",
                error = error as &dyn std::error::Error,
                "a secret can't be read"
            );
        })?;
        let mut known = self.known();
        known.value = Some((value.clone(), now));
        known.failed_at = None;
        Ok(value)
    }

    /// What is in memory, where it is younger than this.
    fn in_memory(&self, younger_than: Duration, now: Timestamp) -> Option<T> {
        let known = self.known();
        let (value, read_at) = known.value.as_ref()?;
        (age(*read_at, now) < younger_than).then(|| value.clone())
    }

    fn is_held(&self, since: impl Fn(&Known<T>) -> Option<Timestamp>, now: Timestamp) -> bool {
        since(&self.known()).is_some_and(|since| age(since, now) < HOLD)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(then).unsigned_abs()
}

/// What Ring knows us by: the current credentials first, and while rotating those with the previous client secret.
#[derive(Clone, Debug)]
pub struct ClientSecrets(Vec<Credentials>);

impl ClientSecrets {
    /// All of them, the current ones first; never none.
    #[must_use]
    pub fn all(&self) -> &[Credentials] {
        &self.0
    }
}

/// `{"client_id","client_secret","client_secret_previous"}`, the secret `OAUTH_SECRET_ID`; the third may be left out.
impl FromSecret for ClientSecrets {
    fn from_secret(text: &str) -> Result<Self, SecretError> {
        #[derive(Deserialize)]
        struct Form {
            client_id: String,
            client_secret: String,
            client_secret_previous: Option<String>,
        }
        let form: Form =
            serde_json::from_str(text).map_err(|_| SecretError::Malformed("it needs client_id and client_secret"))?;
        let current = Credentials::new(form.client_id.clone(), form.client_secret)
            .map_err(|_| SecretError::Malformed("client_id and client_secret must not be empty"))?;
        let previous = form.client_secret_previous;
        let previous = previous.and_then(|secret| Credentials::new(form.client_id, secret).ok());
        Ok(Self([current].into_iter().chain(previous).collect()))
    }
}

impl<S: Source> Secret<ClientSecrets, S> {
    /// Credentials that are none of these, which Ring refuses: the previous ones while rotating; else, as the secret may have
    /// been changed since, it is read anew. `None`: there are no others.
    pub async fn other_than(&self, refused: &[Credentials], now: Timestamp) -> Option<Credentials> {
        let other = |secrets: ClientSecrets| secrets.0.into_iter().find(|one| !refused.contains(one));
        if let Some(other) = self.get(now).await.ok().and_then(other) {
            return Some(other);
        }
        match self.reread(now).await {
            Ok(anew) => anew.and_then(other),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Ring refuses our credentials, and whether they were changed can't be read"
                );
                None
            }
        }
    }
}

/// The signing keys that count now: the current one first, and the previous one while rotating.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<SigningKey>);

impl SigningKeys {
    /// All of them, the current one first.
    #[must_use]
    pub fn all(&self) -> &[SigningKey] {
        &self.0
    }
}

impl<S: Source> Secret<SigningKeys, S> {
    /// Verifies a body against its signatures, with every key. Where none of them fits, the key may have been changed since:
    /// the secret is read anew before that is said.
    pub async fn verify<'b>(
        &self,
        headers: &HeaderMap,
        body: &'b [u8],
        now: Timestamp,
    ) -> Result<Result<Verified<'b>, SignatureError>, SecretError> {
        let keys = self.get_or_last_known(now).await?;
        let verified = signature::verify(keys.all(), body, signatures(headers));
        if matches!(verified, Err(SignatureError::Mismatch))
            && let Some(keys) = self.reread(now).await?
        {
            return Ok(signature::verify(keys.all(), body, signatures(headers)));
        }
        Ok(verified)
    }
}

/// The values of `X-Signature` that can be read at all.
pub fn signatures(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all("x-signature").iter();
    values.filter_map(|value| value.to_str().ok())
}

/// `{"hmac_signing_key","hmac_signing_key_previous"}`, the secret `SIGNING_SECRET_ID`; the second may be left out.
impl FromSecret for SigningKeys {
    fn from_secret(text: &str) -> Result<Self, SecretError> {
        #[derive(Deserialize)]
        struct Form {
            hmac_signing_key: String,
            hmac_signing_key_previous: Option<String>,
        }
        let form: Form = serde_json::from_str(text).map_err(|_| SecretError::Malformed("it needs hmac_signing_key"))?;
        let mut keys = vec![
            SigningKey::new(form.hmac_signing_key)
                .map_err(|_| SecretError::Malformed("hmac_signing_key must not be empty"))?,
        ];
        keys.extend(form.hmac_signing_key_previous.and_then(|key| SigningKey::new(key).ok()));
        Ok(Self(keys))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn both_signing_keys_are_read_and_the_previous_one_may_be_missing_or_empty() {
        let count = |text: &str| SigningKeys::from_secret(text).map(|keys| keys.all().len());
        assert_eq!(
            count(r#"{"hmac_signing_key":"a","hmac_signing_key_previous":"b"}"#).unwrap(),
            2
        );
        assert_eq!(count(r#"{"hmac_signing_key":"a"}"#).unwrap(), 1);
        assert_eq!(
            count(r#"{"hmac_signing_key":"a","hmac_signing_key_previous":null}"#).unwrap(),
            1
        );
        assert_eq!(
            count(r#"{"hmac_signing_key":"a","hmac_signing_key_previous":""}"#).unwrap(),
            1
        );
    }

    #[test]
    fn a_malformed_secret_says_what_it_needs_and_not_what_it_holds() {
        for text in ["", "hush", r#"{"hmac_signing_key":""}"#, r#"{"client_id":"hush"}"#] {
            let error = SigningKeys::from_secret(text).unwrap_err().to_string();
            assert!(error.contains("hmac_signing_key") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn trap_18_a_pasted_newline_does_not_spoil_the_credentials() {
        let pasted = "{\"client_id\":\"id\\n\",\"client_secret\":\"s\\n\"}";
        let read = ClientSecrets::from_secret(pasted).unwrap();
        assert_eq!(read.all(), [Credentials::new("id", "s").unwrap()]);
    }

    /// A secret that is changed while programs run.
    #[derive(Clone, Debug, Default)]
    struct Changed(Arc<Mutex<(String, usize)>>);

    impl Changed {
        fn write(&self, text: &str) {
            self.0.lock().unwrap().0 = text.to_owned();
        }

        fn reads(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    impl Source for Changed {
        async fn string(&self) -> Result<String, SecretError> {
            let mut kept = self.0.lock().unwrap();
            kept.1 += 1;
            Ok(kept.0.clone())
        }
    }

    #[tokio::test]
    async fn refused_credentials_give_way_to_the_previous_ones_and_then_to_what_was_written_since() {
        let (source, at) = (Changed::default(), Timestamp::UNIX_EPOCH);
        let after = |seconds| at + jiff::SignedDuration::from_secs(seconds);
        let one = |secret: &str| Credentials::new("id", secret).unwrap();
        source.write(r#"{"client_id":"id","client_secret":"new","client_secret_previous":"old"}"#);
        let secret = Secret::<ClientSecrets, _>::of(source.clone(), Duration::from_secs(300));
        assert_eq!(secret.get(at).await.unwrap().all(), [one("new"), one("old")]);
        assert_eq!(secret.other_than(&[one("new")], at).await, Some(one("old")));
        assert_eq!(source.reads(), 1, "the previous ones are in memory");

        let both = [one("new"), one("old")];
        assert_eq!(
            secret.other_than(&both, after(1)).await,
            None,
            "read anew, and the same"
        );
        source.write(r#"{"client_id":"id","client_secret":"newest","client_secret_previous":"new"}"#);
        assert_eq!(secret.other_than(&both, after(5)).await, None, "not within ten seconds");
        assert_eq!(source.reads(), 2);
        assert_eq!(secret.other_than(&both, after(12)).await, Some(one("newest")));
        // Whoever is refused a moment later finds in memory what was read.
        assert_eq!(secret.other_than(&both, after(13)).await, Some(one("newest")));
        assert_eq!(source.reads(), 3);
    }
}
