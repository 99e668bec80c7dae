//! A device of a linked account: what Ring told of it when it was last asked, and what events have told since. Events
//! come in any order and more than once; the newest, by the time it happened, wins. This file does no I/O; [`store`]
//! keeps devices.

use jiff::Timestamp;
use ring_partner::devices::{Capabilities, Configurations, Device, DeviceId, Location};
use ring_partner::users::AccountId;
use ring_partner::webhook::EventKind;
use serde::{Deserialize, Serialize};

use crate::event::Record;
use crate::policy::Policy;

pub mod store;

/// What tells a device's state beside events.
pub const LISTING: &str = "listing";

/// What is kept of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Whose it is.
    pub account_id: AccountId,
    /// Its id at Ring.
    pub device_id: DeviceId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether we have access to it.
    pub present: Option<Told>,
    /// Whether it is online.
    pub online: Option<Told>,
    /// Whether its button was ever pressed; Ring does not tell otherwise which device is a doorbell.
    #[serde(default)]
    pub doorbell: bool,
    /// What it can do.
    pub capabilities: Option<Capabilities>,
    /// Where it is: country, and sometimes state.
    pub location: Option<Location>,
    /// How its owner has set it up.
    pub configurations: Option<Configurations>,
    /// When Ring was last asked about it, in epoch milliseconds.
    pub listed_at: Option<i64>,
    /// Its own policy, where it has one.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Whether media ever waited for it: only then is it looked whether some do.
    #[serde(default)]
    pub awaited: bool,
    /// Whether it was ever captured: only then is it looked whether it is.
    #[serde(default)]
    pub captured: bool,
    /// Whether somebody ever watched it live: only then is it looked whether somebody does.
    #[serde(default)]
    pub watched: bool,
}

impl Known {
    /// Whether the user has it: not once it was removed.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.present.as_ref().is_none_or(|told| told.is)
    }

    /// Whether an event told last that it is offline. A listing that says so is no reason to wait: nothing might tell that it
    /// is over.
    #[must_use]
    pub fn is_told_offline(&self) -> bool {
        self.online.as_ref().is_some_and(|told| !told.is && told.by != LISTING)
    }

    /// Whether what is known is the same as what this tells, whoever told it and when.
    #[must_use]
    pub fn agrees(&self, change: &Change) -> bool {
        let same = |known: &Option<Told>, told: &Told| known.as_ref().is_some_and(|known| known.is == told.is);
        match change {
            Change::Present(told) => same(&self.present, told),
            Change::Online(told) => same(&self.online, told),
            Change::Doorbell => self.doorbell,
        }
    }

    /// When what we know was true: the newest of what was asked and what was told.
    #[must_use]
    pub fn as_of(&self) -> Option<Timestamp> {
        let told = [
            self.listed_at,
            self.online.as_ref().map(|told| told.at),
            self.present.as_ref().map(|told| told.at),
        ];
        told.into_iter()
            .flatten()
            .max()
            .and_then(|at| Timestamp::from_millisecond(at).ok())
    }
}

/// One thing that was told of a device, when, and by what. A later one takes its place; of two of the same millisecond
/// the one with the greater key, so that every order of arrival ends the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What it is.
    pub is: bool,
    /// When it was so, in epoch milliseconds.
    pub at: i64,
    /// Which event told it, or `listing`.
    pub by: String,
}

impl Told {
    /// Whether this is what is so once both were told: it is newer than `other`, or the same. The store's conditions say
    /// the same.
    #[must_use]
    pub fn stands_against(&self, other: &Self) -> bool {
        (self.at, &self.by) >= (other.at, &other.by)
    }
}

/// Something that is remembered of a device once it was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Media wait for it.
    Awaited,
    /// It is captured.
    Captured,
    /// Somebody watches it live.
    Watched,
}

/// A device that a listing did not show any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Whose it was.
    pub account_id: AccountId,
    /// Which one.
    pub device_id: DeviceId,
    /// Since when, in epoch milliseconds.
    pub at: i64,
}

/// What an event tells of its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came or went.
    Present(Told),
    /// It is online or offline.
    Online(Told),
    /// It has a button.
    Doorbell,
}

