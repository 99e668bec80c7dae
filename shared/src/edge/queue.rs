//! A queue of ours (SQS): sending to it, receiving from it, and putting off a message that was received.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
};
use http::HeaderValue;
use serde::Serialize;

use super::aws::Cause;
use super::trace;

/// The most that a message may weigh, in bytes (SQS: Message quotas, Message size; the default of a queue).
pub const LARGEST: usize = 1_048_576;

/// The longest that SQS waits for messages.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The queue did not take it. Try again later.
#[derive(Debug, thiserror::Error)]
#[error("the queue is out of reach")]
pub struct QueueError(#[source] pub Cause);

/// The type of each of our attributes.
const STRING: &str = "String";

/// One queue, and the client to reach it.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct Message {
    body: String,
    group: Option<String>,
    delay: Duration,
    attributes: Vec<(&'static str, String)>,
    trace: Option<HeaderValue>,
}

impl Message {
    /// A message with this body: at most [`LARGEST`] with its attributes, of the characters that SQS takes.
    pub fn new(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Whose it is, so that one busy sender does not delay the others (fair queues).
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Not before `delay` has passed; SQS knows at most 15 minutes.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay.min(Duration::from_secs(900));
        self
    }

    /// The context of the trace that it belongs to (X-Ray), for whoever sends it without the SDK, which finds it itself.
    #[must_use]
    pub fn traced(mut self, context: Option<&HeaderValue>) -> Self {
        self.trace = context.cloned();
        self
    }

    /// The context of its trace.
    #[must_use]
    pub fn trace(&self) -> Option<&HeaderValue> {
        self.trace.as_ref()
    }

    /// Its body, as it was given.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// One of its attributes.
    #[must_use]
    pub fn attribute_named(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(known, value)| (*known == name).then_some(value.as_str()))
    }

    /// What SQS counts of it, in bytes: the body, and each attribute's name, type and value.
    #[must_use]
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, value)| name.len() + STRING.len() + value.len());
        self.body.len() + attributes.sum::<usize>()
    }

    /// What SQS is asked to put it into the queue at this URL (SQS: SendMessage), in JSON.
    #[must_use]
    pub fn to_json(&self, queue_url: &str) -> Vec<u8> {
        let attributes = self.attributes.iter().map(|(name, value)| {
            let data_type = STRING;
            (
                *name,
                AttributeValue {
                    data_type,
                    string_value: value,
                },
            )
        });
        let request = SendMessage {
            queue_url,
            message_body: &self.body,
            message_group_id: self.group.as_deref(),
            delay_seconds: (!self.delay.is_zero()).then_some(self.delay.as_secs()),
            message_attributes: attributes.collect(),
        };
        serde_json::to_vec(&request).expect("texts and numbers are JSON")
    }

    /// A string attribute beside the body. Empty ones are left out, as SQS refuses them.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.attributes.push((name, value));
        }
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage<'m> {
    queue_url: &'m str,
    message_body: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group_id: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<&'m str, AttributeValue<'m>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeValue<'m> {
    data_type: &'m str,
    string_value: &'m str,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it is put off or deleted by.
    pub receipt: String,
    /// Its body.
    pub body: String,
    /// How often it was handed out, this time included.
    pub times: u32,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(config: &SdkConfig, url: impl Into<String>) -> Self {
        Self {
            client: Client::new(config),
            url: url.into(),
        }
    }

    /// Sends one message; when this returns `Ok`, SQS holds it.
    pub async fn send(&self, message: Message) -> Result<(), QueueError> {
        let mut send = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body)
            .set_message_group_id(message.group);
        if !message.delay.is_zero() {
            send = send.delay_seconds(i32::try_from(message.delay.as_secs()).unwrap_or(900));
        }
        for (name, value) in message.attributes {
            let value = MessageAttributeValue::builder()
                .data_type(STRING)
                .string_value(value)
                .build();
            send = send.message_attributes(name, value.expect("the type is set one line above"));
        }
        // The SDK would send the context of the call, which is that of a whole batch.
        if let Some(context) = trace::context() {
            let context = MessageSystemAttributeValue::builder()
                .data_type(STRING)
                .string_value(context)
                .build();
            send = send.message_system_attributes(
                MessageSystemAttributeNameForSends::AwsTraceHeader,
                context.expect("the type is set two lines above"),
            );
        }
        send.send().await.map_err(|error| QueueError(error.into()))?;
        Ok(())
    }

    /// Up to ten messages, each as receipt and body, hidden from others for `hidden_for`. Nothing only if nothing is
    /// there: a second of waiting makes SQS ask all of its servers.
    pub async fn receive(&self, hidden_for: Duration) -> Result<Vec<(String, String)>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .visibility_timeout(seconds(hidden_for))
            .wait_time_seconds(1)
            .send()
            .await
            .map_err(|error| QueueError(error.into()))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .filter_map(|message| Some((message.receipt_handle?, message.body?)))
            .collect())
    }

    /// Waits for messages, at most `most`, hidden from others for `hidden_for`; for long enough that an empty queue is asked
    /// seldom. For a program that is always there, and takes what it has room for.
    pub async fn next(&self, most: usize, hidden_for: Duration) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(most.clamp(1, 10)).unwrap_or(10))
            .visibility_timeout(seconds(hidden_for))
            .wait_time_seconds(seconds(LONGEST_WAIT))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .customize()
            .config_override(aws_sdk_sqs::config::Config::builder().timeout_config(waiting()))
            .send()
            .await
            .map_err(|error| QueueError(error.into()))?;
        let received = answer.messages.unwrap_or_default().into_iter().filter_map(|message| {
            let attributes = message.attributes.unwrap_or_default();
            let times = attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount);
            Some(Received {
                receipt: message.receipt_handle?,
                body: message.body?,
                times: times.and_then(|times| times.parse().ok()).unwrap_or(1),
            })
        });
        Ok(received.collect())
    }

    /// Deletes the message that `receipt` stands for.
    pub async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        let delete = self
            .client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(receipt);
        delete.send().await.map_err(|error| QueueError(error.into()))?;
        Ok(())
    }

    /// The message that `receipt` stands for is not seen again before `wait` has passed.
    pub async fn put_off(&self, receipt: &str, wait: Duration) -> Result<(), QueueError> {
        let put_off = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt);
        put_off
            .visibility_timeout(seconds(wait))
            .send()
            .await
            .map_err(|error| QueueError(error.into()))?;
        Ok(())
    }
}

/// The time-outs of a call that waits for messages.
fn waiting() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(LONGEST_WAIT + Duration::from_secs(5))
        .operation_timeout(LONGEST_WAIT + Duration::from_secs(10))
        .build()
}

/// A visibility timeout, within the twelve hours that SQS knows.
fn seconds(wait: Duration) -> i32 {
    i32::try_from(wait.as_secs()).unwrap_or(43_200).min(43_200)
}
