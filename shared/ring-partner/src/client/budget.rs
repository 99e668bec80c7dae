//! How many requests a second leave this process, and the pause that Ring can ask for. Ring: Rate Limiting.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::sleep;

use crate::error::NotSent;

/// The longest pause that an answer can ask for: a header gone wrong must not silence the process for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Ring has not said lately how many requests are left.
const NOTHING_SAID: u32 = u32::MAX;

pub(super) struct Budget {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    paused_until: Mutex<Option<Instant>>,
    longest_wait: Duration,
    /// The fewest that Ring has said to be left, `NOTHING_SAID` for none.
    lowest: AtomicU32,
}

impl Budget {
    /// The even part of one among `shared_by` processes that have `per_second` requests together. What it may send at once
    /// is a second's worth, one request at least.
    pub(super) fn new(per_second: NonZeroU32, shared_by: NonZeroU32, longest_wait: Duration) -> Self {
        let period = Duration::from_secs(1) * shared_by.get() / per_second.get();
        let burst = NonZeroU32::new(per_second.get() / shared_by.get()).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(per_second));
        Self {
            limiter: RateLimiter::direct(quota.allow_burst(burst)),
            clock: DefaultClock::default(),
            paused_until: Mutex::new(None),
            longest_wait,
            lowest: AtomicU32::new(NOTHING_SAID),
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

    /// Ring has said that so many requests are left in its window.
    pub(super) fn left(&self, requests: u32) {
        self.lowest.fetch_min(requests, Ordering::Relaxed);
    }

    /// The fewest that were left at any time since this was last asked; `None`: Ring has not said.
    pub(super) fn take_lowest(&self) -> Option<u32> {
        let lowest = self.lowest.swap(NOTHING_SAID, Ordering::Relaxed);
        (lowest != NOTHING_SAID).then_some(lowest)
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn budget(per_second: u32, longest_wait: Duration) -> Budget {
        shared(per_second, 1, longest_wait)
    }

    fn shared(per_second: u32, shared_by: u32, longest_wait: Duration) -> Budget {
        let some = |number| NonZeroU32::new(number).unwrap();
        Budget::new(some(per_second), some(shared_by), longest_wait)
    }

    #[test]
    fn the_fewest_requests_that_were_left_are_told_once() {
        let budget = budget(10, MINUTE);
        assert_eq!(budget.take_lowest(), None);
        for left in [40, 7, 99] {
            budget.left(left);
        }
        assert_eq!((budget.take_lowest(), budget.take_lowest()), (Some(7), None));
    }

    #[tokio::test]
    async fn processes_that_share_a_budget_take_an_even_part_each() {
        let budget = shared(30, 300, Duration::from_secs(1));
        budget.take().await.unwrap();
        assert!(
            matches!(budget.take().await, Err(NotSent::BudgetSpent(wait)) if wait > Duration::from_secs(9)),
            "a tenth of a request each second, and no more at once than one"
        );
    }

    #[tokio::test]
    async fn a_second_has_so_many_requests_and_the_next_one_waits() {
        let budget = budget(20, MINUTE);
        let start = Instant::now();
        for _ in 0..20 {
            budget.take().await.unwrap();
        }
        let burst = start.elapsed();
        for _ in 0..5 {
            budget.take().await.unwrap();
        }
        assert!(burst < Duration::from_millis(200), "{burst:?}");
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn trap_73_a_wait_that_is_too_long_is_told_and_not_slept() {
        let budget = budget(1, Duration::from_millis(10));
        budget.take().await.unwrap();
        let start = Instant::now();
        assert!(matches!(budget.take().await, Err(NotSent::BudgetSpent(wait)) if wait > Duration::from_millis(500)));
        assert!(start.elapsed() < Duration::from_millis(300));
    }

    #[tokio::test]
    async fn trap_71_a_pause_that_ring_asks_for_holds_for_everything_and_has_a_bound() {
        let budget = budget(100, Duration::from_secs(1));
        let now = Instant::now();
        budget.pause(now, MINUTE);
        budget.pause(now, Duration::from_secs(1));
        assert!(matches!(budget.take().await, Err(NotSent::BudgetSpent(wait)) if wait > MINUTE / 2));
        assert_eq!(budget.wait(now + MINUTE), None);
        budget.pause(now, Duration::from_secs(u32::MAX.into()));
        assert_eq!(budget.wait(now), Some(LONGEST_PAUSE));
        assert_eq!(budget.wait(now + LONGEST_PAUSE), None);
    }
}
