//! The history of a device: a row for each event that is done, with what was done about it and when; and what repeats of an
//! event had of their own. No I/O.

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use ring_partner::webhook::EventKind;
use serde::{Deserialize, Serialize};

use super::{EventId, account_key, device_key, position};
use crate::edge::key;

/// An event that is done, as its device's history has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Its id.
    pub event_id: EventId,
    /// The Ring account.
    pub account_id: AccountId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// What moved.
    pub subtype: Option<String>,
    /// Where; nowhere for what is about the account.
    pub device_id: Option<DeviceId>,
    /// When.
    pub occurred_at: Timestamp,
    /// When Ring sent it.
    pub sent_at: Option<Timestamp>,
    /// When the intake queued it.
    pub received_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The media that it asked for.
    #[serde(default)]
    pub media: Vec<String>,
    /// What was done, in that order.
    pub ledger: Vec<Step>,
    /// When it may be forgotten, in epoch seconds.
    pub expires_at: i64,
}

/// What was done about an event, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The effect's word.
    pub effect: String,
    /// When it had come.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// What there is to say about it: that something newer was known, that a device is out of reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Where a history row lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of which device, or of which account.
    pub partition: String,
    /// When, and which event.
    pub position: String,
}

/// A repeat that is not the same to the letter. It is kept beside the event; it starts nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Ring's id of the request that it came by.
    pub request_id: Option<String>,
    /// What it said, as a hash.
    pub content: String,
    /// The body, where it says something else than the event that stands, and is not too large to be kept.
    pub body: Option<String>,
    /// When the intake queued it.
    pub received_at: Timestamp,
    /// When it may be forgotten, in epoch seconds.
    pub expires_at: i64,
}

impl Place {
    /// The place of an event of this device, or of this account where it is about none.
    #[must_use]
    pub fn of(account: &AccountId, device: Option<&DeviceId>, at: Timestamp, id: &EventId) -> Self {
        Self {
            partition: device.map_or_else(|| account_key(account), |device| device_key(account, device)),
            position: position(at, id.as_str()),
        }
    }
}

impl Past {
    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::of(
            &self.account_id,
            self.device_id.as_ref(),
            self.occurred_at,
            &self.event_id,
        )
    }
}

impl Repeat {
    /// What tells it from other repeats of the same event.
    #[must_use]
    pub fn name(&self) -> String {
        key::derived("seen", &[self.request_id.as_deref().unwrap_or(""), &self.content])
    }
}
