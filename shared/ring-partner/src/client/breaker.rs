//! A circuit breaker: after some failures in a row a class of endpoints is left alone for a while, then tried with one
//! request. A pure state machine; the time is passed in. Ring: Error Handling, Error Recovery Strategies.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Breaker {
    failures_to_open: u32,
    cool_down: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One request is out to see whether things are well again. If nothing is heard of it (its caller may have gone),
    /// another one may try after `until`.
    Trying {
        until: Instant,
    },
}

impl Breaker {
    pub(super) fn new(failures_to_open: u32, cool_down: Duration) -> Self {
        Self {
            failures_to_open,
            cool_down,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether a request may go out now; if not, how long until one may.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::Trying { until } if now < until => Err(until - now),
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying {
                    until: now + self.cool_down,
                };
                Ok(())
            }
        }
    }

    /// Takes note of how a request went. True if this opened the circuit.
    pub(super) fn record(&mut self, now: Instant, well: bool) -> bool {
        let opened = State::Open {
            until: now + self.cool_down,
        };
        let (state, opens) = match self.state {
            _ if well => (State::Closed { failures: 0 }, false),
            State::Closed { failures } if failures + 1 < self.failures_to_open => {
                (State::Closed { failures: failures + 1 }, false)
            }
            State::Closed { .. } | State::Trying { .. } => (opened, true),
            // One that was under way when the circuit opened: no news.
            State::Open { until } => (State::Open { until }, false),
        };
        self.state = state;
        opens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOL_DOWN: Duration = Duration::from_secs(10);

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new(3, COOL_DOWN), Instant::now())
    }

    fn opened() -> (Breaker, Instant) {
        let (mut breaker, now) = breaker();
        for opens in [false, false, true] {
            assert_eq!(breaker.admit(now), Ok(()));
            assert_eq!(breaker.record(now, false), opens);
        }
        (breaker, now)
    }

    #[test]
    fn failures_in_a_row_open_the_circuit_for_a_while() {
        let (mut breaker, now) = opened();
        assert_eq!(breaker.admit(now), Err(COOL_DOWN));
        assert_eq!(breaker.admit(now + COOL_DOWN / 4), Err(COOL_DOWN * 3 / 4));
        assert_eq!(breaker.admit(now + COOL_DOWN), Ok(()));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let (mut breaker, now) = breaker();
        for well in [false, false, true, false, false] {
            assert!(!breaker.record(now, well));
        }
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn one_request_tries_and_the_others_wait_for_it() {
        let (mut breaker, now) = opened();
        let later = now + COOL_DOWN;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), Err(COOL_DOWN));
        assert!(!breaker.record(later, true));
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn a_try_that_fails_opens_the_circuit_again() {
        let (mut breaker, now) = opened();
        let later = now + COOL_DOWN * 2;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.record(later, false));
        assert_eq!(breaker.admit(later), Err(COOL_DOWN));
    }

    #[test]
    fn a_try_whose_caller_has_gone_does_not_keep_the_circuit_open() {
        let (mut breaker, now) = opened();
        assert_eq!(breaker.admit(now + COOL_DOWN), Ok(()));
        assert_eq!(breaker.admit(now + COOL_DOWN * 2), Ok(()));
    }

    #[test]
    fn late_failures_do_not_prolong_an_open_circuit() {
        let (mut breaker, now) = opened();
        assert!(!breaker.record(now + COOL_DOWN / 2, false));
        assert_eq!(breaker.admit(now + COOL_DOWN), Ok(()));
    }

    proptest! {
        #[test]
        fn no_history_closes_it_to_requests_for_longer_than_a_cool_down(
            history in prop::collection::vec((0..20_u64, any::<bool>(), any::<bool>()), 0..60),
        ) {
            let (mut breaker, mut now) = breaker();
            for (seconds, asks, well) in history {
                now += Duration::from_secs(seconds);
                if asks {
                    if let Err(wait) = breaker.admit(now) {
                        prop_assert!(wait <= COOL_DOWN);
                    }
                } else {
                    breaker.record(now, well);
                }
            }
            prop_assert!(breaker.admit(now + COOL_DOWN).is_ok());
        }
    }
}
