//! The inside as far as fuzzing and benchmarks need it; no part of the crate's interface. Pure.

use std::collections::HashSet;

use crate::extraction::items;
use crate::failure::Failure;
use crate::names::Kind;
use crate::rows::Rows;
use crate::spotify::wire;
use crate::text::Phrases;
pub use crate::warehouse::multipart;
use crate::warehouse::{JobFacts, Standing, TableFacts, refusal};

/// Returns the rows that a table would be given if this were the only page, or why the page cannot be
/// read. `phrases` are those of `mentions`.
pub fn rows(kind: Kind, body: &[u8], phrases: &Phrases) -> Result<Rows, String> {
    let page = match kind {
        Kind::Podcasts => wire::shows(body).map(|page| items::podcasts(page.items)),
        Kind::Episodes | Kind::Mentions => {
            wire::episodes(body).map(|page| items::episodes(page.items))
        }
    };
    let mut rows = Rows::default();
    let most = if kind == Kind::Podcasts { 50 } else { usize::MAX };
    let page = page.map_err(|unreadable| unreadable.detail(body, &[]))?;
    page.append_to(&mut rows, &mut HashSet::new(), most);
    if kind == Kind::Mentions {
        rows = items::mentions(&rows, phrases).0;
    }
    Ok(rows)
}

/// What an error's body says.
pub fn error_words(body: &[u8]) -> (String, Option<String>) {
    wire::error_message(body, &[])
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
