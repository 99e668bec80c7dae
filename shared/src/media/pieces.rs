//! A clip in pieces: what is too slow to come in one go is asked for in halves, and the end that a part of it lacks once more
//! later. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Object, Window};

/// A piece is never asked for that is shorter than this, in milliseconds.
const SHORTEST: i64 = 5_000;
/// A clip is cut into so many pieces at most: each may take as long as a function may run.
const MOST_PIECES: i64 = 16;
/// An end that lacks less than this is none that is worth asking for, in milliseconds.
const WORTH_ASKING: i64 = 1_000;
/// The end of a clip that Ring had not all of is asked for again after this, once: it may have been on its way.
pub const TAIL_AFTER: Duration = Duration::from_secs(180);

/// A clip that comes in pieces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pieces {
    /// What is stored of it, in order of time.
    pub parts: Vec<Part>,
    /// What is still to be asked for, in order of time.
    pub left: Vec<Window>,
    /// How the first part that came is described, but for what is each part's own.
    pub like: Option<Box<Object>>,
}

/// A part of a clip that is an object of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Where it lies in the bucket.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// What was asked for.
    pub requested: Window,
    /// What it truly shows; `None` where nothing tells.
    pub actual: Option<Window>,
    /// Whether it is less than what was asked for.
    pub partial: bool,
    /// Ring's id of the request.
    pub ring_request_id: Option<String>,
}

impl Window {
    /// Where it ends, in epoch milliseconds.
    #[must_use]
    pub fn end(self) -> i64 {
        self.timestamp.saturating_add(self.duration)
    }

    /// Its two halves, of a clip that was asked for as `whole`; `None`: it is as short as it may be.
    #[must_use]
    pub fn halves(self, whole: Self) -> Option<[Self; 2]> {
        let shortest = SHORTEST.max(whole.duration / MOST_PIECES);
        let duration = self.duration / 2;
        let second = Self {
            timestamp: self.timestamp + duration,
            duration: self.duration - duration,
        };
        (duration >= shortest).then_some([Self { duration, ..self }, second])
    }

    /// What lacks at the end, where `actual` came for this window; `None`: nothing that is worth asking for.
    #[must_use]
    pub fn tail(self, actual: Self) -> Option<Self> {
        let begins = actual.end().max(self.timestamp);
        let tail = Self {
            timestamp: begins,
            duration: self.end() - begins,
        };
        (tail.duration >= WORTH_ASKING).then_some(tail)
    }
}

impl Pieces {
    /// All of a clip, in one piece that is still to be asked for.
    #[must_use]
    pub fn of(whole: Window) -> Self {
        Self {
            left: vec![whole],
            ..Self::default()
        }
    }

    /// The next piece is too slow: its halves are asked for in its place. Where it can't be halved it is left out, which is
    /// `false`.
    pub fn halve(&mut self, whole: Window) -> bool {
        if self.left.is_empty() {
            return false;
        }
        let slow = self.left.remove(0);
        match slow.halves(whole) {
            Some(halves) => {
                self.left.splice(0..0, halves);
                true
            }
            None => false,
        }
    }

    /// The next piece is stored.
    pub fn stored(&mut self, part: Part) {
        self.left.retain(|window| *window != part.requested);
        self.parts.retain(|stored| stored.key != part.key);
        self.parts.push(part);
        self.parts.sort_by_key(|part| part.requested.timestamp);
    }
}

impl Object {
    /// It as a part of what was asked for as `requested`.
    #[must_use]
    pub fn part(&self, requested: Window) -> Part {
        Part {
            key: self.key.clone(),
            bytes: self.bytes,
            sha256: self.sha256.clone(),
            requested,
            actual: self.actual,
            partial: self.partial,
            ring_request_id: self.ring_request_id.clone(),
        }
    }

    /// What parts like this are together, where `asked` was asked for; `None`: there is no part.
    #[must_use]
    pub fn of_parts(self, parts: Vec<Part>, asked: Window) -> Option<Self> {
        let first = parts.first()?;
        Some(Self {
            key: first.key.clone(),
            bytes: first.bytes,
            sha256: first.sha256.clone(),
            ring_request_id: first.ring_request_id.clone(),
            actual: shown(&parts),
            partial: lack(&parts, asked),
            tail: None,
            parts,
            ..self
        })
    }
}

