//! Limits that many processes share: at most so many of something, for one key, within a window of time. The count is a row
//! that all of them add to; a process that has seen a key's quota spent remembers it for the rest of the window, so that a
//! flood costs no table. With the table out of reach nobody is turned away.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::clock::signed;
use super::key;
use super::table::{Key, StoreError, Table, number};

/// The most keys whose spent quota a process remembers.
const MOST_REMEMBERED: usize = 10_000;
/// How long somebody waits for a place while others have all of them in hand.
const WAIT_FOR_A_PLACE: Duration = Duration::from_secs(5);
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(200);

/// Where counts are kept.
pub trait Counters: Clone + Debug + Send + Sync + 'static {
    /// Takes one of `most` places of `key`, where there is one. The count may be forgotten at `forget_at`.
    fn take(
        &self,
        key: &str,
        most: u64,
        forget_at: Timestamp,
    ) -> impl Future<Output = Result<Result<(), Full>, StoreError>> + Send;

    /// A place that was taken is used up.
    fn use_up(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A place that was taken is free again.
    fn give_back(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken, and some of them may be given back.
    Busy,
    /// All are used up.
    UsedUp,
}

impl Counters for Table {
    async fn take(&self, key: &str, most: u64, forget_at: Timestamp) -> Result<Result<(), Full>, StoreError> {
        let update = self
            .update(&count_key(key))
            .update_expression("ADD taken :one SET expires_at = :forget_at")
            .condition_expression("attribute_not_exists(taken) OR taken < :most")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":most", number(most))
            .expression_attribute_values(":forget_at", number(forget_at.as_second()));
        match update.send().await.map_err(StoreError::from) {
            Ok(_) => Ok(Ok(())),
            Err(StoreError::Conflict) => {
                let count: Option<Count> = self.get(&count_key(key)).await?;
                let used_up = count.is_some_and(|count| count.used >= most);
                Ok(Err(if used_up { Full::UsedUp } else { Full::Busy }))
            }
            Err(error) => Err(error),
        }
    }

    async fn use_up(&self, key: &str) -> Result<(), StoreError> {
        self.update(&count_key(key))
            .update_expression("ADD used :one")
            .expression_attribute_values(":one", number(1))
            .send()
            .await?;
        Ok(())
    }

    async fn give_back(&self, key: &str) -> Result<(), StoreError> {
        self.update(&count_key(key))
            .update_expression("ADD taken :less")
            .condition_expression("taken > :none")
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":none", number(0))
            .send()
            .await?;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Count {
    #[serde(default)]
    used: u64,
}

fn count_key(key: &str) -> Key {
    Key::new(format!("quota#{key}"), "quota")
}

/// A quota.
#[derive(Clone, Debug)]
pub struct Quota<C> {
    counters: C,
    name: &'static str,
    most: u64,
    window: Duration,
    /// Keys whose quota is spent, and in which window.
    spent: Arc<Mutex<BTreeMap<String, i64>>>,
}

/// A place within a quota, in hand: it is used up or given back. One that is forgotten, as its holder died, is nobody's for
/// the rest of its window.
#[derive(Debug)]
pub struct Place(String);

/// There is no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quota is spent for another {retry_after:?}")]
pub struct Spent {
    /// When there will be.
    pub retry_after: Duration,
}

impl<C: Counters> Quota<C> {
    /// At most `most` within each `window`, counted in `counters` under `name`.
    pub fn new(counters: C, name: &'static str, most: u64, window: Duration) -> Self {
        Self {
            counters,
            name,
            most,
            window,
            spent: Arc::default(),
        }
    }

    /// Uses a place for `key`, which is kept as a hash: it may be personal.
    pub async fn spend(&self, key: &str, now: Timestamp) -> Result<(), Spent> {
        let (window, retry_after) = self.window_at(now);
        let key = key::derived(self.name, &[key]);
        match self.place(&key, window, now).await {
            Ok(_) => Ok(()),
            // What is spent is never given back.
            Err(Full::Busy | Full::UsedUp) => {
                self.remember(key, window);
                Err(Spent { retry_after })
            }
        }
    }

    /// Takes a place for `key` in hand. Who finds all of them in others' hands waits for a while: they may be given back.
    pub async fn hold(&self, key: &str, now: Timestamp) -> Result<Place, Spent> {
        let key = key::derived(self.name, &[key]);
        let mut waited = Duration::ZERO;
        loop {
            let now = now + signed(waited);
            let (window, left) = self.window_at(now);
            match self.place(&key, window, now).await {
                Ok(place) => return Ok(place),
                Err(Full::Busy) if waited < WAIT_FOR_A_PLACE => {
                    tokio::time::sleep(LOOK_AGAIN_EVERY).await;
                    waited += LOOK_AGAIN_EVERY;
                }
                Err(Full::Busy) => {
                    let retry_after = WAIT_FOR_A_PLACE;
                    return Err(Spent { retry_after });
                }
                Err(Full::UsedUp) => {
                    self.remember(key, window);
                    return Err(Spent { retry_after: left });
                }
            }
        }
    }

    /// A place, or why there is none.
    async fn place(&self, key: &str, window: i64, now: Timestamp) -> Result<Place, Full> {
        if self.is_spent(key, window) {
            return Err(Full::UsedUp);
        }
        let place = Place(format!("{key}#{window}"));
        let forget_at = now + signed(self.window * 2);
        match self.counters.take(&place.0, self.most, forget_at).await {
            Ok(taken) => taken.map(|()| place),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    quota = self.name,
                    "a quota can't be looked at; nobody is turned away"
                );
                Ok(place)
            }
        }
    }

    /// A place in hand is used up.
    pub async fn use_up(&self, place: Place) {
        let used = self.counters.use_up(&place.0).await;
        self.told(used, "a place is not known to be used up");
    }

    /// Gives a place back, as it was not needed.
    pub async fn give_back(&self, place: Place) {
        let given_back = self.counters.give_back(&place.0).await;
        self.told(given_back, "a place is not given back");
    }

    /// What the table was not told is mended by the next window.
    fn told(&self, told: Result<(), StoreError>, what: &str) {
        if let Err(error) = told {
            tracing::warn!(error = &error as &dyn std::error::Error, quota = self.name, "{what}");
        }
    }

    /// Which window this is, and how long it still lasts.
    fn window_at(&self, now: Timestamp) -> (i64, Duration) {
        let window = i64::try_from(self.window.as_millis().max(1)).unwrap_or(i64::MAX);
        let now = now.as_millisecond();
        let left = window - now.rem_euclid(window);
        (now.div_euclid(window), Duration::from_millis(left.unsigned_abs()))
    }

    fn is_spent(&self, key: &str, window: i64) -> bool {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.get(key) == Some(&window)
    }

    fn remember(&self, key: String, window: i64) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, of| *of == window);
        if spent.len() < MOST_REMEMBERED {
            spent.insert(key, window);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, Default)]
    struct Places {
        taken: u64,
        used: u64,
    }

    #[derive(Clone, Debug, Default)]
    pub(crate) struct Memory {
        counts: Arc<Mutex<BTreeMap<String, Places>>>,
        asked: Arc<Mutex<usize>>,
    }

    impl Memory {
        /// How often it was asked for a place.
        pub(crate) fn asked(&self) -> usize {
            *self.asked.lock().unwrap()
        }

        fn count<T>(&self, key: &str, change: impl FnOnce(&mut Places) -> T) -> T {
            change(self.counts.lock().unwrap().entry(key.to_owned()).or_default())
        }
    }

    impl Counters for Memory {
        async fn take(&self, key: &str, most: u64, _at: Timestamp) -> Result<Result<(), Full>, StoreError> {
            *self.asked.lock().unwrap() += 1;
            Ok(self.count(key, |places| {
                if places.taken < most {
                    places.taken += 1;
                    return Ok(());
                }
                Err(if places.used < most { Full::Busy } else { Full::UsedUp })
            }))
        }

        async fn use_up(&self, key: &str) -> Result<(), StoreError> {
            self.count(key, |places| places.used += 1);
            Ok(())
        }

        async fn give_back(&self, key: &str) -> Result<(), StoreError> {
            self.count(key, |places| places.taken -= 1);
            Ok(())
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).unwrap()
    }

    fn quota(memory: &Memory) -> Quota<Memory> {
        Quota::new(memory.clone(), "test", 3, Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_quota_is_spent_for_its_key_and_its_window_alone() {
        let quota = quota(&Memory::default());
        for _ in 0..3 {
            quota.spend("one", at(0)).await.unwrap();
        }
        let spent = quota.spend("one", at(10)).await.unwrap_err();
        assert_eq!(spent.retry_after, Duration::from_secs(50));
        quota.spend("other", at(10)).await.unwrap();
        quota.spend("one", at(60)).await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_is_there_again_and_a_flood_costs_no_table() {
        let memory = Memory::default();
        let quota = quota(&memory);
        for _ in 0..100 {
            let place = quota.hold("one", at(0)).await.unwrap();
            quota.give_back(place).await;
        }
        for _ in 0..3 {
            let place = quota.hold("two", at(1)).await.unwrap();
            quota.use_up(place).await;
        }
        for _ in 0..1_000 {
            assert!(quota.hold("two", at(1)).await.is_err());
        }
        assert_eq!(*memory.asked.lock().unwrap(), 100 + 4, "the rest was remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_places_in_others_hands_waits_for_one_and_nobody_is_taken_for_spent() {
        let quota = quota(&Memory::default());
        let held = |_| async {
            let place = quota.hold("one", at(0)).await?;
            tokio::time::sleep(Duration::from_millis(400)).await;
            quota.give_back(place).await;
            Ok::<(), Spent>(())
        };
        let served = futures_util::future::join_all((0..18).map(held)).await;
        assert!(served.iter().all(Result::is_ok), "{served:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_place_has_an_end() {
        let quota = quota(&Memory::default());
        for _ in 0..3 {
            let _in_hand = quota.hold("one", at(0)).await.unwrap();
        }
        let begun = tokio::time::Instant::now();
        assert!(quota.hold("one", at(0)).await.is_err());
        assert_eq!(begun.elapsed(), WAIT_FOR_A_PLACE);
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_quota(mut seconds in proptest::collection::vec(0_i64..300, 1..200)) {
            seconds.sort_unstable();
            let quota = quota(&Memory::default());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut taken = BTreeMap::new();
            for second in seconds {
                if runtime.block_on(quota.spend("one", at(second))).is_ok() {
                    *taken.entry(at(second).as_second() / 60).or_insert(0) += 1;
                }
            }
            prop_assert!(taken.values().all(|taken| *taken <= 3), "{:?}", taken);
        }
    }
}
