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
