//! A queue, as an operator handles it: looked through without losing anything, and emptied into another one message at a
//! time, in the order that loses nothing: sent there, and only then deleted here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName as System,
    MessageSystemAttributeNameForSends as SystemSent, MessageSystemAttributeValue, QueueAttributeName as Counted,
};
use jiff::Timestamp;

use crate::failure::{Doing as _, Failure};
use crate::say::Progress;

/// How long a message is hidden from others while it is looked at or moved. Should the tool be ended meanwhile, it comes back
/// after this.
pub(crate) const HIDDEN_FOR: Duration = Duration::from_secs(120);
/// The most messages of one call. SQS: ReceiveMessage.
const A_CALL: i32 = 10;
/// An empty answer may be chance, as SQS asks only some of its servers: so many in a row, each after a wait, are none.
const EMPTY_ANSWERS: u32 = 2;

/// One queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    client: Client,
    url: String,
    name: &'static str,
}

/// A message that was received, and is hidden from others for now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Its id: the same each time it is received.
    pub(crate) id: String,
    receipt: String,
    /// Its body.
    pub(crate) body: String,
    attributes: BTreeMap<String, MessageAttributeValue>,
    /// Whose it is, for fairness.
    pub(crate) group: Option<String>,
    /// When it was sent to the queue that it was first in.
    pub(crate) sent_at: Option<Timestamp>,
    trace: Option<String>,
}

/// What is to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    body: String,
    attributes: BTreeMap<String, MessageAttributeValue>,
    group: Option<String>,
    trace: Option<String>,
}

/// How many messages a queue has, as SQS estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Depth {
    /// Waiting.
    pub(crate) waiting: u64,
    /// With somebody at this moment.
    pub(crate) in_flight: u64,
    /// Put off until later.
    pub(crate) put_off: u64,
}

impl Outgoing {
    /// A message with this body.
    pub(crate) fn new(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Whose it is.
    #[must_use]
    pub(crate) fn group(mut self, group: Option<String>) -> Self {
        self.group = group;
        self
    }

    /// An attribute beside the body, where there is a value and no such attribute yet.
    #[must_use]
    pub(crate) fn attribute(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value.filter(|value| !value.is_empty() && !self.attributes.contains_key(name)) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            let value = value.build().expect("the type is set one line above");
            self.attributes.insert(name.to_owned(), value);
        }
        self
    }
}

impl Held {
    /// The value of an attribute that is a text.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.string_value()
    }

    /// The same message, as it is, for another queue.
    pub(crate) fn as_it_is(&self) -> Outgoing {
        Outgoing {
            body: self.body.clone(),
            attributes: self.attributes.clone(),
            group: self.group.clone(),
            trace: self.trace.clone(),
        }
    }

    fn of(message: Message) -> Option<Self> {
        let system = message.attributes.unwrap_or_default();
        let sent_at = system.get(&System::SentTimestamp).and_then(|sent| sent.parse().ok());
        Some(Self {
            id: message.message_id?,
            receipt: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default().into_iter().collect(),
            group: system.get(&System::MessageGroupId).cloned(),
            sent_at: sent_at.and_then(|sent| Timestamp::from_millisecond(sent).ok()),
            trace: system.get(&System::AwsTraceHeader).cloned(),
        })
    }
}

impl Queue {
    /// The queue at this URL, by the name that people know it by.
    pub(crate) fn new(aws: &SdkConfig, url: &str, name: &'static str) -> Self {
        Self {
            client: Client::new(aws),
            url: url.to_owned(),
            name,
        }
    }

