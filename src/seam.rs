//! The inside as far as fuzzing and benchmarks need it; no part of the crate's interface. Pure.

use std::collections::HashSet;

use crate::failure::Failure;
use crate::names::Kind;
use crate::rows::{self, Rows};
use crate::spotify::wire::{self, Episode, Paging, Search};
pub use crate::warehouse::multipart;
use crate::warehouse::{JobFacts, Standing, TableFacts, refusal};

/// The rows that a table would be given if this were the only page, or nothing where it is none.
pub fn rows(kind: Kind, page: &[u8], mention: Option<&str>) -> Option<Rows> {
    let (page, most) = match kind {
        Kind::Podcasts => {
            let Search { shows } = wire::parse(page).ok()?;
            (rows::podcasts(&shows.items), 50)
        }
        Kind::Episodes | Kind::Mentions => {
            let page: Paging<Episode<'_>> = wire::parse(page).ok()?;
            (rows::episodes(&page.items, mention), usize::MAX)
        }
    };
    let mut rows = Rows::default();
    rows.append(page, &mut HashSet::new(), most);
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

/// What an answer of BigQuery's about a table comes to, or nothing where it is no JSON.
pub fn table_answer(kind: Kind, answer: &[u8]) -> Option<Result<Standing, Failure>> {
    let answer = serde_json::from_slice(answer).ok()?;
    Some(TableFacts::of(&answer).standing(kind, "t"))
}

/// The state of a job in an answer of BigQuery's and the failure that it ended with, or nothing where
/// the answer is no JSON.
pub fn job_answer(answer: &[u8]) -> Option<(String, Option<Failure>)> {
    let answer = serde_json::from_slice(answer).ok()?;
    Some(JobFacts::of(&answer).told())
}

/// The failure that a refusal of BigQuery's comes to.
pub fn refusal_answer(status: u16, answer: &[u8]) -> Failure {
    refusal(status, answer)
}
