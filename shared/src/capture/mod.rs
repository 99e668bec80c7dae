//! A capture: live video of a device, recorded. What is asked for is a medium of its own kind; that a device is captured by one
//! at a time is its *slot*, which says until when, and whether to stop. This file begins, prolongs and stops captures, over
//! [`ports`]; it opens no session: that is `stream-capture`, which reads the medium and the slot. [`store`] keeps slots;
//! [`session`] is a live session, a viewer's or a recorder's.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::edge::bus::Announcement;
use crate::edge::clock::signed;
use crate::edge::key;
use crate::edge::queue::Message;
use crate::edge::table::StoreError;
use crate::event;
use crate::media::{Medium, MediumId, Progress, Request};

pub mod archive;
pub mod manifest;
pub mod ports;
pub mod session;
pub mod store;

use ports::Captures;

/// The longest that one capture is prolonged to: motion without end must not drain a battery.
pub const LONGEST: Duration = Duration::from_secs(900);
/// A capture that an event asks for begins within this of the event, or not at all: later there is nothing to see of it.
pub const BEGINS_WITHIN: Duration = Duration::from_secs(300);
/// How often a slot is looked at again that somebody else changed in the same moment.
const TRIES: usize = 5;

/// A device's slot: the capture that has it, until when, and whether it is to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Whose device.
    pub account_id: AccountId,
    /// Which device.
    pub device_id: DeviceId,
    /// The capture.
    pub medium_id: MediumId,
    /// When it was asked for.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub asked_at: Timestamp,
    /// Until when it goes on. Past it, the slot is free.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub until: Timestamp,
    /// Why it is to stop before that, where it is.
    pub stop: Option<Stop>,
    /// Counts the changes: a change is made from the version that was read, or not at all.
    pub version: u64,
}

/// Why a capture is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Its device went offline.
    DeviceOffline,
    /// Its device is not within reach any more.
    DeviceRemoved,
    /// Its user deleted it.
    Deleted,
    /// It is over: whoever recorded it has given the slot back.
    Over,
}

impl Stop {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceOffline => "device_offline",
            Self::DeviceRemoved => "device_removed",
            Self::Deleted => "deleted",
            Self::Over => "over",
        }
    }
}

impl Slot {
    /// Whether its capture goes on at `now`.
    #[must_use]
    pub fn is_taken(&self, now: Timestamp) -> bool {
        self.stop.is_none() && now < self.until
    }

    /// The slot with its capture prolonged until `until`, as far as that may be.
    #[must_use]
    pub fn prolonged(&self, until: Timestamp) -> Self {
        let latest = self.asked_at + signed(LONGEST);
        Self {
            until: self.until.max(until.min(latest)),
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// The slot whose capture is to stop. One that is to stop already keeps its reason.
    #[must_use]
    pub fn stopped(&self, why: Stop) -> Self {
        Self {
            stop: self.stop.or(Some(why)),
            version: self.version + 1,
            ..self.clone()
        }
    }
}

/// What became of a request for a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It has the slot, and is to be recorded.
    Now(MediumId),
    /// Another one goes on, and for longer than before.
    Prolonged(MediumId),
    /// It was asked for before, and this is what it came to.
    Before(MediumId),
}

impl Begun {
    /// The capture that stands for what was asked for.
    #[must_use]
    pub fn medium_id(&self) -> &MediumId {
        match self {
            Self::Now(id) | Self::Prolonged(id) | Self::Before(id) => id,
        }
    }
}

/// Begins a capture, or prolongs the one that goes on: no device is captured twice at once. What was asked for under the
/// same id before is not done again.
pub async fn begin(captures: &impl Captures, asked: &Medium, now: Timestamp) -> Result<Begun, StoreError> {
    let Request::Capture(request) = &asked.request else {
        return Ok(Begun::Before(asked.id.clone()));
    };
    let until = now + signed(Duration::from_millis(request.duration.unsigned_abs()).min(LONGEST));
    let (account, device) = (&asked.account_id, &asked.device_id);
    for _ in 0..TRIES {
        if let Some(before) = captures.asked(&asked.id).await? {
            return Ok(Begun::Before(before));
        }
        let slot = captures.slot(account, device).await?;
        let done = match &slot {
            // It was asked for in this moment, by whoever has the same event in hand: it does not prolong itself, and they may
            // not come to tell anybody of it.
            Some(slot) if slot.is_taken(now) && slot.medium_id == asked.id => {
                return Ok(Begun::Before(asked.id.clone()));
            }
            Some(slot) if slot.is_taken(now) => {
                let prolonged = slot.prolonged(until);
                let done = captures.prolong(&prolonged, &asked.id).await;
                done.map(|()| Begun::Prolonged(slot.medium_id.clone()))
            }
            _ => {
                let slot = Slot {
                    account_id: account.clone(),
                    device_id: device.clone(),
                    medium_id: asked.id.clone(),
                    asked_at: now,
                    until,
                    stop: None,
                    version: slot.map_or(1, |slot| slot.version + 1),
                };
                let done = captures.take(&slot, asked).await;
                done.map(|()| Begun::Now(asked.id.clone()))
            }
        };
        match done {
            // Somebody else was there in this moment.
            Err(StoreError::Conflict) => {}
            done => return done,
        }
    }
    Err(StoreError::Conflict)
}

/// Has the capture of a device stop, if one goes on: this one, or whichever it is. What it was, if there was one.
pub async fn stop(
    captures: &impl Captures,
    account: &AccountId,
    device: &DeviceId,
    only: Option<&MediumId>,
    why: Stop,
) -> Result<Option<MediumId>, StoreError> {
    for _ in 0..TRIES {
        let slot = captures.slot(account, device).await?;
        let slot = slot.filter(|slot| only.is_none_or(|only| slot.medium_id == *only));
        let Some(slot) = slot.filter(|slot| slot.stop.is_none()) else {
            return Ok(None);
        };
        match captures.change(&slot.stopped(why)).await {
            // It was prolonged, or another one began, in this moment.
            Err(StoreError::Conflict) => {}
            done => return done.map(|()| Some(slot.medium_id)),
        }
    }
    Err(StoreError::Conflict)
}

/// A capture to record, as it lies in the queue. It may come twice; who records it takes the medium first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which one.
    pub medium_id: MediumId,
}

