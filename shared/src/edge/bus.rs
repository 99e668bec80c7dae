//! The bus on which we publish (EventBridge): at least once, each event with an id that is the same for every try.

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use serde::Serialize;

use super::aws::Cause;
use super::trace;

/// The source of everything we publish.
pub const SOURCE: &str = "ring.partner";

/// The bus did not take it. Try again later.
#[derive(Debug, thiserror::Error)]
#[error("the event bus is out of reach")]
pub struct BusError(#[source] pub Cause);

/// An event as it is published; its JSON Schema lies under `events/schemas/`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Announcement {
    /// Detail-type: Ring's type as it came, or one of ours.
    #[serde(skip)]
    pub kind: String,
    /// Name and version of the schema of what follows.
    pub schema: String,
    /// The same for every publication of the same event; no two events share one.
    pub event_id: String,
    /// The Ring account.
    pub account_id: String,
    /// Who has linked it, as a pseudonym.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The device, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// For media: the event that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause_event_id: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What else there is to say, by kind.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// The bus, and the client to reach it.
#[derive(Clone, Debug)]
pub struct Bus {
    client: Client,
    name: String,
}

impl Bus {
    /// The bus `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: Client::new(config),
            name: name.into(),
        }
    }

    /// Publishes one event; when this returns `Ok`, the bus has it.
    pub async fn announce(&self, announcement: &Announcement) -> Result<(), BusError> {
        let detail = serde_json::to_string(announcement).map_err(|error| BusError(error.into()))?;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(&announcement.kind)
            .detail(detail)
            .set_trace_header(trace::context())
            .build();
        let answer = self
            .client
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| BusError(error.into()))?;
        // The call succeeds although the bus refused the entry.
        match answer.entries().iter().find_map(|entry| entry.error_code()) {
            Some(code) => Err(BusError(format!("the bus refused the event: {code}").into())),
            None => Ok(()),
        }
    }
}
