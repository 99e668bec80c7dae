//! The simulator's clock: real time plus an offset that can be moved, or stopped hands. Codes, tokens, nonces, presigned
//! URLs, footage and the webhook schedule all live by it; the rate limit alone keeps real time.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::ring::lock;

/// A clock that runs ahead of (or behind) real time, or stands still.
pub(crate) struct Clock {
    hands: Mutex<Hands>,
    moved: watch::Sender<()>,
}

#[derive(Clone, Copy)]
enum Hands {
    Running { ahead: SignedDuration },
    Stopped { at: Timestamp },
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            hands: Mutex::new(Hands::Running {
                ahead: SignedDuration::ZERO,
            }),
            moved: watch::Sender::new(()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match *lock(&self.hands) {
            Hands::Running { ahead } => real_time().saturating_add(ahead).unwrap_or(Timestamp::MAX),
            Hands::Stopped { at } => at,
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        matches!(*lock(&self.hands), Hands::Stopped { .. })
    }

    /// Puts the hands at `now`; `frozen` says whether they then stand still (none: as they did before).
    pub(crate) fn set(&self, now: Timestamp, frozen: Option<bool>) {
        let frozen = frozen.unwrap_or_else(|| self.is_frozen());
        *lock(&self.hands) = if frozen {
            Hands::Stopped { at: now }
        } else {
            Hands::Running {
                ahead: now.duration_since(real_time()),
            }
        };
        self.moved.send_replace(());
    }

    /// Waits until the clock shows `due`, by time passing or by the hands being moved.
    pub(crate) async fn until(&self, due: Timestamp) {
        let mut moved = self.moved.subscribe(); // before the first look: a move after it is not missed
        loop {
            let left = due.duration_since(self.now());
            if left <= SignedDuration::ZERO {
                return;
            }
            let pause = async {
                if self.is_frozen() {
                    std::future::pending().await
                } else {
                    tokio::time::sleep(left.unsigned_abs()).await;
                }
            };
            tokio::select! {
                () = pause => {}
                _ = moved.changed() => {}
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the simulator reads real time"
)]
fn real_time() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn moving_the_hands_wakes_who_waits_for_a_later_moment() {
        let clock = Clock::new();
        let start = clock.now();
        clock.set(start, Some(true));
        let due = start + SignedDuration::from_hours(72);
        let waiting = clock.until(due);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(early.is_err(), "a stopped clock lets nothing fall due");
        clock.set(due, None);
        tokio::time::timeout(Duration::from_secs(1), waiting)
            .await
            .expect("due at once");
        assert_eq!(clock.now(), due, "still frozen after the move");
    }

    #[test]
    fn a_running_clock_keeps_its_distance_from_real_time() {
        let clock = Clock::new();
        let ahead = clock.now() + SignedDuration::from_hours(5);
        clock.set(ahead, None);
        assert!(!clock.is_frozen());
        assert!(clock.now() >= ahead);
        assert!(clock.now() < ahead + SignedDuration::from_secs(60));
    }
}
