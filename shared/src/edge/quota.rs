//! Limits that many processes share: at most so many of something, for one key, within a window of time. The count is a row
//! that all of them add to; a process that has seen a key's quota spent remembers it for the rest of the window, so that a
//! flood costs no table. With the table out of reach nobody is turned away.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use jiff::Timestamp;

use super::clock::signed;
use super::key;
use super::table::{Key, StoreError, Table, number};

/// The most keys whose spent quota a process remembers.
const MOST_REMEMBERED: usize = 10_000;

/// Where counts are kept.
pub trait Counters: Clone + Debug + Send + Sync + 'static {
    /// Adds one to the count `key`, unless it is `most` already: then `false`. The count may be forgotten at `forget_at`.
    fn take(&self, key: &str, most: u64, forget_at: Timestamp)
    -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Takes one from the count `key`.
    fn give_back(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Counters for Table {
    async fn take(&self, key: &str, most: u64, forget_at: Timestamp) -> Result<bool, StoreError> {
        let update = self
            .update(&count_key(key))
            .update_expression("ADD taken :one SET expires_at = :forget_at")
            .condition_expression("attribute_not_exists(taken) OR taken < :most")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":most", number(most))
            .expression_attribute_values(":forget_at", number(forget_at.as_second()));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(error.into()),
        }
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

/// A place within a quota. It is used up unless it is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Takes a place for `key`, which is kept as a hash: it may be personal.
    pub async fn take(&self, key: &str, now: Timestamp) -> Result<Place, Spent> {
        let (window, left) = self.window_at(now);
        let key = key::derived(self.name, &[key]);
        if self.is_spent(&key, window) {
            return Err(Spent { retry_after: left });
        }
        let place = Place(format!("{key}#{window}"));
        let forget_at = now + signed(self.window * 2);
        match self.counters.take(&place.0, self.most, forget_at).await {
            Ok(true) => Ok(place),
            Ok(false) => {
                self.remember(key, window);
                Err(Spent { retry_after: left })
            }
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

    /// Gives a place back, as it was not needed.
    pub async fn give_back(&self, place: Place) {
        if let Err(error) = self.counters.give_back(&place.0).await {
            // It comes back with the next window.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                quota = self.name,
                "a place is not given back"
            );
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts in memory, and how often it was asked.
    #[derive(Clone, Debug, Default)]
    struct Memory(Arc<Mutex<(BTreeMap<String, u64>, usize)>>);

    impl Counters for Memory {
        async fn take(&self, key: &str, most: u64, _forget_at: Timestamp) -> Result<bool, StoreError> {
            let mut kept = self.0.lock().unwrap();
            kept.1 += 1;
            let taken = kept.0.entry(key.to_owned()).or_default();
            let may = *taken < most;
            *taken += u64::from(may);
            Ok(may)
        }

        async fn give_back(&self, key: &str) -> Result<(), StoreError> {
            *self.0.lock().unwrap().0.entry(key.to_owned()).or_default() -= 1;
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
            quota.take("one", at(0)).await.unwrap();
        }
        let spent = quota.take("one", at(10)).await.unwrap_err();
        assert_eq!(spent.retry_after, Duration::from_secs(50));
        quota.take("other", at(10)).await.unwrap();
        quota.take("one", at(60)).await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_is_there_again_and_a_flood_costs_no_table() {
        let memory = Memory::default();
        let quota = quota(&memory);
        for _ in 0..100 {
            let place = quota.take("one", at(0)).await.unwrap();
            quota.give_back(place).await;
        }
        for _ in 0..1_000 {
            let _spent = quota.take("two", at(1)).await;
        }
        assert_eq!(memory.0.lock().unwrap().1, 100 + 4, "the rest was remembered");
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_quota(mut seconds in proptest::collection::vec(0_i64..300, 1..200)) {
            seconds.sort_unstable();
            let quota = quota(&Memory::default());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut taken = BTreeMap::new();
            for second in seconds {
                if runtime.block_on(quota.take("one", at(second))).is_ok() {
                    *taken.entry(at(second).as_second() / 60).or_insert(0) += 1;
                }
            }
            prop_assert!(taken.values().all(|taken| *taken <= 3), "{:?}", taken);
        }
    }
}
