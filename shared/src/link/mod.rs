//! A link: one Ring account, bound to one signed-in user of ours. What is still to be done about it (complete it at Ring,
//! list its devices, act on what was parked, tell the bus) stands in the link itself, so that whoever finds it, after a
//! crash too, goes on where it stopped. This file does no I/O. [`claim`] makes a link out of a nonce and [`settle`] does what is
//! to be done; they are written over [`ports`]. [`store`] keeps links, [`effects`] is what follows from them.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::audit::{Deed, Entry};
use crate::edge::bus::Announcement;
use crate::edge::clock::signed;
use crate::edge::key;
use crate::grant::GrantId;

pub mod claim;
pub mod effects;
pub mod ports;
pub mod settle;
pub mod store;

/// Each link's devices are listed anew this often.
pub const LIST_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A listing that is older is made anew when somebody looks at it.
pub const STALE_AFTER: Duration = Duration::from_secs(3600);
/// A listing that somebody waits for is made within this, unless Ring is out of reach.
pub const LISTED_WITHIN: Duration = Duration::from_secs(600);
/// A link with something left to do is looked at again after this.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// One link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its id: ours, opaque.
    pub id: String,
    /// Who has linked, as a pseudonym.
    pub user_id: String,
    /// Which Ring account.
    pub account_id: AccountId,
    /// The grant that opens it.
    pub grant_id: GrantId,
    /// Where it stands.
    pub status: LinkStatus,
    /// What Ring's user is shown of ours.
    pub account_identifier: Option<String>,
    /// When Ring took the nonce.
    pub linked_at: Timestamp,
    /// When its devices were last listed.
    pub listed_at: Option<Timestamp>,
    /// Since when somebody waits for a newer listing; nobody does where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_at: Option<Timestamp>,
    /// What is still to be done, in this order.
    pub todo: Vec<Todo>,
    /// Counts the changes: a change is made from the version that was read, or not at all. It begins at the time of the
    /// link, so that no two links of one account ever have the same: who holds a link that was forgotten since can't take
    /// the new one for it.
    pub version: u64,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// Ring took the nonce, and was not told yet that the integration is complete.
    Confirming,
    /// The user still has something to set up with us.
    Awaiting,
    /// Complete on both sides.
    Completed,
    /// Ring refuses our tokens: the user has to link again.
    RelinkRequired,
    /// Over. It is kept only until what remains to be done is done, and shown to nobody.
    Unlinked,
}

/// One thing to be done about a link. Each may be done twice without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Todo {
    /// Tell Ring that the integration is complete (Ring: App Integration, PATCH).
    Complete,
    /// List the account's devices with all four parts, and keep them.
    ListDevices,
    /// Hand the events that came before the link back to the queue.
    ReleaseParked,
    /// Publish `account_linked`.
    AnnounceLinked,
    /// Publish `account_relink_required`.
    AnnounceRelinkRequired,
    /// Forget the account's devices.
    ForgetDevices,
    /// Publish `account_unlinked`.
    AnnounceUnlinked,
}

/// When a link is told to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompleteLink {
    /// As soon as Ring took the nonce.
    AtOnce,
    /// When the user has finished setting up with us.
    AfterSetup,
}

impl std::str::FromStr for CompleteLink {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "at-once" => Ok(Self::AtOnce),
            "after-setup" => Ok(Self::AfterSetup),
            _ => Err("it must be at-once or after-setup"),
        }
    }
}

/// Who links what.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// Who has linked, as a pseudonym.
    pub user_id: String,
    /// Which Ring account.
    pub account_id: AccountId,
    /// The grant that opens it.
    pub grant_id: GrantId,
    /// What Ring's user is shown of ours.
    pub account_identifier: Option<String>,
}

impl Link {
    /// A link, as Ring has just taken the nonce.
    #[must_use]
    pub fn confirmed(id: String, confirmed: Confirmed, complete: CompleteLink, now: Timestamp) -> Self {
        let Confirmed {
            user_id,
            account_id,
            grant_id,
            account_identifier,
        } = confirmed;
        let mut todo = vec![
            Todo::Complete,
            Todo::ListDevices,
            Todo::ReleaseParked,
            Todo::AnnounceLinked,
        ];
        let status = match complete {
            CompleteLink::AtOnce => LinkStatus::Confirming,
            CompleteLink::AfterSetup => {
                todo.retain(|todo| *todo != Todo::Complete);
                LinkStatus::Awaiting
            }
        };
        Self {
            id,
            user_id,
            account_id,
            grant_id,
            status,
            account_identifier,
            linked_at: now,
            listed_at: None,
            wanted_at: None,
            todo,
            version: first_version(now),
        }
    }

