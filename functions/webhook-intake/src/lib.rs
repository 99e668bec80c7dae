//! `POST /ring/webhook`: verify, queue, 200.
//!
//! | answer | when | what Ring does then |
//! |---|---|---|
//! | 200 `{}` | the body is in the queue | nothing more |
//! | 401 | no key verifies the signature, and the keys are known to be those of now | nothing: the event is gone |
//! | 503 | the keys or the queue are out of reach, or take too long | tries again, six times in 73 minutes |
//!
//! Ring never repeats what was answered with 4xx (Ring: Webhook Response Handling), so 401 is the one 4xx here, and it is
//! said only after the keys were read anew. The body is kept as it came: it is parsed to learn whose it is, for fairness
//! between accounts, and is queued whatever it holds.
//!
//! Each 503 leaves one line with the field `failed_ring`, which says why: `ops outages` finds by it when Ring was failed.

mod config;

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use config::Config;
use http::HeaderMap;
use jiff::Timestamp;
use lambda_http::Request;
use ring_partner::signature::{SignatureError, Verified};
use ring_partner::webhook::Webhook;
use shared::edge::batch::{BASE64, ENCODING};
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::queue::{Message, Queue};
use shared::edge::secret::{Secret, SecretError, SigningKeys};
use shared::edge::{aws, clock, key};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// Ring gives up after 5 s and tries again (Ring: Webhook Endpoint Requirements); we say so ourselves before that.
const ANSWER_WITHIN: Duration = Duration::from_millis(3_500);
/// How long the keys are used without a look at the secret. A new key that is not known yet makes itself known: no key
/// verifies, and the secret is read anew.
const KEYS_KEPT_FOR: Duration = Duration::from_secs(300);

/// The intake.
#[derive(Debug)]
pub struct Intake {
    keys: Secret<SigningKeys>,
    queue: Queue,
}

impl Intake {
    /// An intake with these settings.
    #[must_use]
    pub fn new(aws: &aws::SdkConfig, config: &Config) -> Self {
        Self {
            keys: Secret::new(aws, &config.signing_secret_id, KEYS_KEPT_FOR),
            queue: Queue::new(aws, &config.events_queue_url),
        }
    }

    /// Reads the keys and opens the connection to the queue ahead of the first webhook.
    pub async fn warm(&self) {
        let (keys, ()) = tokio::join!(self.keys.get(clock::now()), self.queue.warm());
        if let Err(error) = keys {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the signing keys are not at hand yet"
            );
        }
    }

    /// Answers one webhook.
    pub async fn answer(&self, request: Request) -> Result<Response, Infallible> {
        let taken = tokio::time::timeout(
            ANSWER_WITHIN,
            self.take(request.headers(), request.body(), clock::now()),
        );
        Ok(match taken.await {
            Ok(Ok(())) => axum::Json(serde_json::json!({})).into_response(),
            Ok(Err(problem)) => problem.into_response(),
            Err(_) => {
                tracing::error!(
                    failed_ring = "too_slow",
                    "a webhook could not be queued in time; Ring will send it again"
                );
                Problem::new(ProblemType::Unavailable).into_response()
            }
        })
    }

    async fn take(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Problem> {
        let verified = self.verify(headers, body, now).await?;
        self.queue.send(message(verified.body())).await.map_err(|error| {
            tracing::error!(
                failed_ring = "queue_out_of_reach",
                error = &error as &dyn std::error::Error,
                "a webhook is not queued; Ring will send it again"
            );
            Problem::new(ProblemType::Unavailable)
        })
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
    let account = Webhook::parse(body).ok().and_then(|webhook| webhook.account_id);
    let group = account.map_or_else(
        || "unknown".to_owned(),
        |account| key::derived("acc", &[account.as_str()]),
    );
    Message::new(text).attribute(ENCODING, encoding).group(group)
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
    fn two_accounts_are_two_groups_and_one_account_is_one() {
        let group = |account: &str, id: &str| {
            let body =
                format!(r#"{{"meta":{{"account_id":"{account}"}},"data":{{"id":"{id}","type":"button_press"}}}}"#);
            format!("{:?}", message(body.as_bytes()))
                .split("group: ")
                .nth(1)
                .unwrap()
                .split(',')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(group("one", "1"), group("one", "2"));
        assert_ne!(group("one", "1"), group("two", "1"));
        assert!(
            !group("one", "1").contains("one"),
            "the account is not readable from it"
        );
    }
}
