//! A live session at Ring, from before it is asked for until it is surely over. An open one drains a battery, and Ring opens
//! another each time that it is asked: so a session is written down first, whoever finds it later closes it, and one whose
//! place was never learned keeps its device to itself until Ring has ended it. This file does no I/O; [`live`] opens and closes
//! sessions, over [`ports`], and [`store`] keeps them.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use ring_partner::whep::{LONGEST_ON_BATTERY, LONGEST_ON_MAINS, SessionUrl};
use serde::{Deserialize, Serialize};

use crate::edge::clock::signed;
use crate::edge::queue::Message;
use crate::event;
use crate::media::MediumId;

pub mod live;
pub mod ports;
pub mod store;

/// How long Ring may take to open a session. In step with `live_timeout` of the client.
pub const OPENS_WITHIN: Duration = Duration::from_secs(15);
/// By so much Ring's clock and ours may differ about a session's end.
pub const MARGIN: Duration = Duration::from_secs(5);
/// For how long after its end a session is still asked to be closed, when Ring is out of reach: then it has ended by itself.
pub const CLOSED_WITHIN: Duration = Duration::from_secs(600);
/// How many sessions of a device have to end early, one after the other, until it is held to be on a battery: one that motion
/// had started ends early, too.
const EARLY_ENDS: u8 = 3;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id: ours, opaque.
    pub id: String,
    /// Whose device.
    pub account_id: AccountId,
    /// Which device.
    pub of_device: DeviceId,
    /// When it was asked for, and once it is open, since when it is.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub since: Timestamp,
    /// When Ring has surely ended it.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub until: Timestamp,
    /// How far it has come.
    pub state: State,
    /// The capture that it is recorded for; `None`: somebody watches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<MediumId>,
}

/// How far a session has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// Ring is being asked. Whoever finds it so later can't know whether there is one.
    Opening,
    /// It is open.
    Open {
        /// Where it is closed.
        location: String,
    },
    /// Ring is being asked to close it.
    Closing {
        /// Where.
        location: String,
    },
    /// Nobody knows where to close it: Ring's answer was lost, or named no place that a token may be sent to.
    Lost,
    /// It is over.
    Closed,
}

/// A step that a session's state does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session has no such step from where it stands")]
pub struct Illegal;

impl Session {
    /// A session that is about to be asked for, at a device whose sessions last so long at the most.
    #[must_use]
    pub fn opening(id: String, account_id: AccountId, device: DeviceId, longest: Duration, now: Timestamp) -> Self {
        Self {
            id,
            account_id,
            of_device: device,
            since: now,
            until: now + signed(OPENS_WITHIN + longest + MARGIN),
            state: State::Opening,
            capture: None,
        }
    }

    /// The same, to be recorded for a capture.
    #[must_use]
    pub fn recorded_for(self, capture: Option<MediumId>) -> Self {
        Self { capture, ..self }
    }

