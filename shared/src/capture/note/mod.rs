//! What a recorder notes down of its live sessions before it opens them: whoever goes on with a capture whose recorder died
//! closes what is open, and waits out what may be. This file does no I/O; [`store`] keeps the notes.

use jiff::Timestamp;
use ring_partner::whep::SessionUrl;
use serde::{Deserialize, Serialize};

use crate::media::MediumId;

pub mod store;

/// A session that is open at Ring, or may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The capture that it is for.
    pub medium_id: MediumId,
    /// Tells it from the others of the capture.
    pub name: String,
    /// Where it is closed; `None`: Ring has not said, or not been asked yet.
    pub url: Option<String>,
    /// By when it has ended by itself, in epoch milliseconds.
    pub ends_at: i64,
}

/// What is to be done about a session that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is to be closed here.
    Close(SessionUrl),
    /// Nobody knows where. No other one is opened before this.
    WaitUntil(Timestamp),
    /// It has ended by itself.
    Nothing,
}

impl Note {
    /// What is to be done about it at `now`. One that has ended by itself needs no closing.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Left {
        let Some(ends_at) = Timestamp::from_millisecond(self.ends_at)
            .ok()
            .filter(|ends_at| now < *ends_at)
        else {
            return Left::Nothing;
        };
        let url = self.url.as_deref().and_then(|url| SessionUrl::kept(url).ok());
        url.map_or(Left::WaitUntil(ends_at), Left::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_94_a_session_that_was_left_is_closed_or_waited_out_or_over() {
        let note = |url: Option<&str>| Note {
            medium_id: MediumId::from("med_1".to_owned()),
            name: "1".to_owned(),
            url: url.map(str::to_owned),
            ends_at: 60_000,
        };
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        assert!(matches!(note(Some("https://ring.test/s1")).left(at(1)), Left::Close(_)));
        assert_eq!(note(None).left(at(1)), Left::WaitUntil(at(60_000)));
        assert_eq!(note(None).left(at(60_000)), Left::Nothing);
        assert_eq!(note(Some("https://ring.test/s1")).left(at(60_000)), Left::Nothing);
    }
}
