//! What was read a moment ago, kept in the process: for a while, and no more of it than so many.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::clock::signed;

/// Values by key, each for a while. What is not there is never kept: that something is missing is read anew each time.
#[derive(Debug)]
pub struct Cache<K, V> {
    kept: Mutex<HashMap<K, (V, Timestamp)>>,
    kept_for: Duration,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty one, whose values are good for `kept_for`, of `most` at most.
    #[must_use]
    pub fn new(kept_for: Duration, most: usize) -> Self {
        Self {
            kept: Mutex::default(),
            kept_for,
            most,
        }
    }

    /// The value, unless it is too old at `now`. A clock that was set back makes it too old, too.
    pub fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let kept = self.kept();
        let (value, since) = kept.get(key)?;
        (*since <= now && now < *since + signed(self.kept_for)).then(|| value.clone())
    }

    /// Keeps a value that was read at `now`.
    pub fn put(&self, key: K, value: V, now: Timestamp) {
        let mut kept = self.kept();
        if kept.len() >= self.most && !kept.contains_key(&key) {
            // What is too old makes room; where nothing is, all of it does. That costs reads, and no more.
            kept.retain(|_, (_, since)| now < *since + signed(self.kept_for));
            if kept.len() >= self.most {
                kept.clear();
            }
        }
        kept.insert(key, (value, now));
    }

    /// Takes in that a value has changed. It is good for no longer than before: what it was made of beside may have, too.
    pub fn change(&self, key: &K, value: V) {
        if let Some((kept, _)) = self.kept().get_mut(key) {
            *kept = value;
        }
    }

    /// Forgets a value: it was changed.
    pub fn forget(&self, key: &K) {
        self.kept().remove(key);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<K, (V, Timestamp)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_value_is_good_for_its_time_and_no_longer() {
        let cache = Cache::new(Duration::from_secs(10), 8);
        cache.put("a", 1, at(100));
        assert_eq!(cache.get(&"a", at(109)), Some(1));
        assert_eq!(cache.get(&"a", at(110)), None);
        assert_eq!(cache.get(&"a", at(99)), None, "the clock was set back");
        assert_eq!(cache.get(&"b", at(100)), None);
        cache.change(&"a", 2);
        assert_eq!((cache.get(&"a", at(109)), cache.get(&"a", at(110))), (Some(2), None));
        cache.change(&"b", 2);
        assert_eq!(cache.get(&"b", at(100)), None);
        cache.forget(&"a");
        assert_eq!(cache.get(&"a", at(100)), None);
    }

    #[test]
    fn it_never_holds_more_than_its_most() {
        let cache = Cache::new(Duration::from_secs(10), 4);
        for number in 0..100 {
            cache.put(number, number, at(number));
            assert!(cache.kept().len() <= 4);
            assert_eq!(cache.get(&number, at(number)), Some(number));
        }
    }
}
