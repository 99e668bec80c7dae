//! One message of the quarantine: what is known of it, and its body, which lies in it, or in the bucket.

use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring_partner::webhook::Webhook;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::edge::batch::BASE64;
pub(super) use shared::edge::batch::{ENCODING, QUEUED_AT};
pub(super) use shared::edge::quarantine::OBJECT;
use shared::edge::quarantine::REASON;

use crate::failure::{Doing as _, Failure, chain};
use crate::queue::Held;

/// The largest body that is read. A gateway takes none of more than 10 MB.
const LARGEST_BODY: i64 = 16 * 1024 * 1024;

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) reason: String,
    /// When it was set aside.
    pub(super) since: Option<Timestamp>,
    /// The size of the body.
    pub(super) bytes: Option<u64>,
    /// Where it lies in the bucket, where it is too large for a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<String>,
    /// The message of the queue of events that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_id: Option<String>,
    /// What this version of the programs would make of it.
    pub(super) reads_as: Reading,
}

/// What a body reads as.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reading {
    /// An event.
    Event {
        #[serde(rename = "type")]
        kind: String,
        account_id: Option<String>,
        device_id: Option<String>,
    },
    /// Nothing: reading it fails.
    Nothing { why: String },
    /// It was not read.
    Unread,
}

impl Reading {
    fn of(body: &[u8]) -> Self {
        match Webhook::parse(body) {
            Ok(webhook) => Self::Event {
                kind: webhook.kind.as_str().to_owned(),
                account_id: webhook.account_id.map(|id| id.to_string()),
                device_id: webhook.device_id.map(|id| id.to_string()),
            },
            Err(error) => Self::Nothing { why: chain(&error) },
        }
    }
}

impl Entry {
    /// What the message itself tells.
    pub(super) fn of(held: &Held) -> Self {
        match held.attribute(OBJECT) {
            Some(_) => Self::with(held, None),
            None => Self::with(held, within(held).as_deref()),
        }
    }

    /// The same, with the body at hand.
    pub(super) fn with(held: &Held, body: Option<&[u8]>) -> Self {
        #[derive(Deserialize)]
        struct Pointer {
            bytes: u64,
        }
        let object = held.attribute(OBJECT).map(str::to_owned);
        let pointed = object
            .as_ref()
            .and_then(|_| serde_json::from_str::<Pointer>(&held.body).ok());
        Self {
            id: held.id.clone(),
            reason: reason(held).to_owned(),
            since: held.sent_at,
            bytes: body
                .map(|body| body.len() as u64)
                .or(pointed.map(|pointed| pointed.bytes)),
            message_id: held.attribute("message_id").map(str::to_owned),
            reads_as: match body {
                Some(body) => Reading::of(body),
                None if object.is_some() => Reading::Unread,
                None => Reading::Nothing {
                    why: "the message can't be decoded".to_owned(),
                },
            },
            object,
        }
    }
}

/// Why it is here.
pub(super) fn reason(held: &Held) -> &str {
    held.attribute(REASON).unwrap_or("unknown")
}

/// The body, where the message has it.
fn within(held: &Held) -> Option<Vec<u8>> {
    match held.attribute(ENCODING) {
        Some(BASE64) => STANDARD.decode(held.body.trim()).ok(),
        Some(_) => None,
        None => Some(held.body.clone().into_bytes()),
    }
}

/// SHA-256, in hex.
pub(super) fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The body is not where the message says that it is.
pub(super) fn gone(held: &Held) -> Failure {
    let failure = Failure::new(format!("The body of {} is not to be had", held.id));
    match held.attribute(OBJECT) {
        Some(object) => failure
            .because(format!("the bucket has no {object} any more"))
            .advise("`ops quarantine drop` removes what points to it"),
        None => failure
            .because("the message can't be decoded")
            .advise("`ops quarantine drop` removes it, once you know where it came from"),
    }
}

/// The bodies of the quarantine.
pub(super) struct Bodies {
    client: Client,
    bucket: String,
}

impl Bodies {
    pub(super) fn new(aws: &SdkConfig, bucket: &str) -> Self {
        // Paths rather than host names: a bucket with a dot in its name, and an emulator, work the same.
        let config = aws_sdk_s3::config::Builder::from(aws).force_path_style(true).build();
        Self {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
        }
    }

