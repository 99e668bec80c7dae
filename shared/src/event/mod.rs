//! An event: what Ring told us once, whatever it sent. Its record is the marker against repeats: it is written under a
//! condition, with what is still to be done in it, and whoever finds it so goes on. This file does no I/O; [`store`]
//! keeps records.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use ring_partner::webhook::{EventKind, Webhook};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::edge::bus::Announcement;
use crate::edge::clock::signed;
use crate::edge::key;
use crate::edge::queue::Message;

pub mod store;

/// How long a record is kept, and so how long a repeat is known as one: Ring's retries (73 min), its dead-letter queue
/// (72 h), our own queues (14 days), with margin. Ring: Webhook Response Handling, Retry Logic.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The attribute of a message in the queue that asks for a record to be looked at again.
pub const RESUME: &str = "resume";

/// An event's id: the same for every delivery of it, and for no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// The id of what this webhook tells. Account, device and `data.id` say which event it is: `data.id` stays the same
    /// over Ring's retries and replays. Without one the request's id serves, and without that the body itself.
    #[must_use]
    pub fn of(webhook: &Webhook, body: &[u8]) -> Self {
        let account = webhook.account_id.as_ref().map_or("", AccountId::as_str);
        let device = webhook.device_id.as_ref().map_or("", DeviceId::as_str);
        let (by, id) = match (&webhook.id, &webhook.request_id) {
            (Some(id), _) => ("id", id.clone()),
            (None, Some(request_id)) => ("request", request_id.to_string()),
            (None, None) => ("body", hex::encode(Sha256::digest(body))),
        };
        Self(key::derived("evt", &[account, device, by, &id]))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EventId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// A message that asks for a parked event to be looked at again.
#[must_use]
pub fn resume_message(id: &EventId) -> Message {
    Message::new(id.as_str()).attribute(RESUME, id.as_str())
}

/// What is kept of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub event_id: EventId,
    /// The Ring account; none in a body of the old form whose device nobody knows.
    pub account_id: Option<AccountId>,
    /// The device.
    pub device_id: Option<DeviceId>,
    /// What happened, in Ring's word.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// What moved, in Ring's word.
    pub subtype: Option<String>,
    /// When it happened, by Ring; when Ring does not tell, when it was sent, or came.
    pub occurred_at: Timestamp,
    /// When Ring sent it (`meta.time`).
    pub sent_at: Option<Timestamp>,
    /// When we took it.
    pub received_at: Timestamp,
    /// The media that it asked for.
    pub media: Vec<String>,
    /// What is still to be done.
    pub progress: Progress,
}

/// How far an event has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// Its account is not linked here: it waits for that.
    Parked,
    /// These effects are still to come, in this order.
    Pending {
        /// What is left.
        effects: Vec<Effect>,
    },
    /// It took effect.
    Done,
}

/// One effect of an event. Each may happen twice without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The device's state is told by the event: there or gone, online or offline, a doorbell.
    DeviceState,
    /// The device is asked for at Ring, with all four parts, and kept.
    FetchDevice,
    /// The event is published on the bus.
    Announce,
}

impl Record {
    /// The record of a webhook that was received at `received_at`.
    #[must_use]
    pub fn of(webhook: &Webhook, body: &[u8], received_at: Timestamp) -> Self {
        Self {
            event_id: EventId::of(webhook, body),
            account_id: webhook.account_id.clone(),
            device_id: webhook.device_id.clone(),
            kind: webhook.kind.clone(),
            subtype: webhook.sub_type.as_ref().map(ToString::to_string),
            occurred_at: webhook.occurred_at.or(webhook.sent_at).unwrap_or(received_at),
            sent_at: webhook.sent_at,
            received_at,
            media: Vec::new(),
            progress: Progress::Parked,
        }
    }

