//! State that messages share: a lock for each key, and values that expire.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Above this many keys, unused locks and expired values are dropped. More than the tables and terms of
/// one stack.
pub(crate) const CLEANUP_THRESHOLD: usize = 1000;

/// Locks a mutex, also after a panic of another holder: every holder leaves the value valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock for each key, created on first use: one message per table, one search per term.
#[derive(Debug, Default)]
pub(crate) struct KeyedLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl KeyedLocks {
    /// Returns the key's lock. Tokio's mutexes are fair: waiting tasks get it in order of arrival.
    pub(crate) fn get(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = lock(&self.0);
        if let Some(lock) = locks.get(key) {
            return Arc::clone(lock);
        }
        if locks.len() >= CLEANUP_THRESHOLD {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(locks.entry(key.to_owned()).or_default())
    }
}

/// Values by key, each for a limited time.
#[derive(Debug)]
pub(crate) struct ExpiringMap<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K, V> Default for ExpiringMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> ExpiringMap<K, V> {
    /// Returns the key's value and how long it is still valid, unless it has expired.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<(V, Duration)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let values = lock(&self.0);
        let (value, expires_at) = values.get(key)?;
        let remaining = expires_at.duration_since(Instant::now());
        (!remaining.is_zero()).then(|| (value.clone(), remaining))
    }

    /// Replaces the key's value.
    pub(crate) fn insert(&self, key: K, value: V, ttl: Duration) {
        let (mut values, now) = (lock(&self.0), Instant::now());
        if values.len() >= CLEANUP_THRESHOLD {
            values.retain(|_, (_, expires_at)| *expires_at > now);
        }
        values.insert(key, (value, now + ttl));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Removes the values that `is_kept` rejects.
    pub(crate) fn retain(&self, mut is_kept: impl FnMut(&K, &V) -> bool) {
        lock(&self.0).retain(|key, (value, _)| is_kept(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_in_use_is_never_dropped() {
        let locks = KeyedLocks::default();
        let held = locks.get("held");
        for key in 0..3 * CLEANUP_THRESHOLD {
            locks.get(&key.to_string());
        }
        assert!(Arc::ptr_eq(&held, &locks.get("held")));
        assert!(lock(&locks.0).len() <= CLEANUP_THRESHOLD);
    }

    #[tokio::test(start_paused = true)]
    async fn values_expire_and_are_dropped() {
        let (map, ttl) = (ExpiringMap::default(), Duration::from_secs(300));
        for key in 0..CLEANUP_THRESHOLD {
            map.insert(key, 'a', ttl);
        }
        tokio::time::advance(ttl / 2).await;
        assert_eq!(map.get(&0), Some(('a', ttl / 2)));
        tokio::time::advance(ttl / 2).await;
        assert_eq!(map.get(&0), None);
        map.insert(1, 'b', ttl);
        assert_eq!((map.get(&1), map.len()), (Some(('b', ttl)), 1));
        map.retain(|key, _| *key != 1);
        assert_eq!(map.get(&1), None);
    }
}
