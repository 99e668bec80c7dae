//! A user's account with us as a whole: what it has, how it is given away in one archive, and how it is erased. Both are begun
//! in a request, and done by whoever takes the message from the queue of media, a part at a time and as often as it takes.
//! This file does no I/O. [`store`] keeps receipts and archives' rows, [`erase`] and [`export`] do it, [`archive`] is the form
//! of an archive in the bucket.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::edge::queue::Message;
use crate::event;
use crate::media::store::Owed;

pub mod archive;
pub mod erase;
pub mod export;
pub mod store;

/// An archive that is younger than this is given again, instead of a new one.
pub const ARCHIVE_SERVES_FOR: Duration = Duration::from_secs(3600);
/// One that is not ready after this is begun anew.
pub const ARCHIVE_MADE_WITHIN: Duration = Duration::from_secs(2 * 3600);
/// Erasing waits for so long at first, so that what was begun about the account has ended.
const ERASE_AFTER: Duration = Duration::from_secs(2);

/// A Ring account whose things are a user's, with the devices that it ever had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Which account.
    pub account_id: AccountId,
    /// Its devices.
    pub device_ids: Vec<DeviceId>,
}

/// A part of what is to be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The receipt that it is done under.
    pub receipt: String,
    /// When it was asked for: what came later, by a new link, stays.
    pub requested_at: Timestamp,
    /// Which part.
    pub part: Part,
}

/// What can be erased at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Events and media of a Ring account.
    Account(Holding),
    /// An archive that was made of everything, by its object's key.
    Archive(String),
}

impl Part {
    /// Its name under its receipt, which tells nothing of it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Account(holding) => event::account_key(&holding.account_id),
            Self::Archive(key) => crate::edge::key::derived("arc", &[key]),
        }
    }
}

impl Erasure {
    /// The message that has it done.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::new(self.job()).delay(ERASE_AFTER)
    }

    /// That it is owed: a message may be given up, and what it was to do is to be done all the same.
    #[must_use]
    pub fn owed(&self) -> Owed {
        Owed {
            name: format!("{}#{}", self.receipt, self.part.name()),
            promised_at: self.requested_at,
            message: self.job(),
        }
    }

    fn job(&self) -> String {
        serde_json::json!({ "erase": self }).to_string()
    }
}

/// What is left of somebody who is gone: that they were erased, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id, drawn and made of nothing.
    pub id: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When the last of it was gone.
    pub erased_at: Option<Timestamp>,
}

/// A user's archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Its id.
    pub id: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// What there is of it; `None`: it is being made.
    pub ready: Option<Ready>,
}

/// An archive that is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Since when.
    pub at: Timestamp,
    /// How many bytes it has.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

/// What an archive is to be made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Whose it is.
    pub user_id: String,
    /// Which archive.
    pub export_id: String,
    /// What is in it.
    pub holdings: Vec<Holding>,
}

impl Export {
    /// A new one.
    #[must_use]
    pub fn new(id: String, now: Timestamp) -> Self {
        Self {
            id,
            requested_at: now,
            ready: None,
        }
    }

    /// Where its object lies.
    #[must_use]
    pub fn object_key(&self) -> String {
        object_key(&self.id)
    }

    /// Whether it serves who asks at `now`: it is fresh, or will be there soon.
    #[must_use]
    pub fn serves(&self, now: Timestamp) -> bool {
        let (since, within) = match &self.ready {
            Some(ready) => (ready.at, ARCHIVE_SERVES_FOR),
            None => (self.requested_at, ARCHIVE_MADE_WITHIN),
        };
        now.duration_since(since) < crate::edge::clock::signed(within)
    }
}

/// Where the object of an archive lies.
#[must_use]
pub fn object_key(export_id: &str) -> String {
    format!("exports/{export_id}.tar")
}

impl Collection {
    /// The message that has it made.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::new(serde_json::json!({ "export": self }).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_serves_for_an_hour_and_one_that_is_not_ready_is_waited_for() {
        let asked = Timestamp::from_second(1_770_000_000).unwrap();
        let after = |hours: i64| asked + jiff::SignedDuration::from_hours(hours);
        let making = Export::new("exp_1".to_owned(), asked);
        assert!(making.serves(after(1)) && !making.serves(after(2)));
        let ready = Export {
            ready: Some(Ready {
                at: after(1),
                bytes: 1,
                sha256: String::new(),
            }),
            ..making
        };
        assert!(ready.serves(after(1)) && !ready.serves(after(2)));
    }

    #[test]
    fn a_parts_name_tells_nothing_of_it() {
        let part = Part::Account(Holding {
            account_id: AccountId::new("ava1.ring.account.X").unwrap(),
            device_ids: Vec::new(),
        });
        assert!(!part.name().contains("ava1"));
        assert!(!Part::Archive("exports/exp_1.tar".to_owned()).name().contains("exp_1"));
    }
}
