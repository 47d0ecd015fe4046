//! A lock for each key, created on first use: one message per table, one search per term.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Above this many keys, unused locks are dropped. More than the tables and terms of one stack.
const MAX_UNUSED_KEYS: usize = 1000;

/// Locks by key, each around a value.
#[derive(Debug)]
pub(crate) struct Keyed<T>(Mutex<HashMap<String, Arc<tokio::sync::Mutex<T>>>>);

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Keyed<T> {
    /// Returns the key's lock. Tokio's mutexes are fair: waiting tasks get it in order of arrival.
    pub(crate) fn slot(&self, key: &str) -> Arc<tokio::sync::Mutex<T>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= MAX_UNUSED_KEYS {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(key.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_in_use_is_never_dropped() {
        let keyed = Keyed::<u8>::default();
        let held = keyed.slot("held");
        for key in 0..3 * MAX_UNUSED_KEYS {
            keyed.slot(&key.to_string());
        }
        assert!(Arc::ptr_eq(&held, &keyed.slot("held")));
        assert!(keyed.0.lock().unwrap().len() <= MAX_UNUSED_KEYS);
    }
}