    /// The same user has linked the same account again: the link keeps its id, and goes on with the new grant.
    #[must_use]
    pub fn relinked(&self, confirmed: Confirmed, complete: CompleteLink, now: Timestamp) -> Self {
        Self {
            version: self.version + 1,
            ..Self::confirmed(self.id.clone(), confirmed, complete, now)
        }
    }

    /// One thing is done.
    #[must_use]
    pub fn done(mut self, todo: Todo, now: Timestamp) -> Self {
        self.todo.retain(|left| *left != todo);
        match todo {
            Todo::Complete => self.status = LinkStatus::Completed,
            Todo::ListDevices => {
                self.listed_at = Some(now);
                self.wanted_at = None;
            }
            _ => {}
        }
        Self {
            version: self.version + 1,
            ..self
        }
    }

    /// A day has passed: its devices are to be listed anew, and what has been parked since is to be released. Nothing is
    /// kept of that by itself: the row still says that it is due.
    #[must_use]
    pub fn to_be_listed(mut self) -> Self {
        for todo in [Todo::ListDevices, Todo::ReleaseParked] {
            if !self.todo.contains(&todo) {
                self.todo.push(todo);
            }
        }
        self
    }

    /// Somebody was linking another grant of its account, in vain: Ring may have taken their nonce, and wait for that to be
    /// completed. So a completed link is completed once more; `None`: there is nothing to be done.
    #[must_use]
    pub fn claimed_again(mut self) -> Option<Self> {
        if self.status != LinkStatus::Completed || self.todo.contains(&Todo::Complete) {
            return None;
        }
        self.todo.insert(0, Todo::Complete);
        Some(Self {
            version: self.version + 1,
            ..self
        })
    }

    /// Ring knows of this status now, and of this identifier.
    #[must_use]
    pub fn set(mut self, status: LinkStatus, account_identifier: Option<String>) -> Self {
        self.todo.retain(|left| *left != Todo::Complete);
        Self {
            status,
            account_identifier,
            version: self.version + 1,
            ..self
        }
    }

    /// Ring refuses its grant: nothing can be asked there for it.
    #[must_use]
    pub fn relink_required(self) -> Self {
        let todo = self.told_before(&[Todo::AnnounceRelinkRequired]);
        Self {
            status: LinkStatus::RelinkRequired,
            todo,
            version: self.version + 1,
            ..self
        }
    }

    /// It is over.
    #[must_use]
    pub fn unlinked(self) -> Self {
        let todo = self.told_before(&[Todo::ForgetDevices, Todo::AnnounceUnlinked]);
        Self {
            status: LinkStatus::Unlinked,
            todo,
            version: self.version + 1,
            ..self
        }
    }

    /// What is to be done, after the bus was told what it has not heard yet of what was before.
    fn told_before(&self, todo: &[Todo]) -> Vec<Todo> {
        let announced = |todo: &&Todo| matches!(todo, Todo::AnnounceLinked | Todo::AnnounceRelinkRequired);
        self.todo.iter().filter(announced).chain(todo).copied().collect()
    }

    /// Whether what is known of its devices is old enough to be asked for anew by whoever looks at it now.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let old = self
            .listed_at
            .is_none_or(|at| now.duration_since(at) >= signed(STALE_AFTER));
        old && self.wanted_at.is_none() && !matches!(self.status, LinkStatus::RelinkRequired | LinkStatus::Unlinked)
    }

    /// Whether Ring can't be asked, as far as is known: what is shown of its devices is what was known last.
    #[must_use]
    pub fn is_degraded(&self, now: Timestamp) -> bool {
        let waits = self
            .wanted_at
            .is_some_and(|at| now.duration_since(at) >= signed(LISTED_WITHIN));
        waits || self.status == LinkStatus::RelinkRequired
    }

    /// Whether events of its account take effect, and its user sees its devices.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.status != LinkStatus::Unlinked
    }

    /// When it next needs somebody to look at it.
    #[must_use]
    pub fn due_at(&self, now: Timestamp, spread: f64) -> Option<Timestamp> {
        if !self.todo.is_empty() {
            return Some(now + signed(TRY_AGAIN_AFTER));
        }
        match self.status {
            LinkStatus::RelinkRequired | LinkStatus::Unlinked => None,
            _ => {
                let listed_at = self.listed_at.unwrap_or(now);
                Some(listed_at + signed(LIST_EVERY.mul_f64(0.85 + 0.15 * spread.clamp(0.0, 1.0))))
            }
        }
    }

    /// What the audit trail says of what its user did to it, or Ring's.
    #[must_use]
    pub fn audit_entry(&self, deed: Deed, at: Timestamp) -> Entry {
        Entry {
            at,
            user_id: self.user_id.clone(),
            deed,
            account_id: Some(self.account_id.clone()),
            link_id: Some(self.id.clone()),
            device_id: None,
            why: None,
        }
    }

    /// What the bus is told of this link; `what` is one of our detail-types.
    #[must_use]
    pub fn announcement(&self, what: &str, now: Timestamp) -> Announcement {
        Announcement {
            kind: what.to_owned(),
            schema: format!("{what}/1"),
            event_id: key::derived("evt", &[what, &self.id, self.grant_id.as_str()]),
            account_id: self.account_id.to_string(),
            user_id: Some(self.user_id.clone()),
            device_id: None,
            device_name: None,
            cause_event_id: None,
            occurred_at: now,
            more: serde_json::Map::new(),
        }
    }
}

