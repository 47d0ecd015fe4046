//! Records which listings were incomplete, so that redeliveries do not spend Spotify's quota on them.

use std::time::{Duration, SystemTime};

use crate::failure::Failure;
use crate::sync::ExpiringMap;
use crate::text;

/// The listings that were recently incomplete. The key is the name of the listing in errors; the value is
/// the detail, and the tolerance that the listing was read with.
#[derive(Debug)]
pub(super) struct IncompleteListings {
    ttl: Duration,
    listings: ExpiringMap<String, (String, u8)>,
}

impl IncompleteListings {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, listings: ExpiringMap::default() }
    }

    /// Returns an error if the listing was recently incomplete at this tolerance or a higher one.
    pub(super) fn check(&self, listing: &str, max_missing_percent: u8) -> Result<(), Failure> {
        match self.listings.get(listing) {
            Some(((detail, known_percent), remaining)) if max_missing_percent <= known_percent => {
                Err(Failure::ListingIncomplete {
                    what: listing.to_owned(),
                    detail: format!(
                        "{detail} (an earlier result; the listing is not read again before {})",
                        text::rfc3339(SystemTime::now() + remaining)
                    ),
                    after: Some(remaining),
                })
            }
            _ => Ok(()),
        }
    }

    /// Records that a listing is incomplete. Returns the failure.
    pub(super) fn record(&self, listing: &str, max_missing_percent: u8, detail: String) -> Failure {
        let what = listing.to_owned();
        self.listings.insert(what.clone(), (detail.clone(), max_missing_percent), self.ttl);
        Failure::ListingIncomplete { what, detail, after: Some(self.ttl) }
    }

    /// Removes a listing that is now complete.
    pub(super) fn forget(&self, listing: &str) {
        self.listings.retain(|known, _| known != listing);
    }
}
