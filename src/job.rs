//! What a message asks for: one table, or a fan-out into one message for each table and term.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{Data, Message, is_google_attribute};
use crate::failure::Failure;
use crate::names::{Kind, Naming, ShowId, Term};

/// The most search terms in one message: with three tables each, 900 messages, which one publish holds
/// (1,000 are the most, <https://cloud.google.com/pubsub/quotas>).
pub const MAX_TERMS: usize = 300;

/// One table to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which of the three.
    pub kind: Kind,
    /// For which term.
    pub term: Term,
    /// The show, where the message names it; else the search finds it.
    pub show: Option<ShowId>,
    /// The table's name in the dataset.
    pub table: String,
    /// How much of a listing that stays contradictory may be missing, in percent.
    pub max_missing_percent: u8,
}

/// How much of a listing may be missing if the message does not say, in percent. A search shows a
/// different selection from hour to hour, a show's episodes stay.
fn default_missing_percent(kind: Kind) -> u8 {
    match kind {
        Kind::Podcasts => 10,
        Kind::Episodes | Kind::Mentions => 2,
    }
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Replace one table.
    Load(Job),
    /// Publish one message for each of these.
    FanOut(Vec<TriggerMessage>),
}

/// What a message of ours says, in the form in which it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TriggerMessage {
    /// A kind's name, or one of the names that [`Naming::kind`] knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// One term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_term: Option<String>,
    /// The show, found by search where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_id: Option<String>,
    /// [`Job::max_missing_percent`], the kind's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_missing_percent: Option<u8>,
}

impl TriggerMessage {
    /// The message's data.
    pub fn to_data(&self) -> Vec<u8> {
        // A struct of strings and a number has no value that JSON lacks.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The keys of a message, as they stand in its data or attributes.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    table: Option<Value>,
    #[serde(default)]
    search_term: Option<Value>,
    #[serde(default)]
    show_id: Option<Value>,
    #[serde(default)]
    max_missing_percent: Option<Value>,
}

/// Reads what a message asks for, or refuses it with the key and what is allowed.
pub fn parse(message: &Message, naming: &Naming) -> Result<Request, Failure> {
    let keys = match &message.data {
        Data::NotBase64(_) => {
            return Err(refused("bad_base64", "message.data is not base64".to_owned()));
        }
        Data::Bytes(bytes) if bytes.is_empty() => from_attributes(&message.attributes)?,
        Data::Bytes(bytes) => from_json(bytes)?,
    };
    if keys.table.is_none() && keys.search_term.is_none() {
        let why = "the message names neither `table` nor `search_term`; it needs at least one";
        return Err(invalid(why));
    }
    let kind = keys.table.map(|value| kind(value, naming)).transpose()?;
    let terms = keys.search_term.map(terms).transpose()?;
    let show = keys.show_id.map(show).transpose()?;
    let percent = keys.max_missing_percent.map(percent).transpose()?;
    if show.is_some() {
        if terms.as_ref().is_none_or(|terms| terms.len() != 1) {
            return Err(invalid("`show_id` needs `search_term` with one term"));
        }
        if kind == Some(Kind::Podcasts) {
            return Err(invalid("`show_id` does not go with the table `podcasts`"));
        }
    }
    let terms = terms.unwrap_or_else(|| vec![naming.term.clone()]);
    match (kind, terms.as_slice()) {
        (Some(kind), [term]) => {
            let table = naming.table(kind, term);
            let max_missing_percent = percent.unwrap_or_else(|| default_missing_percent(kind));
            Ok(Request::Load(Job { kind, term: term.clone(), show, table, max_missing_percent }))
        }
        _ => Ok(Request::FanOut(messages(kind, &terms, show.as_ref(), percent))),
    }
}

fn messages(
    kind: Option<Kind>,
    terms: &[Term],
    show: Option<&ShowId>,
    max_missing_percent: Option<u8>,
) -> Vec<TriggerMessage> {
    let kinds = kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
    let pairs = terms.iter().flat_map(|term| kinds.iter().map(move |kind| (term, *kind)));
    pairs
        .map(|(term, kind)| TriggerMessage {
            table: Some(kind.name().to_owned()),
            search_term: Some(term.text().to_owned()),
            show_id: show.filter(|_| kind != Kind::Podcasts).map(|show| show.as_str().to_owned()),
            max_missing_percent,
        })
        .collect()
}

fn from_json(bytes: &[u8]) -> Result<Keys, Failure> {
    let error = match serde_json::from_slice(bytes) {
        // serde would read a list as the keys' values in their order.
        Ok(keys) if bytes.trim_ascii_start().starts_with(b"{") => return Ok(keys),
        Ok(_) => return Err(invalid("message.data is not a JSON object")),
        Err(error) => error,
    };
    // Read once more to tell text that is no JSON from JSON that is no message of ours.
    match serde_json::from_slice::<Value>(bytes) {
        Err(error) => Err(refused("bad_json", format!("message.data is not JSON: {error}"))),
        Ok(Value::Object(_)) => Err(invalid(&error.to_string())),
        Ok(_) => Err(invalid("message.data is not a JSON object")),
    }
}

fn from_attributes(attributes: &BTreeMap<String, String>) -> Result<Keys, Failure> {
    let mut keys = Keys::default();
    for (key, value) in attributes {
        let slot = match key.as_str() {
            "table" => &mut keys.table,
            "search_term" => &mut keys.search_term,
            "show_id" => &mut keys.show_id,
            "max_missing_percent" => &mut keys.max_missing_percent,
            // Google's own: client libraries', the dead-letter forwarder's, Eventarc's.
            _ if is_google_attribute(key) => continue,
            _ => {
                let key = crate::text::excerpt(key, 256);
                return Err(invalid(&format!(
                    "unknown attribute `{key}`, expected one of `table`, `search_term`, `show_id`, \
                     `max_missing_percent`"
                )));
            }
        };
        // Attributes hold only texts, so a number is one of digits.
        let number = value.parse::<u64>().ok().filter(|_| key == "max_missing_percent");
        *slot = Some(number.map_or_else(|| Value::String(value.clone()), Value::from));
    }
    Ok(keys)
}

fn kind(value: Value, naming: &Naming) -> Result<Kind, Failure> {
    let allowed = || {
        let names: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| {
                format!("{kind}, {}, {}", kind.legacy_name(), naming.configured_table(*kind))
            })
            .collect();
        names.join(", ")
    };
    match &value {
        Value::String(table) => naming.parse_kind(table).ok_or_else(|| {
            let table = crate::text::excerpt(table, 100);
            invalid(&format!("`table` is {table:?}, expected one of {}", allowed()))
        }),
        other => {
            Err(invalid(&format!("`table` is {}, expected one of {}", form(other), allowed())))
        }
    }
}