    /// The body of a message. `None`: there is none any more, or the message can't be decoded.
    pub(super) async fn of(&self, held: &Held) -> Result<Option<Vec<u8>>, Failure> {
        let Some(object) = held.attribute(OBJECT) else {
            return Ok(within(held));
        };
        let what = || format!("The object {object} can't be read");
        let asked = self.client.get_object().bucket(&self.bucket).key(object).send().await;
        let found = match asked {
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            asked => asked.or_fail(what)?,
        };
        if found.content_length().is_none_or(|bytes| bytes > LARGEST_BODY) {
            return Err(Failure::new(what()).because(format!("it has more than {LARGEST_BODY} bytes")));
        }
        let body = found.body.collect().await.or_fail(what)?;
        Ok(Some(body.to_vec()))
    }

    /// Deletes what lies in the bucket; nothing there is deleted already.
    pub(super) async fn delete(&self, held: &Held) -> Result<(), Failure> {
        let Some(object) = held.attribute(OBJECT) else {
            return Ok(());
        };
        let deleted = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(object)
            .send()
            .await;
        deleted.or_fail(|| format!("The object {object} can't be deleted"))?;
        Ok(())
    }
}

/// A body so that nothing in it acts on a terminal, and nothing of it is left out.
pub(super) fn for_a_terminal(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                // Would turn the direction of what follows, or not be seen at all.
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                    text.extend(letter.escape_unicode());
                }
                '\0'..='\u{7f}' if letter.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(letter))),
                _ if letter.is_control() => text.extend(letter.escape_unicode()),
                _ => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event {
                kind,
                account_id,
                device_id,
            } => {
                let known = |id: &Option<String>| id.clone().unwrap_or_else(|| "none that is named".to_owned());
                let kind = for_a_terminal(kind.as_bytes());
                write!(f, "{kind}, account {}, device {}", known(account_id), known(device_id))
            }
            Self::Nothing { why } => write!(f, "nothing: {why}"),
            Self::Unread => write!(f, "unknown until it is shown"),
        }
    }
}

/// A line for each.
pub(super) fn table(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    write!(
        f,
        "{:<36}  {:<20}  {:>8}  {:<14}  READS AS",
        "ID", "SINCE", "BYTES", "REASON"
    )?;
    for entry in entries {
        let since = entry
            .since
            .map_or_else(String::new, |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let bytes = entry.bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
        let reads_as = match &entry.reads_as {
            Reading::Event { kind, .. } => for_a_terminal(kind.as_bytes()),
            other => other.to_string(),
        };
        write!(
            f,
            "\n{:<36}  {since:<20}  {bytes:>8}  {:<14}  {reads_as}",
            entry.id, entry.reason
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_body_acts_on_a_terminal_and_nothing_is_left_out() {
        #[track_caller]
        fn check(body: &[u8], shown: &str) {
            assert_eq!(for_a_terminal(body), shown);
        }
        check("{\"name\":\"Tür\"}\n".as_bytes(), "{\"name\":\"Tür\"}\n");
        check(b"\x1b[2J\x07\x7f\r", "\\x1b[2J\\x07\\x7f\\x0d");
        check(b"a\xff\xfeb", "a\\xff\\xfeb");
        check("\u{202e}evil\u{feff}".as_bytes(), "\\u{202e}evil\\u{feff}");
        check("\u{9b}31m".as_bytes(), "\\u{9b}31m");
    }

    #[test]
    fn what_does_not_read_says_where_and_not_what() {
        let said = Reading::of(b"{\"secret-word\" \"another\"}").to_string();
        assert!(said.starts_with("nothing: the body is not JSON"), "{said}");
        assert!(
            said.contains("column") && !said.contains("secret") && !said.contains("another"),
            "{said}"
        );
    }

    #[test]
    fn what_reads_by_now_says_what_it_is() {
        let body = br#"{"meta":{"account_id":"a1"},"data":{"type":"button_press","attributes":{"source":"d1"}}}"#;
        assert_eq!(Reading::of(body).to_string(), "button_press, account a1, device d1");
    }
}