impl Job {
    /// The message that has it recorded.
    #[must_use]
    pub fn message(medium: &Medium) -> Message {
        let body = serde_json::json!({ "medium_id": medium.id.as_str() }).to_string();
        Message::new(body).group(event::account_key(&medium.account_id))
    }
}

/// How a capture ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How much was recorded, in milliseconds.
    pub recorded: i64,
    /// Why it ended, in a word: `complete`, or what cut it short.
    pub reason: String,
}

/// What the bus is told when a capture is over. Its file, if there is any, is announced as a medium besides.
#[must_use]
pub fn finished(
    medium: &Medium,
    user_id: &str,
    device_name: Option<String>,
    ended: &Ended,
    now: Timestamp,
) -> Announcement {
    let mut more = serde_json::Map::new();
    more.insert("medium_id".into(), medium.id.as_str().into());
    more.insert(
        "stored".into(),
        matches!(medium.progress, Progress::Stored { .. }).into(),
    );
    more.insert("recorded".into(), ended.recorded.into());
    more.insert("reason".into(), ended.reason.as_str().into());
    if let Some(notify) = medium.notify {
        more.insert("notify".into(), notify.into());
    }
    Announcement {
        kind: "capture_finished".to_owned(),
        schema: "capture_finished/1".to_owned(),
        event_id: key::derived("evt", &["capture_finished", medium.id.as_str()]),
        account_id: medium.account_id.to_string(),
        user_id: Some(user_id.to_owned()),
        device_id: Some(medium.device_id.to_string()),
        device_name,
        cause_event_id: medium.event_id.clone(),
        occurred_at: now,
        more,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::EventId;
    use crate::media::CaptureRequest;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).unwrap()
    }

    fn slot() -> Slot {
        Slot {
            account_id: AccountId::new("a").unwrap(),
            device_id: DeviceId::new("d").unwrap(),
            medium_id: MediumId::from("med_1".to_owned()),
            asked_at: at(0),
            until: at(30),
            stop: None,
            version: 1,
        }
    }

    /// Slots in memory, with a hand that changes one between a look and a change.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<State>>);

    #[derive(Debug, Default)]
    struct State {
        slot: Option<Slot>,
        asked: HashMap<String, MediumId>,
        media: Vec<Medium>,
        /// Somebody else prolongs the capture before the next change.
        interferes: bool,
        /// Somebody else takes the slot for this after the next look at what was asked for.
        overtakes: Option<Medium>,
    }

    impl State {
        fn change(&mut self, slot: &Slot) -> Result<(), StoreError> {
            if std::mem::take(&mut self.interferes)
                && let Some(slot) = &mut self.slot
            {
                *slot = slot.prolonged(slot.until);
            }
            if self.slot.as_ref().map_or(0, |slot| slot.version) != slot.version - 1 {
                return Err(StoreError::Conflict);
            }
            self.slot = Some(slot.clone());
            Ok(())
        }
    }

    impl Captures for Kept {
        async fn slot(&self, _account: &AccountId, _device: &DeviceId) -> Result<Option<Slot>, StoreError> {
            Ok(self.0.lock().unwrap().slot.clone())
        }

        async fn asked(&self, id: &MediumId) -> Result<Option<MediumId>, StoreError> {
            let known = self.0.lock().unwrap().asked.get(id.as_str()).cloned();
            let overtakes = self.0.lock().unwrap().overtakes.take();
            if let Some(medium) = overtakes {
                let mine = Slot {
                    medium_id: medium.id.clone(),
                    ..slot()
                };
                self.take(&mine, &medium).await?;
            }
            Ok(known)
        }

        async fn take(&self, slot: &Slot, medium: &Medium) -> Result<(), StoreError> {
            let mut state = self.0.lock().unwrap();
            state.change(slot)?;
            state.asked.insert(medium.id.as_str().to_owned(), medium.id.clone());
            state.media.push(medium.clone());
            Ok(())
        }

        async fn prolong(&self, slot: &Slot, asked: &MediumId) -> Result<(), StoreError> {
            let mut state = self.0.lock().unwrap();
            state.change(slot)?;
            state.asked.insert(asked.as_str().to_owned(), slot.medium_id.clone());
            Ok(())
        }

        async fn change(&self, slot: &Slot) -> Result<(), StoreError> {
            self.0.lock().unwrap().change(slot)
        }
    }

    fn asked(event: &str) -> Medium {
        let request = Request::Capture(CaptureRequest {
            duration: 30_000,
            audio: false,
        });
        let (account, device) = (AccountId::new("a").unwrap(), DeviceId::new("d").unwrap());
        Medium::caused(&EventId::from(event.to_owned()), account, device, request, None, at(0))
    }

    fn run<T>(future: impl Future<Output = Result<T, StoreError>>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future).unwrap()
    }

    #[test]
    fn motion_while_a_capture_goes_on_prolongs_it_and_opens_no_second_one() {
        let kept = Kept::default();
        let (first, second) = (asked("evt_1"), asked("evt_2"));
        assert_eq!(run(begin(&kept, &first, at(0))), Begun::Now(first.id.clone()));
        assert_eq!(run(begin(&kept, &second, at(20))), Begun::Prolonged(first.id.clone()));
        let slot = run(kept.slot(&first.account_id, &first.device_id)).unwrap();
        assert_eq!((slot.medium_id, slot.until), (first.id, at(50)));
        assert_eq!(kept.0.lock().unwrap().media.len(), 1);
    }

    #[test]
    fn what_was_asked_for_before_begins_nothing_also_when_that_is_long_over() {
        let kept = Kept::default();
        let (first, second) = (asked("evt_1"), asked("evt_2"));
        run(begin(&kept, &first, at(0)));
        run(begin(&kept, &second, at(20)));
        for (again, at) in [
            (&first, at(1)),
            (&second, at(21)),
            (&first, at(900)),
            (&second, at(900)),
        ] {
            assert_eq!(run(begin(&kept, again, at)), Begun::Before(first.id.clone()));
        }
        assert_eq!(
            run(begin(&kept, &asked("evt_3"), at(900))).medium_id(),
            &asked("evt_3").id
        );
    }

    #[test]
    fn whoever_changes_a_slot_in_the_same_moment_is_not_overwritten() {
        let kept = Kept::default();
        run(begin(&kept, &asked("evt_1"), at(0)));
        kept.0.lock().unwrap().interferes = true;
        let first = asked("evt_1");
        let prolonged = run(begin(&kept, &asked("evt_2"), at(20)));
        assert_eq!(prolonged, Begun::Prolonged(first.id.clone()));
        kept.0.lock().unwrap().interferes = true;
        let stopped = run(stop(
            &kept,
            &first.account_id,
            &first.device_id,
            None,
            Stop::DeviceOffline,
        ));
        assert_eq!(stopped, Some(first.id.clone()));
        let again = run(stop(&kept, &first.account_id, &first.device_id, None, Stop::Deleted));
        assert_eq!(again, None, "it is to stop already");
        let another = asked("evt_4").id;
        let other = run(stop(
            &kept,
            &first.account_id,
            &first.device_id,
            Some(&another),
            Stop::Deleted,
        ));
        assert_eq!(other, None, "it is another one");
    }

    #[test]
    fn a_capture_that_two_ask_for_in_the_same_moment_does_not_prolong_itself() {
        let kept = Kept::default();
        let first = asked("evt_1");
        kept.0.lock().unwrap().overtakes = Some(first.clone());
        assert_eq!(run(begin(&kept, &first, at(1))), Begun::Before(first.id.clone()));
        let slot = run(kept.slot(&first.account_id, &first.device_id)).unwrap();
        assert_eq!((slot.version, slot.until), (1, at(30)));
    }

    #[test]
    fn a_slot_is_free_when_its_time_is_up_or_its_capture_is_to_stop() {
        assert!(slot().is_taken(at(29)));
        assert!(!slot().is_taken(at(30)));
        assert!(!slot().stopped(Stop::DeviceOffline).is_taken(at(1)));
    }

    #[test]
    fn a_capture_is_prolonged_and_never_shortened_and_not_beyond_the_longest() {
        assert_eq!(slot().prolonged(at(50)).until, at(50));
        assert_eq!(slot().prolonged(at(10)).until, at(30));
        assert_eq!(slot().prolonged(at(100_000)).until, at(0) + signed(LONGEST));
    }

    #[test]
    fn the_first_reason_to_stop_stands() {
        let stopped = slot().stopped(Stop::DeviceOffline).stopped(Stop::Deleted);
        assert_eq!((stopped.stop, stopped.version), (Some(Stop::DeviceOffline), 3));
    }
}