/// What parts show together: from the start of the first to the end of the last.
#[must_use]
pub fn shown(parts: &[Part]) -> Option<Window> {
    let shown = || parts.iter().filter_map(|part| part.actual);
    let timestamp = shown().map(|window| window.timestamp).min()?;
    let end = shown().map(Window::end).max()?;
    Some(Window {
        timestamp,
        duration: end - timestamp,
    })
}

/// Whether parts are less than what was asked for together: one is itself, or something between two of them, or at an end,
/// lacks.
#[must_use]
pub fn lack(parts: &[Part], asked: Window) -> bool {
    let mut at = asked.timestamp;
    for part in parts {
        let Some(actual) = part.actual else { return true };
        if actual.timestamp - at >= WORTH_ASKING {
            return true;
        }
        at = at.max(actual.end());
    }
    asked.end() - at >= WORTH_ASKING
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(timestamp: i64, duration: i64) -> Window {
        Window { timestamp, duration }
    }

    fn part(requested: Window, actual: Window) -> Part {
        Part {
            key: format!("m.{}.mp4", requested.timestamp),
            bytes: 1,
            sha256: String::new(),
            requested,
            actual: Some(actual),
            partial: requested != actual,
            ring_request_id: None,
        }
    }

    #[test]
    fn what_is_too_slow_is_halved_until_it_is_as_short_as_it_may_be() {
        let whole = window(1_000, 20_000);
        let mut pieces = Pieces::of(whole);
        assert!(pieces.halve(whole));
        assert_eq!(pieces.left, [window(1_000, 10_000), window(11_000, 10_000)]);
        assert!(pieces.halve(whole));
        assert_eq!(pieces.left[..2], [window(1_000, 5_000), window(6_000, 5_000)]);
        assert!(!pieces.halve(whole), "it is left out");
        assert_eq!(pieces.left, [window(6_000, 5_000), window(11_000, 10_000)]);
        assert!(!Pieces::default().halve(whole));
    }

    #[test]
    fn the_end_that_lacks_is_what_was_asked_for_and_did_not_come() {
        let asked = window(0, 10_000);
        assert_eq!(asked.tail(window(2_000, 3_000)), Some(window(5_000, 5_000)));
        assert_eq!(asked.tail(window(-3_000, 9_001)), Some(window(6_001, 3_999)));
        assert_eq!(asked.tail(window(0, 9_001)), None);
        assert_eq!(asked.tail(window(0, 60_000)), None);
    }

    #[test]
    fn parts_are_the_whole_when_nothing_lacks_between_them() {
        let asked = window(0, 10_000);
        let (first, second) = (window(0, 4_000), window(4_000, 6_000));
        let both = [part(first, first), part(second, second)];
        assert!(!lack(&both, asked));
        assert_eq!(shown(&both), Some(asked));
        assert!(lack(&both[..1], asked) && lack(&both[1..], asked) && lack(&[], asked));
        let late = [both[0].clone(), part(second, window(6_000, 4_000))];
        assert!(lack(&late, asked), "there is a gap of two seconds");
        assert_eq!(shown(&late), Some(asked));
    }

    #[test]
    fn a_part_that_is_stored_twice_is_one_part() {
        let whole = window(0, 20_000);
        let mut pieces = Pieces::of(whole);
        pieces.halve(whole);
        let [first, second] = [pieces.left[0], pieces.left[1]];
        pieces.stored(part(second, second));
        pieces.stored(part(first, first));
        pieces.stored(part(first, first));
        assert!(pieces.left.is_empty());
        assert_eq!(pieces.parts.len(), 2);
        assert!(!lack(&pieces.parts, whole));
    }

    proptest! {
        #[test]
        fn however_slow_it_is_a_clip_is_asked_for_in_few_pieces_that_are_all_of_it(
            duration in 1_i64..900_000, slow in proptest::collection::vec(any::<bool>(), 0..64),
        ) {
            let whole = window(1_770_000_000_000, duration);
            let mut pieces = Pieces::of(whole);
            let (mut asked, mut left_out) = (0, 0);
            let mut slow = slow.into_iter().chain(std::iter::repeat(false));
            while let Some(next) = pieces.left.first().copied() {
                asked += 1;
                if slow.next().unwrap_or_default() {
                    left_out += i32::from(!pieces.halve(whole));
                } else {
                    pieces.stored(part(next, next));
                }
            }
            prop_assert!(asked < 2 * MOST_PIECES, "{asked}");
            prop_assert_eq!(lack(&pieces.parts, whole), duration >= WORTH_ASKING && left_out > 0);
        }
    }
}