fn terms(value: Value) -> Result<Vec<Term>, Failure> {
    let term = |value: &Value| match value {
        Value::String(text) => {
            Term::parse(text).map_err(|why| invalid(&format!("`search_term`: {why}")))
        }
        other => Err(invalid(&format!(
            "`search_term` is or holds {}, expected a text or a list of texts",
            form(other)
        ))),
    };
    let Value::Array(list) = value else { return Ok(vec![term(&value)?]) };
    if list.is_empty() || list.len() > MAX_TERMS {
        return Err(invalid(&format!(
            "`search_term` is a list of {}, expected 1 to {MAX_TERMS} terms",
            list.len()
        )));
    }
    let mut terms: Vec<Term> = Vec::with_capacity(list.len());
    for value in &list {
        let term = term(value)?;
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    Ok(terms)
}

fn show(value: Value) -> Result<ShowId, Failure> {
    value.as_str().and_then(ShowId::parse).ok_or_else(|| {
        invalid("`show_id` must be the 22 letters and digits of a Spotify show's id")
    })
}

fn percent(value: Value) -> Result<u8, Failure> {
    let allowed = "expected a whole number from 0 to 100";
    let found = match &value {
        Value::Number(number) => match number.as_u64() {
            Some(percent @ 0..=100) => return Ok(percent as u8),
            _ => number.to_string(),
        },
        Value::String(text) => format!("{:?}", crate::text::excerpt(text, 100)),
        other => form(other).to_owned(),
    };
    Err(invalid(&format!("`max_missing_percent` is {found}, {allowed}")))
}

fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn invalid(detail: &str) -> Failure {
    refused("refused", detail.to_owned())
}

fn refused(reason: &'static str, detail: String) -> Failure {
    Failure::Refused { reason, detail: crate::text::excerpt(&detail, 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        Naming {
            term: Term::parse("data hackers").unwrap(),
            tables: ["tb_p", "tb_e", "tb_m"].map(str::to_owned),
        }
    }

    fn ask(data: &str, attributes: &[(&str, &str)]) -> Result<Request, Failure> {
        let message = Message {
            id: "1".to_owned(),
            publish_time: String::new(),
            attributes: attributes
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            data: Data::Bytes(data.as_bytes().to_vec()),
        };
        parse(&message, &naming())
    }

    fn job(data: &str) -> Job {
        match ask(data, &[]) {
            Ok(Request::Load(job)) => job,
            other => panic!("{data}: {other:?}"),
        }
    }

    fn fan_out(data: &str) -> Vec<String> {
        match ask(data, &[]) {
            Ok(Request::FanOut(messages)) => messages
                .iter()
                .map(|message| String::from_utf8(message.to_data()).unwrap())
                .collect(),
            other => panic!("{data}: {other:?}"),
        }
    }

    #[test]
    fn one_table_is_a_job() {
        for table in ["episodes", "tabela_6", "tb_e"] {
            let job = job(&format!(r#"{{"table":"{table}"}}"#));
            assert_eq!((job.kind, job.table.as_str()), (Kind::Episodes, "tb_e"));
            assert_eq!(job.term.text(), "data hackers");
        }
        assert_eq!(job(r#"{"table":"podcasts","search_term":["x"]}"#).table, "podcasts_x");
        assert_eq!(job(r#"{"table":"podcasts","search_term":null}"#).table, "tb_p");
        let shown =
            job(r#"{"table":"mentions","search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#);
        assert_eq!(shown.show.unwrap().as_str(), "1oMIHOXsrLFENAeM743g93");
    }

    #[test]
    fn attributes_count_only_without_data() {
        let job = ask("", &[("table", "podcasts"), ("googclient_schemarevisionid", "1")]).unwrap();
        assert!(matches!(job, Request::Load(Job { kind: Kind::Podcasts, .. })));
        let with_data = ask(r#"{"table":"episodes"}"#, &[("table", "podcasts"), ("other", "1")]);
        assert!(matches!(with_data, Ok(Request::Load(Job { kind: Kind::Episodes, .. }))));
    }

    #[test]
    fn what_may_be_missing_is_a_percentage_and_kept_in_a_fan_out() {
        for (data, percent) in [
            (r#"{"table":"podcasts"}"#, 10),
            (r#"{"table":"episodes"}"#, 2),
            (r#"{"table":"mentions","max_missing_percent":null}"#, 2),
            (r#"{"table":"mentions","max_missing_percent":0}"#, 0),
            (r#"{"table":"podcasts","max_missing_percent":100}"#, 100),
        ] {
            assert_eq!(job(data).max_missing_percent, percent, "{data}");
        }
        let attributes = [("table", "episodes"), ("max_missing_percent", "15")];
        let job = ask("", &attributes).unwrap();
        assert!(matches!(job, Request::Load(Job { max_missing_percent: 15, .. })), "{job:?}");
        for wrong in ["", "101", "-1", "2.5", "five"] {
            let refused = ask("", &[attributes[0], ("max_missing_percent", wrong)]).unwrap_err();
            assert!(refused.to_string().contains("from 0 to 100"), "{wrong}: {refused}");
        }
        assert_eq!(
            fan_out(r#"{"table":"episodes","search_term":["x","y"],"max_missing_percent":5}"#),
            [
                r#"{"table":"episodes","search_term":"x","max_missing_percent":5}"#,
                r#"{"table":"episodes","search_term":"y","max_missing_percent":5}"#,
            ]
        );
    }

    #[test]
    fn more_than_one_table_or_term_is_a_fan_out() {
        assert_eq!(
            fan_out(r#"{"search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#),
            [
                r#"{"table":"podcasts","search_term":"x"}"#,
                r#"{"table":"episodes","search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
                r#"{"table":"mentions","search_term":"x","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
            ]
        );
        assert_eq!(
            fan_out(r#"{"table":"podcasts","search_term":["x","é","E"]}"#),
            [
                r#"{"table":"podcasts","search_term":"x"}"#,
                r#"{"table":"podcasts","search_term":"é"}"#,
            ]
        );
        let all: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
        let data = serde_json::json!({ "search_term": all }).to_string();
        assert_eq!(fan_out(&data).len(), 900);
    }

    #[test]
    fn every_refusal_names_the_key_and_what_is_allowed() {
        let long = format!(r#"{{"search_term":"{}"}}"#, "x".repeat(101));
        let many = serde_json::json!({ "search_term": vec!["x"; 301] }).to_string();
        for (data, reason, detail) in [
            ("{", "bad_json", "message.data is not JSON"),
            ("\u{feff}{}", "bad_json", "message.data is not JSON"),
            ("[]", "refused", "not a JSON object"),
            ("{}", "refused", "neither `table` nor `search_term`"),
            (
                r#"{"tabel":"x"}"#,
                "refused",
                "unknown field `tabel`, expected one of `table`, `search_term`, `show_id`, \
                 `max_missing_percent`",
            ),
            (r#"{"table":"x","table":"y"}"#, "refused", "duplicate field `table`"),
            (
                r#"{"table":"x"}"#,
                "refused",
                r#"`table` is "x", expected one of podcasts, tabela_5, tb_p"#,
            ),
            (r#"{"table":5}"#, "refused", "`table` is a number, expected one of podcasts"),
            (r#"{"table":["podcasts"]}"#, "refused", "`table` is a list"),
            (r#"{"max_missing_percent":5}"#, "refused", "neither `table` nor"),
            (
                r#"{"table":"episodes","max_missing_percent":101}"#,
                "refused",
                "`max_missing_percent` is 101, expected a whole number from 0 to 100",
            ),
            (
                r#"{"table":"episodes","max_missing_percent":-1}"#,
                "refused",
                "`max_missing_percent` is -1,",
            ),
            (
                r#"{"table":"episodes","max_missing_percent":2.5}"#,
                "refused",
                "`max_missing_percent` is 2.5,",
            ),
            (
                r#"{"search_term":"x","max_missing_percent":"5"}"#,
                "refused",
                "`max_missing_percent` is \"5\",",
            ),
            (
                r#"{"table":"podcasts","max_missing_percent":[5]}"#,
                "refused",
                "`max_missing_percent` is a list,",
            ),
            (r#"{"search_term":5}"#, "refused", "`search_term` is or holds a number"),
            (r#"{"search_term":[null]}"#, "refused", "`search_term` is or holds null"),
            (
                r#"{"search_term":""}"#,
                "refused",
                "`search_term`: a search term has at least one visible",
            ),
            (&long, "refused", "at most 100 characters, this one has 101"),
            (r#"{"search_term":[]}"#, "refused", "a list of 0, expected 1 to 300"),
            (&many, "refused", "a list of 301, expected 1 to 300"),
            (r#"{"show_id":"1oMIHOXsrLFENAeM743g93"}"#, "refused", "neither `table` nor"),
            (
                r#"{"table":"episodes","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
                "refused",
                "`show_id` needs `search_term`",
            ),
            (
                r#"{"search_term":["a","b"],"show_id":"1oMIHOXsrLFENAeM743g93"}"#,
                "refused",
                "`show_id` needs `search_term` with one",
            ),
            (
                r#"{"table":"podcasts","search_term":"a","show_id":"1oMIHOXsrLFENAeM743g93"}"#,
                "refused",
                "does not go with the table `podcasts`",
            ),
            (
                r#"{"table":"episodes","search_term":"a","show_id":"../../etc/passwd/and/mo"}"#,
                "refused",
                "22 letters and digits",
            ),
        ] {
            match ask(data, &[]) {
                Err(Failure::Refused { reason: r, detail: d }) => {
                    assert_eq!(r, reason, "{data}");
                    assert!(d.contains(detail), "{data}: {d}");
                }
                other => panic!("{data}: {other:?}"),
            }
        }
        let unknown = ask("", &[("tabel", "podcasts")]);
        assert!(
            matches!(unknown, Err(Failure::Refused { detail, .. }) if detail.contains("unknown attribute `tabel`"))
        );
        assert!(ask("", &[]).is_err());
    }

    #[test]
    fn what_is_published_is_read_back() {
        let message = TriggerMessage {
            table: Some("mentions".to_owned()),
            search_term: Some("café \"x\"".to_owned()),
            show_id: None,
            max_missing_percent: Some(7),
        };
        let job = job(std::str::from_utf8(&message.to_data()).unwrap());
        assert_eq!((job.kind, job.term.text()), (Kind::Mentions, "café \"x\""));
        assert_eq!(job.max_missing_percent, 7);
    }
}
