//! What a device recorded, and what of it answers a request. No I/O, and the time is passed in.

use serde::{Deserialize, Serialize};

use crate::error::MediaError;

/// A recording, from `start` to `end` in epoch milliseconds. What lies in the future is not recorded yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Footage {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Before this moment the recording exists, but can't be had: 425.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready_at: Option<i64>,
    /// The recording is damaged: 422.
    #[serde(default)]
    pub(crate) corrupt: bool,
}

/// A stretch of time that was recorded without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// A picture: when it was taken, and what from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) timestamp: i64,
    /// `recording` or `snapshot`.
    pub(crate) origin: &'static str,
}

impl Footage {
    fn covers(&self, moment: i64) -> bool {
        self.start <= moment && moment < self.end
    }

    /// What of it can be had now, if anything.
    fn available(&self, now: i64) -> Option<Window> {
        let end = self.end.min(now);
        (!self.corrupt && self.ready_at.is_none_or(|ready| ready <= now) && self.start < end)
            .then_some(Window { start: self.start, end })
    }
}

/// The first gapless stretch of the wanted window that was recorded.
pub(crate) fn clip(footage: &[Footage], wanted: Window, now: i64) -> Result<Window, MediaError> {
    if footage.iter().any(|piece| piece.corrupt && piece.covers(wanted.start)) {
        return Err(MediaError::corrupt());
    }
    let overlaps = |piece: Window| piece.start < wanted.end && wanted.start < piece.end;
    let mut pieces: Vec<Window> = footage
        .iter()
        .filter_map(|piece| piece.available(now))
        .filter(|piece| overlaps(*piece))
        .collect();
    pieces.sort_by_key(|piece| piece.start);
    let Some(first) = pieces.first() else {
        let recorded = |piece: &Footage| {
            !piece.corrupt
                && overlaps(Window {
                    start: piece.start,
                    end: piece.end,
                })
        };
        return Err(if footage.iter().any(recorded) {
            MediaError::not_ready()
        } else {
            MediaError::no_timestamp()
        });
    };
    let mut found = *first;
    for piece in &pieces[1..] {
        if piece.start <= found.end {
            found.end = found.end.max(piece.end);
        }
    }
    Ok(Window {
        start: found.start.max(wanted.start),
        end: found.end.min(wanted.end),
    })
}

/// The frame at a moment: out of a recording, else the last still before it.
pub(crate) fn frame_at(footage: &[Footage], stills: &[i64], moment: i64, now: i64) -> Result<Frame, MediaError> {
    let covering = || footage.iter().filter(|piece| piece.covers(moment));
    if covering()
        .filter_map(|piece| piece.available(now))
        .any(|piece| moment <= piece.end)
    {
        return Ok(Frame {
            timestamp: moment,
            origin: "recording",
        });
    }
    if covering().any(|piece| piece.corrupt) {
        return Err(MediaError::corrupt());
    }
    if covering().next().is_some() {
        return Err(MediaError::not_ready());
    }
    let still = stills.iter().copied().filter(|still| *still <= moment).max();
    still
        .map(|timestamp| Frame {
            timestamp,
            origin: "snapshot",
        })
        .ok_or_else(MediaError::no_media)
}

