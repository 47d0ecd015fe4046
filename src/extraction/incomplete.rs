//! Remembers which listings were incomplete, so that redeliveries do not spend Spotify's quota on them.

use std::time::Duration;

use crate::failure::Failure;
use crate::sync::ExpiringMap;

/// The listings that were incomplete within the last minutes, by their description: the detail, and the
/// tolerance that they were read with.
#[derive(Debug)]
pub(super) struct IncompleteListings {
    pub(super) ttl: Duration,
    listings: ExpiringMap<String, (String, u8)>,
}

impl IncompleteListings {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, listings: ExpiringMap::default() }
    }

    /// Fails if the listing was incomplete some minutes ago, at this tolerance or a higher one.
    pub(super) fn check(&self, what: &str, max_missing_percent: u8) -> Result<(), Failure> {
        match self.listings.get(what) {
            Some(((detail, known_percent), remaining)) if max_missing_percent <= known_percent => {
                Err(Failure::ListingIncomplete {
                    what: what.to_owned(),
                    detail: format!("{detail} (read some minutes ago)"),
                    after: Some(remaining),
                })
            }
            _ => Ok(()),
        }
    }

    /// Records that a listing is incomplete. Returns the failure.
    pub(super) fn record(&self, what: &str, max_missing_percent: u8, detail: String) -> Failure {
        let what = what.to_owned();
        self.listings.insert(what.clone(), (detail.clone(), max_missing_percent), self.ttl);
        Failure::ListingIncomplete { what, detail, after: Some(self.ttl) }
    }

    /// Forgets a listing that is complete now.
    pub(super) fn forget(&self, what: &str) {
        self.listings.retain(|known, _| known != what);
    }
}