    /// How many messages there are, about.
    pub(crate) async fn depth(&self) -> Result<Depth, Failure> {
        let names = [
            Counted::ApproximateNumberOfMessages,
            Counted::ApproximateNumberOfMessagesNotVisible,
            Counted::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await;
        let counted = asked.or_fail(|| format!("The queue {} can't be looked at", self.name))?;
        let counted = counted.attributes.unwrap_or_default();
        let [waiting, in_flight, put_off] = names.map(|name| {
            counted
                .get(&name)
                .and_then(|count| count.parse().ok())
                .unwrap_or_default()
        });
        Ok(Depth {
            waiting,
            in_flight,
            put_off,
        })
    }

    /// Up to ten messages, hidden from others. Nothing only if SQS says so more than once.
    pub(crate) async fn take(&self, most: u64) -> Result<Vec<Held>, Failure> {
        let most = i32::try_from(most).unwrap_or(A_CALL).min(A_CALL);
        if most == 0 {
            return Ok(Vec::new());
        }
        for _ in 0..EMPTY_ANSWERS {
            let asked = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(most)
                .visibility_timeout(i32::try_from(HIDDEN_FOR.as_secs()).unwrap_or(120))
                .wait_time_seconds(1)
                .message_attribute_names("All")
                .message_system_attribute_names(System::All)
                .send()
                .await;
            let answer = asked.or_fail(|| format!("The queue {} can't be read", self.name))?;
            let held: Vec<_> = answer
                .messages
                .unwrap_or_default()
                .into_iter()
                .filter_map(Held::of)
                .collect();
            if !held.is_empty() {
                return Ok(held);
            }
        }
        Ok(Vec::new())
    }

    /// Messages are seen by others again at once. Where this fails they are after a while: said, and no reason to stop.
    pub(crate) async fn give_back(&self, held: &[Held]) -> Result<(), Failure> {
        for some in held.chunks(10) {
            let entries = some.iter().enumerate().map(|(index, message)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&message.receipt)
                    .visibility_timeout(0);
                entry.build().expect("id and receipt are set above")
            });
            let given = self
                .client
                .change_message_visibility_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.collect()))
                .send()
                .await;
            given.or_fail(|| {
                let seconds = HIDDEN_FOR.as_secs();
                format!("Messages of the queue {} stay hidden for {seconds} s", self.name)
            })?;
        }
        Ok(())
    }

    /// Sends one message; when this returns `Ok`, SQS holds it.
    pub(crate) async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        let mut send = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body)
            .set_message_attributes(Some(message.attributes.into_iter().collect()))
            .set_message_group_id(message.group);
        if let Some(trace) = message.trace {
            let trace = MessageSystemAttributeValue::builder()
                .data_type("String")
                .string_value(trace);
            let trace = trace.build().expect("the type is set one line above");
            send = send.message_system_attributes(SystemSent::AwsTraceHeader, trace);
        }
        let sent = send.send().await;
        sent.or_fail(|| format!("The queue {} did not take a message", self.name))?;
        Ok(())
    }

    /// Deletes a message that is held.
    pub(crate) async fn delete(&self, held: &Held) -> Result<(), Failure> {
        let delete = self
            .client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(&held.receipt);
        let deleted = delete.send().await;
        deleted.or_fail(|| format!("The queue {} did not delete the message {}", self.name, held.id))?;
        Ok(())
    }

    /// Hands each message to `handle`, at most `most` of them, until it has had enough. What it passes, and all if it fails, is
    /// given back. Returns how many there were, and whether there may be more.
    pub(crate) async fn each(
        &self,
        most: u64,
        progress: &mut Progress,
        mut handle: impl AsyncFnMut(&Held) -> Result<Look, Failure>,
    ) -> Result<Seen, Failure> {
        let about = self.depth().await?.waiting;
        let mut seen = BTreeSet::new();
        let mut passed = Vec::new();
        let mut enough = false;
        let mut failed = None;
        while !enough && failed.is_none() && (seen.len() as u64) < most {
            let some = match self.take(most - seen.len() as u64).await {
                Ok(some) => some,
                Err(failure) => {
                    failed = Some(failure);
                    break;
                }
            };
            let before = seen.len();
            for message in some {
                // Taken with others, after the last that was wanted; or come round again, as looking took so long.
                if enough || failed.is_some() || !seen.insert(message.id.clone()) {
                    passed.push(message);
                    continue;
                }
                match handle(&message).await {
                    Ok(Look::Took) => {}
                    Ok(Look::Pass) => passed.push(message),
                    Ok(Look::Enough) => {
                        enough = true;
                        passed.push(message);
                    }
                    Ok(Look::TookLast) => enough = true,
                    Err(failure) => {
                        failed = Some(failure);
                        passed.push(message);
                    }
                }
                progress.at(seen.len() as u64, Some(about));
            }
            if seen.len() == before {
                break;
            }
        }
        let back = self.give_back(&passed).await;
        if let Some(failure) = failed {
            return Err(failure);
        }
        back?;
        let all = seen.len() as u64;
        Ok(Seen {
            all,
            more: !enough && all == most,
        })
    }
}

/// What became of a message that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It stays.
    Pass,
    /// It stays, and no more are wanted.
    Enough,
    /// It was deleted.
    Took,
    /// It was deleted, and no more are wanted.
    TookLast,
}

/// What there was in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many messages were handed out.
    pub(crate) all: u64,
    /// Whether there may be more than that.
    pub(crate) more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_another_queue_has_all_that_it_had() {
        let attribute = |value: &str| {
            MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .unwrap()
        };
        let message = Message::builder()
            .message_id("m-1")
            .receipt_handle("r-1")
            .body("body")
            .message_attributes("encoding", attribute("base64"))
            .attributes(System::SentTimestamp, "1770989998000")
            .attributes(System::MessageGroupId, "acc_1")
            .attributes(System::AwsTraceHeader, "Root=1-2-3")
            .build();
        let held = Held::of(message).unwrap();
        assert_eq!(held.sent_at.unwrap().as_millisecond(), 1_770_989_998_000);
        assert_eq!(held.attribute("encoding"), Some("base64"));
        let sent = held
            .as_it_is()
            .attribute("received_at", Some("1"))
            .attribute("encoding", Some("other"));
        assert_eq!(
            (sent.body.as_str(), sent.group.as_deref(), sent.trace.as_deref()),
            ("body", Some("acc_1"), Some("Root=1-2-3"))
        );
        assert_eq!(
            sent.attributes["encoding"].string_value(),
            Some("base64"),
            "what it had stays"
        );
        assert_eq!(sent.attributes["received_at"].string_value(), Some("1"));
    }

    #[test]
    fn an_empty_attribute_is_left_out_as_sqs_refuses_it() {
        let sent = Outgoing::new("body")
            .attribute("encoding", Some(""))
            .attribute("reason", None);
        assert!(sent.attributes.is_empty());
    }
}