    /// How long Ring lets it be at the most, from when it was opened.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        let all = Duration::try_from(self.until.duration_since(self.since)).unwrap_or_default();
        all.saturating_sub(MARGIN)
    }

    /// Ring has opened it, and said where it is closed.
    pub fn opened(self, location: &SessionUrl, longest: Duration, now: Timestamp) -> Result<Self, Illegal> {
        let location = location.as_str().to_owned();
        self.answered(State::Open { location }, longest, now)
    }

    /// Ring may have opened it, and it is not known where it is closed.
    pub fn lost(self, longest: Duration, now: Timestamp) -> Result<Self, Illegal> {
        self.answered(State::Lost, longest, now)
    }

    fn answered(self, state: State, longest: Duration, now: Timestamp) -> Result<Self, Illegal> {
        match self.state {
            State::Opening => Ok(Self {
                since: now,
                until: now + signed(longest + MARGIN),
                state,
                ..self
            }),
            _ => Err(Illegal),
        }
    }

    /// Ring has surely opened none.
    pub fn refused(self) -> Result<Self, Illegal> {
        match self.state {
            State::Opening => Ok(self.over()),
            _ => Err(Illegal),
        }
    }

    /// Ring is about to be asked to close it.
    pub fn closing(self) -> Result<Self, Illegal> {
        match self.state {
            State::Open { location } | State::Closing { location } => Ok(Self {
                state: State::Closing { location },
                ..self
            }),
            _ => Err(Illegal),
        }
    }

    /// Ring has closed it, or did not know it any more.
    pub fn closed(self) -> Result<Self, Illegal> {
        match self.state {
            State::Closing { .. } => Ok(self.over()),
            _ => Err(Illegal),
        }
    }

    /// Its time has run out, whatever it was.
    pub fn ended(self, now: Timestamp) -> Result<Self, Illegal> {
        if now >= self.until {
            Ok(self.over())
        } else {
            Err(Illegal)
        }
    }

    fn over(self) -> Self {
        Self {
            state: State::Closed,
            ..self
        }
    }

    /// Whether another session at its device has to wait.
    #[must_use]
    pub fn blocks(&self, now: Timestamp) -> bool {
        self.state != State::Closed && now < self.until
    }

    /// Where it is closed, if it is open as far as anybody knows.
    #[must_use]
    pub fn location(&self) -> Option<SessionUrl> {
        match &self.state {
            State::Open { location } | State::Closing { location } => SessionUrl::kept(location).ok(),
            State::Opening | State::Lost | State::Closed => None,
        }
    }

    /// The message that has it closed when its time is over and nobody has done it before. It is sent before Ring is asked.
    #[must_use]
    pub fn close_message(&self, now: Timestamp) -> Message {
        let close = Close {
            account_id: self.account_id.clone(),
            session_id: self.id.clone(),
        };
        let body = serde_json::json!({ "close_session": close }).to_string();
        let left = Duration::try_from(self.until.duration_since(now)).unwrap_or_default();
        Message::new(body)
            .group(event::account_key(&self.account_id))
            .delay(left)
    }
}

/// Which session is to be closed, as it lies in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// Whose it is.
    pub account_id: AccountId,
    /// Its id.
    pub session_id: String,
}

/// That all sessions of a device are to be closed that were opened before it went, as it lies in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseAll {
    /// Whose device.
    pub account_id: AccountId,
    /// Which device.
    pub device_id: DeviceId,
    /// What was opened later is left.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub opened_before: Timestamp,
}

impl CloseAll {
    /// Whether it means this session.
    #[must_use]
    pub fn is_of(&self, session: &Session) -> bool {
        session.of_device == self.device_id && session.since <= self.opened_before
    }

    /// The message that has them closed.
    #[must_use]
    pub fn message(&self) -> Message {
        let body = serde_json::json!({ "close_live": self }).to_string();
        Message::new(body).group(event::account_key(&self.account_id))
    }
}

/// What is known of how long a device's sessions last. Ring tells neither its power nor the limit; what its sessions did does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// The longest, in milliseconds, once that is known.
    pub longest_ms: Option<u64>,
    /// How many in a row ended by themselves where only a battery's would.
    pub early: u8,
}

impl Learned {
    /// How long a session lasts at the most; `usual` is that of a device of which nothing is known.
    #[must_use]
    pub fn longest(&self, usual: Duration) -> Duration {
        self.longest_ms.map_or(usual, Duration::from_millis)
    }

