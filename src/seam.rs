//! Internal functions for the fuzz targets and benchmarks. Not part of the crate's interface. Pure.

use std::collections::HashSet;

use crate::extraction::items;
use crate::failure::Failure;
use crate::names::Kind;
use crate::rows::Rows;
use crate::spotify::wire;
use crate::text::Phrases;
pub use crate::warehouse::multipart_body;
use crate::warehouse::{JobInfo, TableInfo, TableState, failure_of_response};

/// Returns the rows of a table whose listing has only this page. The error says why the page can't be
/// read. `phrases` are used for `mentions`.
pub fn rows(kind: Kind, body: &[u8], phrases: &Phrases) -> Result<Rows, String> {
    let page = match kind {
        Kind::Podcasts => wire::shows(body).map(|page| items::podcasts(page.items)),
        Kind::Episodes | Kind::Mentions => {
            wire::episodes(body).map(|page| items::episodes(page.items))
        }
    };
    let mut rows = Rows::default();
    let max_ids = if kind == Kind::Podcasts { 50 } else { usize::MAX };
    let page = page.map_err(|unreadable| unreadable.detail(body, &[]))?;
    page.append_to(&mut rows, &mut HashSet::new(), max_ids);
    if kind == Kind::Mentions {
        rows = items::mentions(&rows, phrases).0;
    }
    Ok(rows)
}

/// Returns the message and the reason in the body of an error from Spotify.
pub fn error_words(body: &[u8]) -> (String, Option<String>) {
    wire::error_message(body, &[])
}

pub fn fold_into(text: &str, folded: &mut String) {
    crate::text::fold_into(text, folded);
}

/// Returns the state of a table in a response of BigQuery, or `None` if the response is not JSON.
pub fn table_answer(kind: Kind, answer: &[u8]) -> Option<Result<TableState, Failure>> {
    let answer = serde_json::from_slice(answer).ok()?;
    Some(TableInfo::from_json(&answer).check(kind, "t"))
}

/// Returns the state of a job in a response of BigQuery and why the job failed, or `None` if the
/// response is not JSON.
pub fn job_answer(answer: &[u8]) -> Option<(String, Option<Failure>)> {
    let answer = serde_json::from_slice(answer).ok()?;
    Some(JobInfo::from_json(&answer).state_and_failure())
}

/// Returns the failure for an error response of BigQuery.
pub fn refusal_answer(status: u16, answer: &[u8]) -> Failure {
    failure_of_response(status, answer)
}
