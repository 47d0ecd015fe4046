//! The inside as far as fuzzing and benchmarks need it; no part of the crate's interface. Pure.

use std::collections::HashSet;

use crate::extraction;
use crate::names::Kind;
use crate::rows::Rows;
use crate::spotify::wire;
use crate::text::Phrases;
pub use crate::warehouse::multipart;

/// The rows that a table would be given if this were the only page, or `None` if it cannot be read.
/// `phrases` are those of `mentions`.
pub fn rows(kind: Kind, page: &[u8], phrases: &Phrases) -> Option<Rows> {
    let page = match kind {
        Kind::Podcasts => wire::shows(page, |page| extraction::podcasts(&page.items)),
        Kind::Episodes | Kind::Mentions => {
            wire::episodes(page, |page| extraction::episodes(&page.items))
        }
    };
    let mut rows = Rows::default();
    let most = if kind == Kind::Podcasts { 50 } else { usize::MAX };
    rows.append(page.ok()?, &mut HashSet::new(), most);
    if kind == Kind::Mentions {
        let mut folded = String::new();
        rows = rows.only(|row| extraction::mentions(row, phrases, &mut folded));
    }
    Some(rows)
}

/// What an error's body says.
pub fn error_words(body: &[u8]) -> (String, Option<String>) {
    wire::error_words(body, &[])
}

/// Folds a text into a buffer that is used again.
pub fn fold_into(text: &str, folded: &mut String) {
    crate::text::fold_into(text, folded);
}
