//! What the benchmarks reach into. No part of the crate's interface.

use bytes::Bytes;

use crate::rows::{self, Rows};
use crate::spotify::wire::{Episode, Paging};
pub use crate::warehouse::multipart;

/// A page of episodes, as Spotify sends it, as rows; those with a mention where one is given.
pub fn episodes(body: &[u8], mention: Option<&str>) -> Rows {
    let mut rows = Rows::default();
    if let Ok(page) = serde_json::from_slice::<Paging<Episode<'_>>>(body) {
        let page = rows::episodes(&page.items, mention);
        rows.append(page, &mut std::collections::HashSet::new(), usize::MAX);
    }
    rows
}

/// Joins the pieces of an upload, as the connection does.
pub fn joined(pieces: &[Bytes]) -> Vec<u8> {
    pieces.concat()
}

/// Folds a text into a buffer that is used again.
pub fn fold_into(text: &str, folded: &mut String) {
    crate::text::fold_into(text, folded);
}
