//! Silence: when nothing has come for longer than is usual, from one account or from all. That is no fault which anything
//! reports: Ring delivers to somebody else, a subscription is gone, a camera's owner has moved. This file says what is usual and
//! what is too long; [`store`] keeps the pulse of all events, which each program beats at most once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::edge::clock::signed;

pub mod store;
mod watch;

pub use watch::Watch;

/// How often one process beats at most.
const BEAT_EACH: Duration = Duration::from_secs(60);
/// An hour.
const HOUR: i64 = 3_600;
/// Over how many days the usual is taken.
pub const DAYS: i64 = 7;
/// From so many whole days on there is a usual.
const LEAST_DAYS: i64 = 2;
/// A silence in which so many events would be usual is none by chance: were they independent, one in twenty thousand. They come in
/// bursts, which the length below allows for.
const MISSED_AT_LEAST: f64 = 10.0;
/// And it lasts for so long at least.
const LEAST: SignedDuration = SignedDuration::from_mins(15);

/// The events of one hour, from all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Which: hours since the epoch.
    pub number: i64,
    /// How many came.
    pub events: u64,
    /// When the last of them came.
    pub last_at: Timestamp,
}

/// How quiet everything is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// For how long nothing has come.
    pub lasts: SignedDuration,
    /// How many events would have been usual in that time.
    pub missed: f64,
}

impl Silence {
    /// Whether it is longer than is usual.
    #[must_use]
    pub fn is_unusual(&self) -> bool {
        self.lasts >= LEAST && self.missed >= MISSED_AT_LEAST
    }
}

/// The number of the hour that this is in.
#[must_use]
pub fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(HOUR)
}

/// How quiet everything is, by the hours of the last days. `None`: nothing ever came, or not for long enough to say what is usual.
///
/// Usual in an hour is what came in the same hour of the days before, on average: nights are quieter than evenings. The silence is
/// held against the usual of each hour that it has a part of.
#[must_use]
pub fn of_all(hours: &[Hour], now: Timestamp) -> Option<Silence> {
    let last_at = hours.iter().map(|hour| hour.last_at).max()?;
    let first = hours.iter().map(|hour| hour.number).min()?;
    let lasts = now.duration_since(last_at).max(SignedDuration::ZERO);
    // Against the days before the silence: its own emptiness is not what is usual.
    let days = ((hour_of(last_at) - first) / 24).min(DAYS);
    if days < LEAST_DAYS {
        return None;
    }
    let usual = |hour: i64| {
        let same = |day: i64| hours.iter().find(|known| known.number == hour - 24 * day);
        // A silence of more than a day has days of its own among those before: they are left out.
        let begun = |day: &i64| hour - 24 * day <= hour_of(last_at);
        let before: Vec<i64> = (1..=DAYS + 1)
            .filter(begun)
            .take(usize::try_from(days).unwrap_or(0))
            .collect();
        let events: u64 = before.iter().filter_map(|day| same(*day)).map(|hour| hour.events).sum();
        events as f64 / before.len().max(1) as f64
    };
    let (from, to) = (last_at.as_second(), now.as_second().max(last_at.as_second()));
    // Longer than this it need not be counted to be unusual.
    let to = to.min(from + DAYS * 24 * HOUR);
    let missed = (from.div_euclid(HOUR)..=to.div_euclid(HOUR)).map(|hour| {
        let part = (to.min((hour + 1) * HOUR) - from.max(hour * HOUR)).max(0);
        usual(hour) * part as f64 / HOUR as f64
    });
    Some(Silence {
        lasts,
        missed: missed.sum(),
    })
}

/// From so many events on there is a usual for one account.
const LEAST_EVENTS: usize = 20;
/// A home is not quiet before this: people sleep, and go away for a day.
const HOME_LEAST: SignedDuration = SignedDuration::from_hours(24);
/// And not before it was quiet for so many times the longest that it ever was.
const TIMES_THE_LONGEST: i32 = 2;

/// Whether one account is quiet for longer than is usual for it, by when its last events happened, newest first. For how long, if so.
#[must_use]
pub fn of_account(newest_first: &[Timestamp], now: Timestamp) -> Option<SignedDuration> {
    if newest_first.len() < LEAST_EVENTS {
        return None;
    }
    let lasts = now.duration_since(*newest_first.first()?);
    let gaps = newest_first.windows(2).map(|pair| pair[0].duration_since(pair[1]));
    let longest = gaps.max().unwrap_or(SignedDuration::ZERO);
    (lasts >= HOME_LEAST && lasts > longest * TIMES_THE_LONGEST).then_some(lasts)
}

/// What one process has seen since it last beat.
#[derive(Debug, Default)]
pub struct Heart(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    events: u64,
    beat_at: Option<Timestamp>,
}

