//! `POST /ring/webhook`: verify, queue, 200.
//!
//! | answer | when | what Ring does then |
//! |---|---|---|
//! | 200 `{}` | the body is in the queue; or in quarantine, where it is too large for one | nothing more |
//! | 401 | no key verifies the signature, and the keys are known to be those of now | nothing: the event is gone |
//! | 503 | the keys or the queue are out of reach, or take too long | tries again, six times in 73 minutes |
//!
//! Ring never repeats what was answered with 4xx (Ring: Webhook Response Handling), so 401 is the one 4xx here, and it is
//! said only after the keys were read anew. The body is kept as it came: it is parsed to learn whose it is, for fairness
//! between accounts, and is queued whatever it holds.
//!
//! Each 503 leaves one line with the field `failed_ring`, which says why: `ops outages` finds by it when Ring was failed.

mod aws;
mod config;
mod gateway;

use std::borrow::Cow;
use std::time::Duration;

pub use aws::{Deployed, SigningSecret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use config::Config;
use gateway::TRACE;
pub use gateway::{Answer, Call, Reply, Webhook};
use http::HeaderMap;
use jiff::Timestamp;
use ring_partner::signature::{self, SignatureError, Verified};
use shared::edge::batch::{BASE64, ENCODING, SET_ASIDE_ADDS};
use shared::edge::direct::Account;
use shared::edge::metrics::Metrics;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::queue::{self, Message};
use shared::edge::secret::{Secret, SecretError, SigningKeys};
use shared::event;
use shared::event::ports::{Inbox as _, LargeBodies as _};
use shared::event::synthetic::{self, Ask, Signed};
use shared::world::{IntakeWorld, Nature as _, System};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// Ring gives up after 5 s and tries again (Ring: Webhook Endpoint Requirements). We say so ourselves after 3.5 s, counted
/// from the start of the program where that was started for this webhook: this long it may prepare, and this long answer.
const WARM_WITHIN: Duration = Duration::from_millis(800);
const ANSWER_WITHIN: Duration = Duration::from_millis(2_700);
/// The secret: one attempt, and all of them. What is left of the answer's time is for the queue.
const READ_WITHIN: [Duration; 2] = [Duration::from_millis(600), Duration::from_millis(1_300)];
/// The queue, and the bucket.
const SEND_WITHIN: [Duration; 2] = [Duration::from_millis(1_200), ANSWER_WITHIN];
/// How long the keys are used without a look at the secret. A new key that is not known yet makes itself known: no key
/// verifies, and the secret is read anew.
const KEYS_KEPT_FOR: Duration = Duration::from_secs(300);

/// The intake.
#[derive(Debug)]
pub struct Intake<W: IntakeWorld = Deployed> {
    nature: W::Nature,
    keys: Secret<SigningKeys, W::Secret>,
    queue: W::Inbox,
    quarantine: W::LargeBodies,
    metrics: Metrics,
}

impl Intake {
    /// An intake with these settings.
    #[must_use]
    pub fn new(account: &Account, config: Config) -> Self {
        let metrics = Metrics::new(&config.metrics_namespace, SERVICE);
        let (secret, queue, quarantine) = aws::of(account, config);
        Self::over(System, secret, queue, quarantine, metrics)
    }

    /// Reads the keys and opens the connection to the queue ahead of the first webhook, which may be waiting already: what
    /// is not ready in time is left to it.
    pub async fn warm(&self) {
        let all = async { tokio::join!(self.keys.get_or_last_known(self.nature.now()), self.queue.warm()) };
        match tokio::time::timeout(WARM_WITHIN, all).await {
            Ok((Ok(_), ())) => {}
            Ok((Err(error), ())) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the signing keys are not at hand yet"
            ),
            Err(_) => tracing::warn!("the signing keys or the queue are slow"),
        }
    }
}

impl<W: IntakeWorld> Intake<W> {
    /// An intake over these ports.
    #[must_use]
    pub fn over(
        nature: W::Nature,
        secret: W::Secret,
        queue: W::Inbox,
        quarantine: W::LargeBodies,
        metrics: Metrics,
    ) -> Self {
        Self {
            nature,
            keys: Secret::of(secret, KEYS_KEPT_FOR),
            queue,
            quarantine,
            metrics,
        }
    }

    /// Does what it is called for. It fails for the canary alone: a webhook always has its answer.
    pub async fn handle(&self, call: Call, trace: Option<&str>) -> Result<Reply, SecretError> {
        match call {
            Call::Webhook(webhook) => Ok(Reply::Answer(self.answer(webhook.traced(trace)).await)),
            Call::Sign(ask) => self.sign(&ask).await.map(Reply::Signed),
        }
    }

    /// Signs a synthetic event with the key of now. What is signed is made here: nobody gets anything else signed.
    pub async fn sign(&self, ask: &Ask) -> Result<Signed, SecretError> {
        let now = self.nature.now();
        let keys = self.keys.get_or_last_known(now).await?;
        let key = keys.all().first().ok_or(SecretError::Malformed("it has no key"))?;
        let (body, _) = synthetic::made(&ask.sign_synthetic, now);
        let signature = signature::sign(key, body.as_bytes());
        Ok(Signed { body, signature })
    }