/// The newest frame in a window, both ends included.
pub(crate) fn latest(footage: &[Footage], stills: &[i64], wanted: Window, now: i64) -> Result<Frame, MediaError> {
    let recorded = footage
        .iter()
        .filter_map(|piece| piece.available(now))
        .filter(|piece| piece.start <= wanted.end && wanted.start < piece.end)
        .map(|piece| Frame {
            timestamp: (piece.end - 1).min(wanted.end),
            origin: "recording",
        });
    let stored = stills
        .iter()
        .filter(|still| (wanted.start..=wanted.end).contains(*still))
        .map(|still| Frame {
            timestamp: *still,
            origin: "snapshot",
        });
    recorded
        .chain(stored)
        .max_by_key(|frame| frame.timestamp)
        .ok_or_else(MediaError::no_media)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 100_000;

    fn piece(start: i64, end: i64) -> Footage {
        Footage {
            start,
            end,
            ready_at: None,
            corrupt: false,
        }
    }

    #[test]
    fn a_clip_is_whole_partial_or_says_why_not() {
        let late = Footage {
            ready_at: Some(NOW + 1),
            ..piece(50_000, 60_000)
        };
        let damaged = Footage {
            corrupt: true,
            ..piece(30_000, 40_000)
        };
        let footage = [
            piece(10_000, 20_000),
            piece(20_000, 25_000),
            damaged,
            late,
            piece(95_000, 110_000),
            piece(120_000, 130_000),
        ];
        #[track_caller]
        fn check(footage: &[Footage], start: i64, end: i64, expected: Result<(i64, i64), &str>) {
            let found = clip(footage, Window { start, end }, NOW);
            let found = found
                .map(|window| (window.start, window.end))
                .map_err(|error| error.code());
            assert_eq!(found, expected, "{start}..{end}");
        }
        check(&footage, 10_000, 25_000, Ok((10_000, 25_000))); // over the seam of two recordings
        check(&footage, 12_000, 13_000, Ok((12_000, 13_000)));
        check(&footage, 5_000, 12_000, Ok((10_000, 12_000))); // before recording started
        check(&footage, 24_000, 29_000, Ok((24_000, 25_000)));
        check(&footage, 96_000, 104_000, Ok((96_000, 100_000))); // beyond the current time
        check(&footage, 26_000, 29_000, Err("TIMESTAMP_NOT_FOUND"));
        check(&footage, 25_000, 26_000, Err("TIMESTAMP_NOT_FOUND")); // an end is not part of it
        check(&footage, 31_000, 32_000, Err("CORRUPT_RECORDING"));
        check(&footage, 51_000, 52_000, Err("RECORDING_NOT_READY"));
        check(&footage, 100_000, 101_000, Err("RECORDING_NOT_READY")); // under way, none of it recorded yet
        check(&[], 0, 1, Err("TIMESTAMP_NOT_FOUND"));
    }

    #[test]
    fn a_frame_comes_out_of_a_recording_or_is_the_last_still_before() {
        let footage = [
            piece(10_000, 20_000),
            Footage {
                corrupt: true,
                ..piece(30_000, 40_000)
            },
        ];
        let stills = [5_000, 25_000];
        #[track_caller]
        fn check(found: Result<Frame, MediaError>, expected: Result<(i64, &str), &str>) {
            let found = found
                .map(|frame| (frame.timestamp, frame.origin))
                .map_err(|error| error.code());
            assert_eq!(found, expected);
        }
        check(frame_at(&footage, &stills, 15_000, NOW), Ok((15_000, "recording")));
        check(frame_at(&footage, &stills, 9_000, NOW), Ok((5_000, "snapshot")));
        check(frame_at(&footage, &stills, 4_000, NOW), Err("MEDIA_NOT_FOUND"));
        check(frame_at(&footage, &stills, 35_000, NOW), Err("CORRUPT_RECORDING"));
        let range = |start, end| latest(&footage, &stills, Window { start, end }, NOW);
        check(range(0, 30_000), Ok((25_000, "snapshot")));
        check(range(0, 22_000), Ok((19_999, "recording")));
        check(range(0, 12_000), Ok((12_000, "recording")));
        check(range(0, 5_000), Ok((5_000, "snapshot")));
        check(range(26_000, 45_000), Err("MEDIA_NOT_FOUND"));
    }

    proptest! {
        #[test]
        fn a_found_clip_lies_within_what_was_wanted_and_what_was_recorded(
            pieces in proptest::collection::vec((0i64..200, 1i64..50), 0..8), start in 0i64..200, length in 1i64..60, now in 0i64..250,
        ) {
            let footage: Vec<Footage> = pieces.iter().map(|(start, length)| piece(*start, start + length)).collect();
            if let Ok(found) = clip(&footage, Window { start, end: start + length }, now) {
                prop_assert!(start <= found.start && found.start < found.end && found.end <= start + length && found.end <= now);
                for moment in found.start..found.end {
                    prop_assert!(footage.iter().any(|piece| piece.covers(moment)), "{} was not recorded", moment);
                }
            }
        }
    }
}
