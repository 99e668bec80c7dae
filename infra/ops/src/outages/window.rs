//! Signs of failing Ring, merged into windows; and which events Ring gives up because of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Where a sign was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// The intake said so itself.
    IntakeLog,
    /// The gateway answered so.
    GatewayLog,
    /// It was counted.
    Metrics,
}

/// A sign that Ring was failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    /// When; a metric knows the minute.
    pub(super) at: Timestamp,
    /// How often.
    pub(super) count: u64,
    /// Where it was found.
    pub(super) source: Source,
    /// Why, in a word.
    pub(super) why: Option<String>,
}

/// A run of minutes with such signs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Window {
    /// The first sign.
    pub(super) from: Timestamp,
    /// The end of the last minute that has one.
    pub(super) until: Timestamp,
    /// How many were found, by where: one failed answer may be found in each.
    pub(super) failed: BTreeMap<Source, u64>,
    /// Why, in a word each.
    pub(super) why: BTreeSet<String>,
}

const MINUTE: i64 = 60;

fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(MINUTE)
}

fn start_of(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * MINUTE).unwrap_or(Timestamp::MAX)
}

/// Merges signs of all sources: minutes that follow one another are one window, and the first minute without a sign ends it.
pub(super) fn windows(mut signs: Vec<Sign>) -> Vec<Window> {
    signs.retain(|sign| sign.count > 0);
    signs.sort_by_key(|sign| sign.at);
    let mut windows: Vec<Window> = Vec::new();
    let mut last_minute = None;
    for sign in signs {
        let minute = minute_of(sign.at);
        let follows = last_minute.is_some_and(|last| minute <= last + 1);
        last_minute = Some(minute);
        let end = start_of(minute + 1);
        let window = match windows.last_mut().filter(|_| follows) {
            Some(window) => window,
            None => {
                windows.push(Window {
                    from: sign.at,
                    until: end,
                    failed: BTreeMap::new(),
                    why: BTreeSet::new(),
                });
                windows.last_mut().expect("one was pushed")
            }
        };
        window.until = end;
        *window.failed.entry(sign.source).or_default() += sign.count;
        window.why.extend(sign.why);
    }
    windows
}

/// How long after the first one each of Ring's tries comes. Ring: Webhook Response Handling, Retry Schedule.
const TRIES: [i64; 7] = [0, 1, 6, 36, 156, 756, 4_356];
/// From the first to the last.
pub(super) const TRIES_LAST: SignedDuration = SignedDuration::from_secs(4_356);
/// A wait begins when the try before has ended, and Ring waits for an answer for so long.
const A_TRY_LASTS: i64 = 5;

/// The first tries of the earliest and the latest event of this window that Ring may have given up: all of its tries may have
/// fallen into windows. `None`: of each event one has not, so that it has come.
pub(super) fn given_up(window: &Window, all: &[Window]) -> Option<(Timestamp, Timestamp)> {
    let seconds: Vec<(i64, i64)> = all
        .iter()
        .map(|window| (window.from.as_second(), window.until.as_second()))
        .collect();
    // A try comes between the schedule's time and so much later, as each before it may have lasted.
    let fell = |first: i64, number: usize| {
        let from = first + TRIES[number];
        let to = from + A_TRY_LASTS * i64::try_from(number).unwrap_or(i64::MAX);
        let after = seconds.partition_point(|(_, until)| *until <= from);
        seconds.get(after).is_some_and(|(begins, _)| *begins <= to)
    };
    let mut first_tries = window.from.as_second()..window.until.as_second();
    // The last try first: it is the one that mostly fell outside.
    let is_given_up = |first: &i64| (0..TRIES.len()).rev().all(|number| fell(*first, number));
    let first = first_tries.clone().find(is_given_up)?;
    let last = first_tries.rfind(is_given_up)?;
    Some((Timestamp::from_second(first).ok()?, Timestamp::from_second(last).ok()?))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IntakeLog => "the intake's log",
            Self::GatewayLog => "the gateway's log",
            Self::Metrics => "metrics",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-25T{text}Z").parse().unwrap()
    }

    fn sign(text: &str, source: Source, why: &str) -> Sign {
        Sign {
            at: at(text),
            count: 1,
            source,
            why: (!why.is_empty()).then(|| why.to_owned()),
        }
    }

    fn window(from: &str, until: &str) -> Window {
        Window {
            from: at(from),
            until: at(until),
            failed: BTreeMap::new(),
            why: BTreeSet::new(),
        }
    }

    #[test]
    fn signs_of_all_sources_make_one_window_until_the_next_quiet_minute() {
        let signs = vec![
            sign("10:02:00", Source::Metrics, ""),
            sign("10:00:31.5", Source::IntakeLog, "queue_out_of_reach"),
            sign("10:01:10", Source::GatewayLog, ""),
            sign("10:00:00", Source::Metrics, ""),
            sign("10:04:00", Source::Metrics, "throttled"),
        ];
        let found = windows(signs);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].from, found[0].until), (at("10:00:00"), at("10:03:00")));
        assert_eq!(
            found[0].failed,
            [(Source::IntakeLog, 1), (Source::GatewayLog, 1), (Source::Metrics, 2)].into()
        );
        assert_eq!(found[0].why, ["queue_out_of_reach".to_owned()].into());
        assert_eq!((found[1].from, found[1].until), (at("10:04:00"), at("10:05:00")));
    }

    #[test]
    fn a_minute_in_which_nothing_failed_is_no_sign() {
        let none = Sign {
            count: 0,
            ..sign("10:00:00", Source::Metrics, "")
        };
        assert_eq!(windows(vec![none]), []);
    }

    #[test]
    fn where_a_log_knows_the_moment_the_window_begins_with_it() {
        let found = windows(vec![sign("10:00:31.5", Source::IntakeLog, "")]);
        assert_eq!((found[0].from, found[0].until), (at("10:00:31.5"), at("10:01:00")));
    }

    #[test]
    fn trap_62_ring_gives_an_event_up_only_where_all_seven_tries_fell_into_windows() {
        #[track_caller]
        fn check(windows: &[Window], given: Option<(&str, &str)>) {
            let given = given.map(|(first, last)| (at(first), at(last)));
            assert_eq!(given_up(&windows[0], windows), given);
        }
        // Its last try comes 72 min 36 s after the first, up to 30 s later.
        check(&[window("10:00:00", "10:40:00")], None);
        check(&[window("10:00:00", "11:12:36")], None);
        check(&[window("10:00:00", "11:12:37")], Some(("10:00:00", "10:00:00")));
        check(&[window("10:00:00", "12:00:00")], Some(("10:00:00", "10:47:23")));
        // Two short ones, of which the second has the last try.
        check(
            &[window("10:00:00", "10:20:00"), window("11:20:00", "11:25:00")],
            Some(("10:06:54", "10:07:23")),
        );
        // A gap between them in which a try came.
        check(&[window("10:00:00", "10:05:00"), window("11:12:00", "11:20:00")], None);
    }

    #[test]
    fn the_tries_are_rings_schedule() {
        let waits = [1, 5, 30, 120, 600, 3_600];
        let mut at = 0;
        for (wait, tried) in waits.iter().zip(&TRIES[1..]) {
            at += wait;
            assert_eq!(at, *tried);
        }
        assert_eq!(TRIES_LAST.as_secs(), TRIES[6]);
    }
}
