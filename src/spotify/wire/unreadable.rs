//! An answer with a status of success that cannot be read, and what to say of it.

use std::fmt;

use super::words::{self, error_words};
use super::{number, object};

/// Why an answer with a status of success cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is no JSON; serde's words.
    NotJson(String),
    /// A field without which it means nothing is missing, or is something else.
    Missing { what: &'static str, found: &'static str },
    /// It is an error in a page's place, whose words [`error_words`] reads; with the status that the
    /// error itself names.
    Said { status: Option<u16> },
}

/// Without the answer's own words, which may hold a token.
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the answer is not JSON: {why}"),
            Self::Missing { what, found } => write!(f, "{what} is {found}"),
            Self::Said { status: None } => f.write_str("an error with status 200"),
            Self::Said { status: Some(status) } => write!(f, "an error {status} with status 200"),
        }
    }
}

impl Unreadable {
    /// What is wrong, and Spotify's own words: the message of an error, else how the answer begins.
    pub(crate) fn detail(&self, body: &[u8], secrets: &[&str]) -> String {
        let words = match self {
            Self::NotJson(_) | Self::Said { .. } => error_words(body, secrets).0,
            Self::Missing { .. } => words::quote(body, secrets),
        };
        if words.is_empty() { self.to_string() } else { format!("{self}: {words}") }
    }
}

pub(super) fn said_or_missing(
    error: Option<&str>,
    what: &'static str,
    found: Option<&str>,
) -> Unreadable {
    match error.filter(|error| *error != "null") {
        Some(error) => said(error),
        None => Unreadable::Missing { what, found: object::kind(found) },
    }
}

pub(super) fn said(error: &str) -> Unreadable {
    let [status] = object::values(error, &["status"]).unwrap_or_default();
    let status = status.and_then(number::whole).and_then(|status| u16::try_from(status).ok());
    Unreadable::Said { status }
}
