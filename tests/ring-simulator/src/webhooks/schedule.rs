//! When a webhook is tried again, and when no more (Ring: "Webhook Response Handling", "Retry Schedule").

use jiff::{SignedDuration, Timestamp};

/// The delays before attempts 2 to 7, each after the end of the attempt before it.
const DELAYS: [SignedDuration; 6] = [
    SignedDuration::from_secs(1),
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(30),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
];

/// How long the dead-letter queue keeps an event.
pub(super) const DEAD_LETTER_LIFE: SignedDuration = SignedDuration::from_hours(72);

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Delivered,
    /// For good: Ring takes a 4xx as the answer.
    Refused,
    Retry(Timestamp),
    DeadLetter,
}

/// What comes after attempt number `made`, counted from 1, that ended at `ended` with this status; none: no answer in time, or
/// no connection. The documentation is silent on 1xx and 3xx: a redirect is not followed and not tried again.
pub(super) fn next(made: usize, status: Option<u16>, ended: Timestamp) -> Next {
    match status {
        Some(200..=299) => Next::Delivered,
        Some(100..=499) => Next::Refused,
        _ => match made.checked_sub(1).and_then(|retries| DELAYS.get(retries)) {
            Some(delay) => Next::Retry(ended + *delay),
            None => Next::DeadLetter,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_47_seven_attempts_span_4356_seconds_and_then_it_is_a_dead_letter() {
        let start = Timestamp::UNIX_EPOCH;
        let mut ended = start;
        let mut delays = Vec::new();
        for made in 1..=6 {
            let Next::Retry(due) = next(made, Some(500), ended) else {
                panic!("attempt {made} is not the last")
            };
            delays.push(due.duration_since(ended).as_secs());
            ended = due;
        }
        assert_eq!(delays, [1, 5, 30, 120, 600, 3_600]);
        assert_eq!(ended.duration_since(start).as_secs(), 4_356);
        assert_eq!(next(7, Some(500), ended), Next::DeadLetter);
    }

    #[test]
    fn trap_42_a_status_decides_and_every_4xx_is_final() {
        #[track_caller]
        fn check(status: Option<u16>, expected: Next) {
            assert_eq!(next(1, status, Timestamp::UNIX_EPOCH), expected, "{status:?}");
        }
        let retry = Next::Retry(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1));
        for status in [200, 202, 204, 299] {
            check(Some(status), Next::Delivered);
        }
        for status in [301, 400, 401, 404, 408, 429, 499] {
            check(Some(status), Next::Refused);
        }
        for status in [500, 502, 503, 599] {
            check(Some(status), retry);
        }
        check(None, retry);
    }
}
