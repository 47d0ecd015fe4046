//! Remembers which listings were incomplete, so that redeliveries do not spend Spotify's quota on them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;

/// More incomplete listings than this are not remembered.
const MAX_LISTINGS: usize = 1000;

/// The listings that were incomplete within the last minutes, by their description.
#[derive(Debug)]
pub(super) struct IncompleteListings {
    ttl: Duration,
    listings: Mutex<HashMap<String, Incomplete>>,
}

#[derive(Debug)]
struct Incomplete {
    detail: String,
    max_missing_percent: u8,
    expires_at: Instant,
}

impl IncompleteListings {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, listings: Mutex::default() }
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Fails if the listing was incomplete some minutes ago, at this tolerance or a higher one.
    pub(super) fn check(&self, what: &str, max_missing_percent: u8) -> Result<(), Failure> {
        let now = Instant::now();
        match self.lock().get(what) {
            Some(known)
                if now < known.expires_at && max_missing_percent <= known.max_missing_percent =>
            {
                Err(Failure::ListingIncomplete {
                    what: what.to_owned(),
                    detail: format!("{} (read some minutes ago)", known.detail),
                    after: Some(known.expires_at - now),
                })
            }
            _ => Ok(()),
        }
    }

    /// Records that a listing is incomplete. Returns the failure.
    pub(super) fn record(&self, what: &str, max_missing_percent: u8, detail: String) -> Failure {
        let mut listings = self.lock();
        let now = Instant::now();
        if listings.len() >= MAX_LISTINGS {
            listings.retain(|_, known| now < known.expires_at);
        }
        if listings.len() < MAX_LISTINGS {
            let (detail, expires_at) = (detail.clone(), now + self.ttl);
            listings
                .insert(what.to_owned(), Incomplete { detail, max_missing_percent, expires_at });
        }
        Failure::ListingIncomplete { what: what.to_owned(), detail, after: Some(self.ttl) }
    }

    /// Forgets a listing that is complete now.
    pub(super) fn forget(&self, what: &str) {
        self.lock().remove(what);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Incomplete>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
