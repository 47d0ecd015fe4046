//! Why an answer with a status of success cannot be read.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::wire::error_words;
use crate::http;
use crate::text;

/// Why an answer with a status of success cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not what is documented; serde's words.
    NotJson(String),
    /// It is an error in a page's place, with the status that the error itself names.
    Said { status: Option<u16> },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the answer is not as documented: {why}"),
            Self::Said { status: None } => f.write_str("an error with status 200"),
            Self::Said { status: Some(status) } => write!(f, "an error {status} with status 200"),
        }
    }
}

impl Unreadable {
    pub(super) fn new(body: &[u8], why: &serde_json::Error) -> Self {
        #[derive(Deserialize)]
        struct Wire {
            error: Value,
        }
        match serde_json::from_slice(body) {
            Ok(Wire { error }) if !error.is_null() => {
                let status = error["status"].as_u64().and_then(|status| status.try_into().ok());
                Self::Said { status }
            }
            _ => Self::NotJson(why.to_string()),
        }
    }

    /// What is wrong, and Spotify's own words.
    pub(super) fn detail(&self, body: &[u8], secrets: &[&str]) -> String {
        let why = text::excerpt(&text::without(&self.to_string(), secrets), http::EXCERPT);
        let words = error_words(body, secrets).0;
        if words.is_empty() { why } else { format!("{why}: {words}") }
    }
}
