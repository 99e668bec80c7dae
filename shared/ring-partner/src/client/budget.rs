//! How many requests a second leave this process, and the pause that Ring can ask for. Ring: Rate Limiting.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::sleep;

use crate::error::NotSent;

/// The longest pause that an answer can ask for: a header gone wrong must not silence the process for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

pub(super) struct Budget {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    paused_until: Mutex<Option<Instant>>,
    longest_wait: Duration,
}

impl Budget {
    pub(super) fn new(per_second: NonZeroU32, longest_wait: Duration) -> Self {
        Self {
            limiter: RateLimiter::direct(Quota::per_second(per_second)),
            clock: DefaultClock::default(),
            paused_until: Mutex::new(None),
            longest_wait,
        }
    }

    /// Waits for leave to send one request. Where that would take too long it says so at once.
    pub(super) async fn take(&self) -> Result<(), NotSent> {
        let mut left = self.longest_wait;
        while let Some(wait) = self.wait(Instant::now()) {
            left = left.checked_sub(wait).ok_or(NotSent::BudgetSpent(wait))?;
            sleep(wait).await;
        }
        Ok(())
    }

    /// Ring has answered 429: its limit holds for all that this partner asks, so everything waits.
    pub(super) fn pause(&self, now: Instant, wait: Duration) {
        let until = now + wait.min(LONGEST_PAUSE);
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |already| already.max(until)));
    }

    /// Takes a place, or tells how long there will be none.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = paused
            .and_then(|until| until.checked_duration_since(now))
            .filter(|wait| !wait.is_zero())
        {
            return Some(wait);
        }
        *paused = None;
        drop(paused);
        self.limiter
            .check()
            .err()
            .map(|not_until| not_until.wait_time_from(self.clock.now()).max(Duration::from_millis(1)))
    }
}