/// What this event tells of its device.
#[must_use]
pub fn change(record: &Record) -> Option<Change> {
    let told = |is| Told {
        is,
        at: record.occurred_at.as_millisecond(),
        by: record.event_id.as_str().to_owned(),
    };
    match record.kind {
        EventKind::DeviceAdded => Some(Change::Present(told(true))),
        EventKind::DeviceRemoved => Some(Change::Present(told(false))),
        EventKind::DeviceOnline => Some(Change::Online(told(true))),
        EventKind::DeviceOffline => Some(Change::Online(told(false))),
        EventKind::ButtonPress => Some(Change::Doorbell),
        _ => None,
    }
}

/// What a listing at `asked_at` tells of a device.
#[must_use]
pub fn listed(account: &AccountId, device: Device, asked_at: Timestamp) -> Known {
    let at = asked_at.as_millisecond();
    let told = |is| Told {
        is,
        at,
        by: LISTING.to_owned(),
    };
    Known {
        account_id: account.clone(),
        device_id: device.id,
        name: device.name,
        present: Some(told(true)),
        online: device.status.and_then(|status| status.online).map(told),
        doorbell: false,
        capabilities: device.capabilities,
        location: device.location,
        configurations: device.configurations,
        listed_at: Some(at),
        policy: None,
        awaited: false,
        captured: false,
        watched: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: i64, by: &str, is: bool) -> Told {
        Told {
            is,
            at,
            by: by.to_owned(),
        }
    }

    fn folded<'t>(all: impl IntoIterator<Item = &'t Told>) -> Option<&'t Told> {
        all.into_iter().fold(None, |kept: Option<&Told>, next| match kept {
            Some(kept) if !next.stands_against(kept) => Some(kept),
            _ => Some(next),
        })
    }

    #[test]
    fn trap_60_a_late_removal_does_not_undo_a_newer_addition() {
        let added = told(2_000, "evt_b", true);
        let removed = told(1_000, "evt_a", false);
        assert_eq!(folded([&added, &removed]), Some(&added));
        assert_eq!(folded([&removed, &added]), Some(&added));
    }

    #[test]
    fn to_tell_the_same_again_is_no_loss_and_of_one_millisecond_the_greater_key_stands() {
        let one = told(1_000, "evt_a", false);
        assert!(one.stands_against(&one.clone()));
        let other = told(1_000, "evt_b", true);
        assert!(other.stands_against(&one) && !one.stands_against(&other));
    }

    #[test]
    fn something_newer_may_tell_the_same() {
        let known = serde_json::json!({"account_id": "a", "device_id": "d"});
        let mut known: Known = serde_json::from_value(known).unwrap();
        let added = |is| Change::Present(told(1_000, "evt_a", is));
        assert!(!known.agrees(&added(true)) && !known.agrees(&Change::Doorbell));
        known.present = Some(told(2_000, LISTING, true));
        assert!(known.agrees(&added(true)), "a listing has told the same since");
        assert!(!known.agrees(&added(false)));
        assert!(!known.agrees(&Change::Online(told(1, "evt_a", true))));
    }

    /// A hundred thousand orders, each with repeats, from a seed that is told when one of them ends elsewhere.
    #[test]
    fn trap_60_a_hundred_thousand_orders_and_repetitions_end_in_the_same_state() {
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for round in 0..100_000 {
            // Few times and keys, so that they meet. One event tells one thing: a key always comes with the same value.
            let all: Vec<_> = (0..1 + next(8))
                .map(|_| {
                    let (at, by) = (next(4) as i64, next(4));
                    told(at, &format!("evt_{by}"), (at as usize + by).is_multiple_of(2))
                })
                .collect();
            let newest = all
                .iter()
                .max_by(|one, other| (one.at, &one.by).cmp(&(other.at, &other.by)));
            let mut come: Vec<_> = all.iter().chain(all.iter().filter(|_| next(2) == 0)).collect();
            for index in (1..come.len()).rev() {
                come.swap(index, next(index + 1));
            }
            assert_eq!(folded(come.iter().copied()), newest, "round {round}: {come:?}");
        }
    }
}