impl Heart {
    /// So many events came. What is to be told now: all since the last beat, at most once a minute. What a process has seen when it
    /// ends, and has not told, is missing in the hour's sum.
    pub fn saw(&self, events: u64, now: Timestamp) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.events += events;
        let due = seen.beat_at.is_none_or(|beat| now >= beat + signed(BEAT_EACH));
        if seen.events == 0 || !due {
            return None;
        }
        seen.beat_at = Some(now);
        Some(std::mem::take(&mut seen.events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// So many events in each hour of the days before `until`, the last of them at `until`.
    fn steady(an_hour: impl Fn(i64) -> u64, days: i64, until: Timestamp) -> Vec<Hour> {
        let last = hour_of(until);
        let hours = (last - days * 24..=last).map(|number| Hour {
            number,
            events: an_hour(number.rem_euclid(24)),
            last_at: Timestamp::from_second(number * HOUR + HOUR - 1).unwrap().min(until),
        });
        hours.filter(|hour| hour.events > 0).collect()
    }

    #[test]
    fn trap_62_a_busy_stack_that_hears_nothing_for_a_quarter_of_an_hour_is_unusually_quiet() {
        let last = at("2026-11-25T12:00:00Z");
        let hours = steady(|_| 60, 8, last);
        let check = |now: &str, unusual: bool| {
            let silence = of_all(&hours, at(now)).unwrap();
            assert_eq!(silence.is_unusual(), unusual, "{now}: {silence:?}");
        };
        check("2026-11-25T12:00:30Z", false);
        check("2026-11-25T12:14:00Z", false);
        check("2026-11-25T12:15:00Z", true);
        check("2026-11-25T20:00:00Z", true);
        check("2026-11-28T20:00:00Z", true);
    }

    #[test]
    fn a_stack_with_few_events_may_be_quiet_for_longer() {
        let last = at("2026-11-25T12:00:00Z");
        let hours = steady(|_| 2, 8, last);
        assert!(!of_all(&hours, at("2026-11-25T16:30:00Z")).unwrap().is_unusual());
        assert!(of_all(&hours, at("2026-11-25T17:00:00Z")).unwrap().is_unusual());
    }

    #[test]
    fn a_quiet_night_is_usual_and_a_quiet_evening_is_not() {
        let day = |hour: i64| if (7..23).contains(&hour) { 100 } else { 0 };
        let night = at("2026-11-24T22:59:59Z");
        let hours = steady(day, 8, night);
        assert!(!of_all(&hours, at("2026-11-25T06:59:00Z")).unwrap().is_unusual());
        assert!(of_all(&hours, at("2026-11-25T07:10:00Z")).unwrap().is_unusual());
    }

    #[test]
    fn what_is_usual_is_not_known_before_some_days_and_of_nothing_never() {
        let last = at("2026-11-25T12:00:00Z");
        let hours = steady(|_| 60, 1, last);
        assert_eq!(of_all(&hours, at("2026-11-25T13:00:00Z")), None);
        assert_eq!(of_all(&[], last), None);
    }

    #[test]
    fn a_long_silence_does_not_become_the_usual_by_lasting() {
        let last = at("2026-11-18T12:00:00Z");
        let hours = steady(|_| 60, 8, last);
        // Six days later five of the days before are silent ones.
        let silence = of_all(&hours, at("2026-11-24T12:00:00Z")).unwrap();
        assert!(silence.is_unusual(), "{silence:?}");
    }

    #[test]
    fn an_account_is_quiet_when_it_was_never_quiet_for_nearly_as_long() {
        let newest = at("2026-11-20T08:00:00Z");
        let each = |hours: i64, count: i64| -> Vec<Timestamp> {
            (0..count)
                .map(|number| newest - SignedDuration::from_hours(hours * number))
                .collect()
        };
        let check = |events: &[Timestamp], now: &str, quiet: bool| {
            assert_eq!(of_account(events, at(now)).is_some(), quiet, "{now}");
        };
        check(&each(8, 50), "2026-11-21T07:00:00Z", false);
        check(&each(8, 50), "2026-11-21T08:00:00Z", true);
        // Away for five days at times: not before ten.
        check(&each(5 * 24, 30), "2026-11-30T07:00:00Z", false);
        check(&each(5 * 24, 30), "2026-11-30T09:00:00Z", true);
        check(&each(8, 19), "2026-12-20T08:00:00Z", false);
        check(&[], "2026-12-20T08:00:00Z", false);
    }

    #[test]
    fn a_process_tells_all_that_it_saw_and_at_most_once_a_minute() {
        let heart = Heart::default();
        let start = at("2026-11-25T12:00:00Z");
        let after = |seconds: i64| start + SignedDuration::from_secs(seconds);
        assert_eq!(heart.saw(0, start), None, "of nothing there is nothing to tell");
        assert_eq!(heart.saw(3, start), Some(3));
        assert_eq!(heart.saw(4, after(59)), None);
        assert_eq!(heart.saw(5, after(60)), Some(9));
        assert_eq!(heart.saw(0, after(500)), None);
    }
}