    /// What is known when a session has been looked at so long after it was opened, and was or was not open still.
    #[must_use]
    pub fn seen(self, lasted: Duration, was_open: bool) -> Self {
        let mains = u64::try_from(LONGEST_ON_MAINS.as_millis()).ok();
        let battery = u64::try_from(LONGEST_ON_BATTERY.as_millis()).ok();
        if lasted <= LONGEST_ON_BATTERY + MARGIN {
            return self;
        }
        if was_open {
            return Self {
                longest_ms: mains,
                early: 0,
            };
        }
        if lasted >= LONGEST_ON_MAINS {
            return self;
        }
        let early = self.early.saturating_add(1);
        let longest_ms = if early >= EARLY_ENDS { battery } else { self.longest_ms };
        Self { longest_ms, early }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).unwrap()
    }

    fn url() -> SessionUrl {
        SessionUrl::kept("https://api.amazonvision.com/s1").unwrap()
    }

    fn opening() -> Session {
        let (account, device) = (AccountId::new("a").unwrap(), DeviceId::new("d").unwrap());
        Session::opening("live_1".to_owned(), account, device, LONGEST, at(0))
    }

    #[test]
    fn a_session_is_opened_closed_and_over() {
        let open = opening().opened(&url(), LONGEST, at(2)).unwrap();
        assert_eq!((open.since, open.until), (at(2), at(67)));
        assert!(open.blocks(at(66)) && !open.blocks(at(67)));
        assert_eq!(open.location(), Some(url()));
        let closing = open.closing().unwrap();
        assert_eq!(closing.location(), Some(url()));
        let closed = closing.closed().unwrap();
        assert!(!closed.blocks(at(3)) && closed.location().is_none());
    }

    #[test]
    fn trap_94_one_whose_answer_was_lost_blocks_its_device_until_rings_own_limit() {
        // Found by whoever comes after a crash: Ring may have opened it at the end of its time for that.
        let opening = opening();
        assert!(opening.blocks(at(79)) && !opening.blocks(at(80)));
        let lost = opening.lost(LONGEST, at(15)).unwrap();
        assert!(lost.blocks(at(79)) && !lost.blocks(at(80)));
        assert_eq!(lost.clone().closing(), Err(Illegal));
        assert_eq!(lost.clone().ended(at(79)), Err(Illegal));
        assert_eq!(lost.ended(at(80)).unwrap().state, State::Closed);
    }

    #[test]
    fn what_was_refused_blocks_nothing() {
        assert!(!opening().refused().unwrap().blocks(at(0)));
        let open = opening().opened(&url(), LONGEST, at(0)).unwrap();
        assert_eq!(open.refused(), Err(Illegal));
    }

    #[test]
    fn trap_93_a_devices_limit_is_learned_from_how_long_its_sessions_last() {
        let seconds = Duration::from_secs;
        let usual = LONGEST;
        let known = Learned::default();
        assert_eq!(known.longest(usual), usual);
        // Closed early by us: nothing is known.
        assert_eq!(known.seen(seconds(20), true), known);
        assert_eq!(known.seen(seconds(20), false), known);
        assert_eq!(known.seen(seconds(75), false), known);
        // Motion may have started two of them.
        let twice = known.seen(seconds(40), false).seen(seconds(50), false);
        assert_eq!(twice.longest(usual), usual);
        assert_eq!(twice.seen(seconds(41), false).longest(usual), LONGEST_ON_BATTERY);
        // One that is open still has the last word.
        let mains = twice.seen(seconds(41), false).seen(seconds(45), true);
        assert_eq!(mains.longest(seconds(30)), LONGEST_ON_MAINS);
        assert_eq!(mains.seen(seconds(40), false).longest(usual), LONGEST_ON_MAINS);
    }

    #[test]
    fn a_session_is_read_back_as_it_was_written() {
        for session in [
            opening(),
            opening().opened(&url(), LONGEST, at(1)).unwrap(),
            opening().lost(LONGEST, at(1)).unwrap(),
            opening().recorded_for(Some(MediumId::from("med_1".to_owned()))),
        ] {
            let text = serde_json::to_string(&session).unwrap();
            assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), session, "{text}");
            assert!(
                !text.contains("\"device_id\""),
                "an index over devices would take it for one: {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_order_of_steps_opens_what_is_closed_or_frees_what_may_be_open(steps in prop::collection::vec((0..6_u8, 0..100_i64), 1..12)) {
            let (mut session, mut now) = (opening(), 0);
            for (step, later) in steps {
                now += later;
                let before = session.clone();
                let next = match step {
                    0 => session.clone().opened(&url(), LONGEST, at(now)),
                    1 => session.clone().lost(LONGEST, at(now)),
                    2 => session.clone().refused(),
                    3 => session.clone().closing(),
                    4 => session.clone().closed(),
                    _ => session.clone().ended(at(now)),
                };
                session = next.unwrap_or(session);
                if before.state == State::Closed {
                    prop_assert_eq!(&session, &before);
                }
                if matches!(before.state, State::Lost | State::Open { .. }) && session.state == State::Closed {
                    prop_assert!(at(now) >= before.until, "{:?}", before);
                }
            }
        }
    }
}
