//! The loop over a batch of queue messages: each is handled for itself and ends in Done, Discard or Retry; nine good ones
//! are not touched by a bad one.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::quarantine::{OBJECT, REASON};
use super::queue::{Message, Queue};
use super::trace;

/// What becomes of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, or had taken effect before.
    Done,
    /// It never will: set it aside, loudly, with the reason.
    Discard(&'static str),
    /// It may later: leave it in the queue for a while.
    Retry,
    /// It will not before `Duration` has passed.
    RetryAfter(Duration),
}

/// How long a message waits before its next try, by how often it was received. The last wait repeats.
const WAITS_SECONDS: [u64; 6] = [1, 5, 20, 60, 300, 900];

/// The wait after the `received`-th try (from 1).
#[must_use]
pub fn wait(received: u32) -> Duration {
    let index = usize::try_from(received.saturating_sub(1))
        .unwrap_or(usize::MAX)
        .min(WAITS_SECONDS.len() - 1);
    Duration::from_secs(WAITS_SECONDS[index])
}

/// A source of batches: the queue they come from, and where poison is set aside.
#[derive(Clone, Debug)]
pub struct Source {
    /// Puts messages off.
    pub queue: Queue,
    /// Takes what is discarded; without one, poison goes the queue's own way to its dead-letter queue.
    pub quarantine: Option<Queue>,
}

impl Source {
    /// Handles each message of a batch, side by side, and says which ones stay in the queue.
    pub async fn each(&self, batch: SqsEvent, handle: impl AsyncFn(&SqsMessage) -> Outcome) -> SqsBatchResponse {
        let outcomes = join_all(batch.records.iter().map(|message| self.one(message, &handle))).await;
        let failed = batch.records.iter().zip(outcomes).filter(|(_, done)| !done);
        let batch_item_failures = failed
            .map(|(message, _)| {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = message.message_id.clone().unwrap_or_default();
                failure
            })
            .collect();
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = batch_item_failures;
        response
    }

    /// Handles one message; `true` when the queue may forget it.
    async fn one(&self, message: &SqsMessage, handle: &impl AsyncFn(&SqsMessage) -> Outcome) -> bool {
        // A panic is a defect in handling this message, and none in the others of the batch.
        let context = message.attributes.get(trace::ATTRIBUTE).map(String::as_str);
        // In a box: a walk's future is so deep a type that the compiler has no room around it.
        let handled = Box::pin(handle(message));
        let outcome = AssertUnwindSafe(trace::within(context, handled))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!(
                    message.id = message.message_id,
                    "handling a message panicked; it stays in the queue"
                );
                Outcome::Retry
            });
        let after = match outcome {
            Outcome::Done => return true,
            Outcome::Discard(reason) => match self.set_aside(message, reason).await {
                true => return true,
                false => wait(received(message)),
            },
            Outcome::Retry => wait(received(message)),
            Outcome::RetryAfter(after) => after,
        };
        if let Some(receipt) = &message.receipt_handle
            && let Err(error) = self.queue.put_off(receipt, after).await
        {
            // It comes back by the queue's own time-out, only later.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a message could not be put off"
            );
        }
        false
    }

    async fn set_aside(&self, message: &SqsMessage, reason: &'static str) -> bool {
        let Some(quarantine) = &self.quarantine else {
            return false;
        };
        let mut kept = Message::new(message.body.clone().unwrap_or_default())
            .attribute(REASON, reason)
            .attribute("message_id", message.message_id.clone().unwrap_or_default());
        for (name, value) in [ENCODING, OBJECT].map(|name| (name, attribute(message, name))) {
            kept = kept.attribute(name, value.unwrap_or_default());
        }
        if let Some(at) = queued_at(message) {
            kept = kept.attribute(QUEUED_AT, at.as_millisecond().to_string());
        }
        match quarantine.send(kept).await {
            Ok(()) => {
                tracing::error!(message.id = message.message_id, reason, "a message is in quarantine");
                true
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    reason,
                    "quarantine did not take a message"
                );
                false
            }
        }
    }
}

/// What setting a message aside adds to its size at most, in bytes: a body that one queue takes and the quarantine's does
/// not would come back until the dead-letter queue has it.
pub const SET_ASIDE_ADDS: usize = 128;

/// The attribute that says how a body is encoded, and its one value.
pub const ENCODING: &str = "encoding";
/// The body is in standard Base64, since the queue does not take it as it is.
pub const BASE64: &str = "base64";

/// The attribute of a message that was in another queue before: when it was first queued, in epoch milliseconds.
pub const QUEUED_AT: &str = "queued_at";

/// When a message was queued: for the first time, however often it was set aside and put back since.
#[must_use]
pub fn queued_at(message: &SqsMessage) -> Option<Timestamp> {
    let before = attribute(message, QUEUED_AT).and_then(|at| at.parse().ok());
    let here = || message.attributes.get("SentTimestamp")?.parse().ok();
    Timestamp::from_millisecond(before.or_else(here)?).ok()
}

/// A string attribute of a message.
#[must_use]
pub fn attribute<'m>(message: &'m SqsMessage, name: &str) -> Option<&'m str> {
    message.message_attributes.get(name)?.string_value.as_deref()
}

/// How often the queue has handed a message out, this time included.
#[must_use]
pub fn received(message: &SqsMessage) -> u32 {
    message
        .attributes
        .get("ApproximateReceiveCount")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::sqs::SqsMessageAttribute;

    use super::*;

    #[test]
    fn setting_a_message_aside_adds_no_more_than_is_said() {
        let bare = Message::new("x");
        let kept = bare.clone().attribute(REASON, "one-that-is-quite-long");
        let kept = kept.attribute("message_id", uuid::Uuid::nil().to_string());
        let kept = kept.attribute(QUEUED_AT, "1770989998000");
        assert!(kept.size() - bare.size() <= SET_ASIDE_ADDS);
    }

    #[test]
    fn a_message_was_queued_when_it_was_for_the_first_time() {
        let mut message = SqsMessage::default();
        assert_eq!(queued_at(&message), None);
        let sent = ("SentTimestamp".to_owned(), "1770989998000".to_owned());
        message.attributes.extend([sent]);
        assert_eq!(queued_at(&message).unwrap().as_millisecond(), 1_770_989_998_000);
        let mut before = SqsMessageAttribute::default();
        before.string_value = Some("1770900000000".to_owned());
        message.message_attributes.insert(QUEUED_AT.to_owned(), before);
        assert_eq!(queued_at(&message).unwrap().as_millisecond(), 1_770_900_000_000);
    }

    #[test]
    fn waits_grow_and_then_stay() {
        let waits: Vec<_> = (1..=8).map(|received| wait(received).as_secs()).collect();
        assert_eq!(waits, [1, 5, 20, 60, 300, 900, 900, 900]);
        assert_eq!(wait(0), wait(1));
    }
}
