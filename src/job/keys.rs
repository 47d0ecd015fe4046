//! The keys of a message, read from its data or its attributes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::envelope::{Data, Message, is_google_attribute};
use crate::failure::Failure;
use crate::names::{Kind, Naming, ShowId, Term};
use crate::text;

/// The most terms in one message. Three tables each make 900 messages, which fit into one publish
/// request (at most 1,000, <https://cloud.google.com/pubsub/quotas>).
const MAX_TERMS: usize = 300;

/// The longest detail of a refusal. Details quote the message.
const MAX_DETAIL_BYTES: usize = 1000;

/// The longest value or attribute key that a refusal quotes.
const MAX_QUOTED_BYTES: usize = 256;

/// The keys of a message. At least one of `kind` and `terms` is present.
pub(super) struct Keys {
    pub(super) kind: Option<Kind>,
    pub(super) terms: Option<Vec<Term>>,
    pub(super) show: Option<ShowId>,
    pub(super) max_missing_percent: Option<u8>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    table: Option<Value>,
    search_term: Option<Value>,
    show_id: Option<Value>,
    max_missing_percent: Option<Value>,
}

impl Keys {
    pub(super) fn parse(message: &Message, naming: &Naming) -> Result<Self, Failure> {
        let raw = match &message.data {
            Data::NotBase64(_) => return Err(refused("bad_base64", "message.data is not base64")),
            Data::Bytes(bytes) if bytes.is_empty() => from_attributes(&message.attributes)?,
            Data::Bytes(bytes) => from_json(bytes)?,
        };
        if raw.table.is_none() && raw.search_term.is_none() {
            return Err(invalid(
                "the message names neither `table` nor `search_term`; it needs at least one",
            ));
        }
        Ok(Self {
            kind: raw.table.map(|value| parse_kind(&value, naming)).transpose()?,
            terms: raw.search_term.map(parse_terms).transpose()?,
            show: raw.show_id.as_ref().map(parse_show).transpose()?,
            max_missing_percent: raw.max_missing_percent.as_ref().map(parse_percent).transpose()?,
        })
    }
}

fn from_json(bytes: &[u8]) -> Result<RawKeys, Failure> {
    // Parsed twice, to tell invalid JSON from JSON with other keys.
    match serde_json::from_slice::<Value>(bytes) {
        Err(error) => Err(refused("bad_json", &format!("message.data is not JSON: {error}"))),
        Ok(Value::Object(_)) => {
            serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))
        }
        Ok(_) => Err(invalid("message.data is not a JSON object")),
    }
}

fn from_attributes(attributes: &BTreeMap<String, String>) -> Result<RawKeys, Failure> {
    let mut keys = RawKeys::default();
    for (key, text) in attributes {
        let field = match key.as_str() {
            "table" => &mut keys.table,
            "search_term" => &mut keys.search_term,
            "show_id" => &mut keys.show_id,
            "max_missing_percent" => &mut keys.max_missing_percent,
            _ if is_google_attribute(key) => continue,
            _ => {
                let key = text::excerpt(key, MAX_QUOTED_BYTES);
                return Err(invalid(&format!(
                    "unknown attribute `{key}`, expected one of `table`, `search_term`, `show_id`, \
                     `max_missing_percent`"
                )));
            }
        };
        // Attributes are strings, so a number arrives as one.
        let number = text.parse::<u64>().ok().filter(|_| key == "max_missing_percent");
        *field = Some(number.map_or_else(|| Value::String(text.clone()), Value::from));
    }
    Ok(keys)
}

fn parse_kind(value: &Value, naming: &Naming) -> Result<Kind, Failure> {
    if let Some(kind) = value.as_str().and_then(|table| naming.parse_kind(table)) {
        return Ok(kind);
    }
    let allowed = Kind::ALL
        .map(|kind| format!("{kind}, {}, {}", kind.legacy_name(), naming.configured_table(kind)));
    let (found, allowed) = (describe(value), allowed.join(", "));
    Err(invalid(&format!("`table` is {found}, expected one of {allowed}")))
}

/// Parses one term or a list of terms. Equal terms count once.
fn parse_terms(value: Value) -> Result<Vec<Term>, Failure> {
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    if values.is_empty() || values.len() > MAX_TERMS {
        return Err(invalid(&format!(
            "`search_term` is a list of {}, expected 1 to {MAX_TERMS} terms",
            values.len()
        )));
    }
    let mut terms: Vec<Term> = Vec::with_capacity(values.len());
    for value in &values {
        let Value::String(text) = value else {
            return Err(invalid(&format!(
                "`search_term` is or contains {}, expected a string or a list of strings",
                describe(value)
            )));
        };
        let term = Term::parse(text).map_err(|why| invalid(&format!("`search_term`: {why}")))?;
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    Ok(terms)
}

fn parse_show(value: &Value) -> Result<ShowId, Failure> {
    value.as_str().and_then(ShowId::parse).ok_or_else(|| {
        invalid("`show_id` must be the 22 letters and digits of a Spotify show's id")
    })
}

fn parse_percent(value: &Value) -> Result<u8, Failure> {
    if let Some(percent @ 0..=100) = value.as_u64() {
        return Ok(percent as u8);
    }
    let found = match value {
        Value::Number(number) => number.to_string(),
        other => describe(other),
    };
    Err(invalid(&format!(
        "`max_missing_percent` is {found}, expected a whole number from 0 to 100"
    )))
}

/// Quotes a string, and names the type of any other value.
fn describe(value: &Value) -> String {
    let name = match value {
        Value::String(text) => return format!("{:?}", text::excerpt(text, MAX_QUOTED_BYTES)),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    name.to_owned()
}

pub(super) fn invalid(detail: &str) -> Failure {
    refused("refused", detail)
}

fn refused(reason: &'static str, detail: &str) -> Failure {
    Failure::InvalidMessage { reason, detail: text::excerpt(detail, MAX_DETAIL_BYTES) }
}