/// Milliseconds since 1970: a link changes less than once in each.
fn first_version(now: Timestamp) -> u64 {
    now.as_millisecond().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed() -> Confirmed {
        Confirmed {
            user_id: "usr_1".to_owned(),
            account_id: AccountId::new("account").unwrap(),
            grant_id: GrantId::new(7),
            account_identifier: Some("u***r@example.com".to_owned()),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_770_000_000).unwrap()
    }

    #[test]
    fn a_new_link_is_completed_before_anything_else_unless_the_user_has_to_set_up_first() {
        let at_once = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AtOnce, now());
        assert_eq!(at_once.status, LinkStatus::Confirming);
        assert_eq!(at_once.todo[0], Todo::Complete);
        let later = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AfterSetup, now());
        assert_eq!(later.status, LinkStatus::Awaiting);
        assert!(!later.todo.contains(&Todo::Complete));
    }

    #[test]
    fn what_is_done_is_not_done_again_and_the_next_listing_is_a_day_away() {
        let mut link = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AtOnce, now());
        assert_eq!(link.due_at(now(), 1.0).unwrap(), now() + signed(TRY_AGAIN_AFTER));
        while let Some(todo) = link.todo.first().copied() {
            link = link.done(todo, now());
        }
        assert_eq!(link.status, LinkStatus::Completed);
        assert_eq!(link.due_at(now(), 1.0).unwrap(), now() + signed(LIST_EVERY));
        let version = link.version;
        let again = link.to_be_listed();
        assert_eq!(again.todo, [Todo::ListDevices, Todo::ReleaseParked]);
        assert_eq!(
            again.version, version,
            "the row is as it was: the first thing done is the change"
        );
    }

    #[test]
    fn an_old_listing_is_asked_for_once_and_what_does_not_come_of_it_is_said() {
        let mut link = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AtOnce, now());
        while let Some(todo) = link.todo.first().copied() {
            link = link.done(todo, now());
        }
        let later = now() + signed(STALE_AFTER);
        assert!(!link.is_stale(later - signed(Duration::from_millis(1))));
        assert!(link.is_stale(later) && !link.is_degraded(later));
        let wanted = Link {
            wanted_at: Some(later),
            ..link.clone()
        };
        assert!(!wanted.is_stale(later), "it is asked for once");
        assert!(!wanted.is_degraded(later + signed(LISTED_WITHIN) - signed(Duration::from_millis(1))));
        assert!(wanted.is_degraded(later + signed(LISTED_WITHIN)));
        let listed = wanted.done(Todo::ListDevices, later);
        assert!(!listed.is_degraded(later + signed(LISTED_WITHIN)));
        let relink = link.relink_required();
        assert!(!relink.is_stale(later) && relink.is_degraded(now()));
    }

    #[test]
    fn linking_again_keeps_the_id_and_takes_the_new_grant() {
        let old = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AtOnce, now()).relink_required();
        let again = confirmed();
        let new = old.relinked(again.clone(), CompleteLink::AtOnce, now());
        assert_eq!((&new.id, &new.grant_id), (&old.id, &again.grant_id));
        assert_eq!(new.status, LinkStatus::Confirming);
        assert_eq!(new.version, old.version + 1);
    }

    #[test]
    fn an_unlinked_link_is_not_live_and_has_its_devices_forgotten() {
        let mut link = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AtOnce, now());
        let early = link.clone().unlinked();
        assert!(!early.is_live());
        assert_eq!(
            early.todo,
            [Todo::AnnounceLinked, Todo::ForgetDevices, Todo::AnnounceUnlinked],
            "who hears of the end has heard of the beginning"
        );
        while let Some(todo) = link.todo.first().copied() {
            link = link.done(todo, now());
        }
        assert_eq!(link.unlinked().todo, [Todo::ForgetDevices, Todo::AnnounceUnlinked]);
    }

    #[test]
    fn announcements_of_one_link_have_one_id_each() {
        let link = Link::confirmed("lnk_1".to_owned(), confirmed(), CompleteLink::AtOnce, now());
        let one = link.announcement("account_linked", now());
        assert_eq!(one.event_id, link.announcement("account_linked", now()).event_id);
        assert_ne!(one.event_id, link.announcement("account_unlinked", now()).event_id);
    }
}