    /// What is to be done about it once its account is linked.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        match (&self.kind, &self.device_id) {
            (EventKind::DeviceAdded, Some(_)) => vec![Effect::DeviceState, Effect::FetchDevice, Effect::Announce],
            (
                EventKind::DeviceRemoved | EventKind::DeviceOnline | EventKind::DeviceOffline | EventKind::ButtonPress,
                Some(_),
            ) => vec![Effect::DeviceState, Effect::Announce],
            _ => vec![Effect::Announce],
        }
    }

    /// Whether it is older than a repeat of it would be known: it can't be told apart from one any more.
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        self.received_at
            .duration_since(self.sent_at.unwrap_or(self.occurred_at))
            > signed(KEPT_FOR)
    }

    /// Its place in a device's history. Positions sort as the events happened.
    #[must_use]
    pub fn position(&self) -> String {
        position(self.occurred_at, self.event_id.as_str())
    }

    /// What the bus is told.
    #[must_use]
    pub fn announcement(&self, account_id: &AccountId, user_id: &str, device_name: Option<String>) -> Announcement {
        let mut more = serde_json::Map::new();
        more.insert("type".into(), self.kind.as_str().into());
        if let Some(subtype) = &self.subtype {
            more.insert("subtype".into(), subtype.as_str().into());
        }
        more.insert("received_at".into(), self.received_at.to_string().into());
        Announcement {
            kind: self.kind.as_str().to_owned(),
            schema: "ring_event/1".to_owned(),
            event_id: self.event_id.as_str().to_owned(),
            account_id: account_id.to_string(),
            user_id: Some(user_id.to_owned()),
            device_id: self.device_id.as_ref().map(ToString::to_string),
            device_name,
            cause_event_id: None,
            occurred_at: self.occurred_at,
            more,
        }
    }
}

/// A sortable position: the time in milliseconds, then the id to tell events of one millisecond apart.
#[must_use]
pub fn position(at: Timestamp, id: &str) -> String {
    format!("{:015}#{id}", at.as_millisecond().max(0))
}

/// The place of one device's things in an index.
#[must_use]
pub fn device_key(account: &AccountId, device: &DeviceId) -> String {
    key::derived("dev", &[account.as_str(), device.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOTION: &str = r#"{
        "meta": {"version": "1.1", "time": "2026-02-13T13:39:57.200155525Z",
                 "request_id": "2ad45ade-1818-4154-813b-afdd8bcd8085", "account_id": "ava1.ring.account.XXXYYY"},
        "data": {"id": "d1_human_1770989995231", "type": "motion_detected", "subType": "human",
                 "attributes": {"source": "d1", "source_type": "devices", "timestamp": 1770989995231}}}"#;

    fn received_at() -> Timestamp {
        "2026-02-13T13:39:58Z".parse().unwrap()
    }

    fn record(body: &str) -> Record {
        Record::of(
            &Webhook::parse(body.as_bytes()).unwrap(),
            body.as_bytes(),
            received_at(),
        )
    }

    #[test]
    fn trap_51_a_replay_under_another_request_id_is_the_same_event() {
        let replay = MOTION.replace("2ad45ade", "ffffffff");
        assert_eq!(record(MOTION).event_id, record(&replay).event_id);
    }

    #[test]
    fn trap_51_another_account_device_or_id_is_another_event() {
        for (from, to) in [
            ("XXXYYY", "ZZZ"),
            ("\"source\": \"d1\"", "\"source\": \"d2\""),
            ("d1_human", "d1_motion"),
        ] {
            assert_ne!(
                record(MOTION).event_id,
                record(&MOTION.replace(from, to)).event_id,
                "{from}"
            );
        }
    }

    #[test]
    fn without_an_id_the_request_tells_the_event_and_without_that_the_body() {
        let without_id = MOTION.replace("\"id\": \"d1_human_1770989995231\",", "");
        assert_eq!(record(&without_id).event_id, record(&format!("{without_id} ")).event_id);
        let without_both = without_id.replace("\"request_id\": \"2ad45ade-1818-4154-813b-afdd8bcd8085\",", "");
        assert_eq!(record(&without_both).event_id, record(&without_both).event_id);
        assert_ne!(
            record(&without_both).event_id,
            record(&format!("{without_both} ")).event_id
        );
    }

    #[test]
    fn trap_47_and_48_a_late_retry_or_replay_is_taken_and_only_what_is_past_telling_apart_is_not() {
        let mut record = record(MOTION);
        assert!(!record.is_too_old());
        record.received_at = "2026-02-16T13:39:57Z".parse().unwrap();
        assert!(!record.is_too_old(), "72 hours in Ring's dead-letter queue");
        record.received_at = "2026-03-16T13:39:58Z".parse().unwrap();
        assert!(record.is_too_old());
    }

    #[test]
    fn trap_44_an_unknown_type_is_published_as_it_came() {
        let record = record(&MOTION.replace("motion_detected", "package_delivered"));
        assert_eq!(record.effects(), [Effect::Announce]);
        let told = record.announcement(&AccountId::new("a").unwrap(), "usr_1", None);
        assert_eq!(told.kind, "package_delivered");
    }

    #[test]
    fn positions_sort_by_time() {
        let early = position(Timestamp::from_millisecond(999).unwrap(), "z");
        let late = position(Timestamp::from_millisecond(1_770_989_995_231).unwrap(), "a");
        assert!(early < late);
    }
}
