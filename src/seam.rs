//! The inside as far as fuzzing and benchmarks need it; no part of the crate's interface. Pure.

use std::collections::HashSet;

use crate::extraction;
use crate::names::Kind;
use crate::rows::Rows;
use crate::spotify::wire;
use crate::text::Phrases;
pub use crate::warehouse::multipart;

/// Returns the rows that a table would be given if this were the only page, or why the page cannot be
/// read. `phrases` are those of `mentions`.
pub fn rows(kind: Kind, body: &[u8], phrases: &Phrases) -> Result<Rows, String> {
    let page = match kind {
        Kind::Podcasts => wire::shows(body, |page| extraction::podcasts(&page.items)),
        Kind::Episodes | Kind::Mentions => {
            wire::episodes(body, |page| extraction::episodes(&page.items))
        }
    };
    let mut rows = Rows::default();
    let most = if kind == Kind::Podcasts { 50 } else { usize::MAX };
    let page = page.map_err(|unreadable| unreadable.detail(body, &[]))?;
    rows.append(page, &mut HashSet::new(), most);
    if kind == Kind::Mentions {
        let mut folded = String::new();
        rows = rows.only(|row| extraction::mentions(row, phrases, &mut folded));
    }
    Ok(rows)
}

/// What an error's body says.
pub fn error_words(body: &[u8]) -> (String, Option<String>) {
    wire::error_words(body, &[])
}

/// Folds a text into a buffer that is used again.
pub fn fold_into(text: &str, folded: &mut String) {
    crate::text::fold_into(text, folded);
}