    /// Answers one webhook.
    pub async fn answer(&self, webhook: Webhook) -> Answer {
        match self.receive(&webhook.headers, &webhook.body).await {
            Ok(()) => Answer::taken(),
            Err(problem) => {
                self.count(problem.kind());
                Answer::of(problem).await
            }
        }
    }

    /// Takes one webhook in, or says in time what Ring is to be told.
    pub async fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let taken = tokio::time::timeout(ANSWER_WITHIN, self.take(headers, body, self.nature.now()));
        taken.await.unwrap_or_else(|_| {
            tracing::error!(
                failed_ring = "too_slow",
                "a webhook could not be queued in time; Ring will send it again"
            );
            Err(Problem::new(ProblemType::Unavailable))
        })
    }

    /// Counts what went wrong. What goes well is said by nobody here: the gateway counts its answers.
    fn count(&self, what: ProblemType) {
        let name = match what {
            ProblemType::SignatureInvalid => "signatures_refused",
            _ => "webhooks_failed",
        };
        self.metrics.count(name, 1);
        self.metrics.flush(self.nature.now());
    }

    async fn take(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Problem> {
        let verified = self.verify(headers, body, now).await?;
        let message = message(verified.body()).traced(headers.get(TRACE));
        // The processor may have to set it aside: then too it must fit.
        if message.size() + SET_ASIDE_ADDS > queue::LARGEST {
            return self.keep_large(verified.body(), now).await;
        }
        self.queue.put(message).await.map_err(|error| {
            tracing::error!(
                failed_ring = "queue_out_of_reach",
                error = &error as &dyn std::error::Error,
                "a webhook is not queued; Ring will send it again"
            );
            Problem::new(ProblemType::Unavailable)
        })
    }

    async fn keep_large(&self, body: &[u8], now: Timestamp) -> Result<(), Problem> {
        match self.quarantine.keep_large(body, now).await {
            Ok(()) => {
                tracing::error!(
                    body.size_bytes = body.len(),
                    "a webhook that is too large for the queue is in quarantine"
                );
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    failed_ring = "quarantine_out_of_reach",
                    error = &error as &dyn std::error::Error,
                    body.size_bytes = body.len(),
                    "a webhook that is too large for the queue is not in quarantine; Ring will send it again"
                );
                Err(Problem::new(ProblemType::Unavailable))
            }
        }
    }

    async fn verify<'b>(&self, headers: &HeaderMap, body: &'b [u8], now: Timestamp) -> Result<Verified<'b>, Problem> {
        let verified = self.keys.verify(headers, body, now).await;
        match verified.map_err(|error| out_of_reach(&error))? {
            Ok(verified) => Ok(verified),
            Err(SignatureError::NoKeys) => {
                tracing::error!(
                    failed_ring = "no_keys",
                    "there is no signing key; Ring will send it again"
                );
                Err(Problem::new(ProblemType::Unavailable))
            }
            Err(refused) => {
                tracing::warn!(
                    reason = %refused,
                    body.size_bytes = body.len(),
                    "a webhook without a valid signature is refused"
                );
                Err(Problem::new(ProblemType::SignatureInvalid))
            }
        }
    }
}

fn out_of_reach(error: &SecretError) -> Problem {
    tracing::error!(
        failed_ring = "keys_out_of_reach",
        error = error as &dyn std::error::Error,
        "the signing keys can't be read; Ring will send it again"
    );
    Problem::new(ProblemType::Unavailable)
}

/// The body as the queue takes it: as it is, or in Base64 where it has characters that SQS refuses.
fn message(body: &[u8]) -> Message {
    let (text, encoding) = match std::str::from_utf8(body) {
        Ok(text) if !text.is_empty() && text.chars().all(is_taken) => (Cow::Borrowed(text), ""),
        // SQS takes no empty body; the white space is nothing in Base64.
        _ => (Cow::Owned(format!("{} ", STANDARD.encode(body))), BASE64),
    };
    Message::new(text)
        .attribute(ENCODING, encoding)
        .group(event::group(body))
}

/// The characters of a message body (SQS: SendMessage, MessageBody).
fn is_taken(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_body_goes_as_it_is_and_another_in_base64() {
        let of = |body: &[u8]| format!("{:?}", message(body));
        assert!(of(b"{\"data\":{}}").contains(r#"body: "{\"data\":{}}""#));
        for body in [&b"\xff\xfe"[..], b"{\"a\":\"\x01\"}", "\u{FFFF}".as_bytes(), b""] {
            assert!(of(body).contains(r#"("encoding", "base64")"#), "{body:?}");
            assert!(!of(body).contains(r#"body: "","#), "{body:?}");
        }
    }

    #[test]
    fn a_message_weighs_what_sqs_counts() {
        assert_eq!(message(b"{}").size(), 2);
        // Four letters and a space, and the attribute encoding of the type String with the value base64.
        assert_eq!(message(b"\xff").size(), 5 + 8 + 6 + 6);
    }
}
