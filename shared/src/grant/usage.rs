//! How often the access token of each grant is opened. Whoever has made their way into a program, or a page that never stops
//! asking, shows here first: one account is used as no household uses it. It is said in the log, once an hour for each grant;
//! a grant is never the dimension of a metric.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::GrantId;

/// So often one process opens the token of one grant in an hour, and not more often. Events open hardly any; listings, media and live
/// video of a house full of devices that somebody watches all the time are some three hundred.
const USUAL_IN_AN_HOUR: u32 = 600;
/// The most grants that are counted at once. A process has an hour's work with fewer.
const MOST_GRANTS: usize = 10_000;
const HOUR_SECONDS: i64 = 3600;

/// What one process has opened within the hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    hour: Arc<Mutex<Hour>>,
}

#[derive(Debug, Default)]
struct Hour {
    since_epoch: i64,
    opened: BTreeMap<GrantId, u32>,
}

impl Usage {
    /// Counts one more opening. Where that makes it unusual, the log says so, and no more within this hour.
    pub(super) fn one_more(&self, grant: &GrantId, now: Timestamp) {
        if self.is_first_unusual(grant, now) {
            tracing::warn!(
                alarm = "token_used_unusually",
                grant.id = grant.as_str(),
                opened = USUAL_IN_AN_HOUR + 1,
                "the token of grant {grant} is used more often than an account needs"
            );
        }
    }

    fn is_first_unusual(&self, grant: &GrantId, now: Timestamp) -> bool {
        let since_epoch = now.as_second().div_euclid(HOUR_SECONDS);
        let mut hour = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
        if hour.since_epoch != since_epoch {
            *hour = Hour {
                since_epoch,
                opened: BTreeMap::new(),
            };
        }
        if let Some(opened) = hour.opened.get_mut(grant) {
            *opened = opened.saturating_add(1);
            return *opened == USUAL_IN_AN_HOUR + 1;
        }
        if hour.opened.len() < MOST_GRANTS {
            hour.opened.insert(grant.clone(), 1);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_770_001_200 + seconds).unwrap()
    }

    #[test]
    fn a_grant_that_is_used_more_than_usual_within_an_hour_is_told_of_once() {
        let (usage, busy, other) = (Usage::default(), GrantId::new(1), GrantId::new(2));
        let told = |grant: &GrantId, times: u32, seconds: i64| {
            let told = (0..times).filter(|_| usage.is_first_unusual(grant, at(seconds)));
            told.count()
        };
        assert_eq!(told(&busy, USUAL_IN_AN_HOUR, 0), 0);
        assert_eq!(told(&other, USUAL_IN_AN_HOUR, 1), 0);
        assert_eq!(told(&busy, 1, 2), 1);
        assert_eq!(told(&busy, 5_000, 3), 0);
        assert_eq!(told(&busy, USUAL_IN_AN_HOUR, HOUR_SECONDS), 0, "another hour");
        assert_eq!(told(&busy, 2, HOUR_SECONDS + 1), 1);
    }

    #[test]
    fn who_is_counted_is_bounded() {
        let usage = Usage::default();
        for number in 0..u128::try_from(MOST_GRANTS).unwrap() + 100 {
            assert!(!usage.is_first_unusual(&GrantId::new(number), at(0)));
        }
        assert_eq!(usage.hour.lock().unwrap().opened.len(), MOST_GRANTS);
    }
}
