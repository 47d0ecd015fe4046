//! A lock for each key, made when it is first asked for: turns at one table, one search per term.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Above this many keys, those that nobody holds are forgotten.
const KEPT: usize = 1000;

/// Locks by key, each around a value.
#[derive(Debug)]
pub(crate) struct Keyed<T>(Mutex<HashMap<String, Arc<tokio::sync::Mutex<T>>>>);

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Keyed<T> {
    /// The key's lock; tokio's mutexes are fair, so those who wait get it in the order they came.
    pub(crate) fn slot(&self, key: &str) -> Arc<tokio::sync::Mutex<T>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= KEPT {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(key.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_held_is_never_forgotten() {
        let keyed = Keyed::<u8>::default();
        let held = keyed.slot("held");
        for key in 0..3 * KEPT {
            keyed.slot(&key.to_string());
        }
        assert!(Arc::ptr_eq(&held, &keyed.slot("held")));
        assert!(keyed.0.lock().unwrap().len() <= KEPT);
    }
}
