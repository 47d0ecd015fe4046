//! A response with a status of success that cannot be used.

use std::fmt;

use serde_json::value::RawValue;

use super::message::{error_message, quote};
use super::{number, object};

/// Why a response with a status of success cannot be used. `Display` does not repeat the body, which may
/// contain a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The body is not JSON. The text is serde's error.
    NotJson(String),
    /// A required field is missing or has the wrong type.
    Missing { what: &'static str, found: &'static str },
    /// It is an error, which may have a status of its own. [`error_message`] returns its message.
    Error { status: Option<u16> },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the response is not JSON: {why}"),
            Self::Missing { what, found } => write!(f, "{what} is {found}"),
            Self::Error { status: None } => f.write_str("an error with status 200"),
            Self::Error { status: Some(status) } => write!(f, "an error {status} with status 200"),
        }
    }
}

impl Unreadable {
    /// Returns what is wrong, with the error's message or the start of the body.
    pub(crate) fn detail(&self, body: &[u8], secrets: &[&str]) -> String {
        let message = match self {
            Self::NotJson(_) | Self::Error { .. } => error_message(body, secrets).0,
            Self::Missing { .. } => quote(body, secrets),
        };
        if message.is_empty() { self.to_string() } else { format!("{self}: {message}") }
    }
}

/// Returns the values of `keys` in a body that must be an object.
pub(super) fn members<'a, const N: usize>(
    body: &'a str,
    keys: &'static [&'static str; N],
) -> Result<[Option<&'a str>; N], Unreadable> {
    let not_json = |error: serde_json::Error| Unreadable::NotJson(error.to_string());
    if body.trim().is_empty() {
        return Err(Unreadable::NotJson("it is empty".to_owned()));
    }
    let json = serde_json::from_str::<&RawValue>(body).map_err(not_json)?.get();
    if !json.starts_with('{') {
        let found = object::kind(Some(json));
        return Err(Unreadable::Missing { what: "the response", found });
    }
    object::values(json, keys).map_err(not_json)
}

pub(super) fn error_or_missing(
    error: Option<&str>,
    what: &'static str,
    found: Option<&str>,
) -> Unreadable {
    match error.filter(|error| *error != "null") {
        Some(error) => error_in_place(error),
        None => Unreadable::Missing { what, found: object::kind(found) },
    }
}

pub(super) fn error_in_place(error: &str) -> Unreadable {
    let [status] = object::values(error, &["status"]).unwrap_or_default();
    let status = status.and_then(number::whole).and_then(|status| u16::try_from(status).ok());
    Unreadable::Error { status }
}
