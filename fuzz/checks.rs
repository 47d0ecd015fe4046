//! Checks for any input. The fuzz targets run them with random inputs, `cargo test` with the seeds.
#![allow(dead_code, reason = "each target uses one of the checks")]

use std::collections::HashSet;

use serde_json::Value;
use spotify_bq::config::{Config, Phrases, Purpose};
use spotify_bq::failure::{Decision, Failure};
use spotify_bq::job::{self, Action, Job};
use spotify_bq::names::{Kind, Naming, Term};
use spotify_bq::warehouse::{Load, schema};
use spotify_bq::{envelope, letter, seam};

/// Returns the outcome of a push's body: `load`, `fan_out`, or a failure's reason.
pub fn push_body(body: &[u8]) -> &'static str {
    let envelope = match envelope::parse(body) {
        Ok(envelope) => envelope,
        Err(failure) => {
            assert_eq!(failure.decision(), Decision::BadRequest);
            return failure.reason();
        }
    };
    let message = &envelope.message;
    assert!(!message.id.is_empty());
    match job::parse(message, &naming()) {
        Ok(Action::Load(job)) => {
            check_names(&job);
            "load"
        }
        Ok(Action::FanOut(orders)) => {
            assert!((2..=900).contains(&orders.len()), "{} orders", orders.len());
            let mut tables = HashSet::new();
            for order in orders {
                let job = parse_data(&order.to_data());
                check_names(&job);
                assert!(tables.insert(job.table), "two orders for one table");
            }
            "fan_out"
        }
        Err(failure) => {
            assert_eq!(failure.decision(), Decision::DeadLetter);
            check_dead_letter(message, &failure);
            failure.reason()
        }
    }
}

/// Returns the default names.
fn naming() -> Naming {
    let none = |_: &str| None;
    Config::read(&none, None, Purpose::Tool).unwrap().naming
}

fn parse_data(data: &[u8]) -> Job {
    let message = envelope::Message {
        id: "1".to_owned(),
        publish_time: String::new(),
        attributes: Default::default(),
        data: envelope::Data::Bytes(data.to_vec()),
    };
    match job::parse(&message, &naming()) {
        Ok(Action::Load(job)) => job,
        other => panic!("{:?} was parsed as {other:?}", String::from_utf8_lossy(data)),
    }
}

/// Checks that BigQuery accepts the names.
fn check_names(job: &Job) {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    assert!(job.table.len() <= 1024 && job.table.bytes().all(name), "table {:?}", job.table);
    let id = Load::new(job, "p.d", "1", "t").job_id(999);
    assert!(id.len() <= 1024 && id.bytes().all(|byte| name(byte) || byte == b'-'), "job {id:?}");
    assert_eq!(Term::parse(job.term.text()).as_ref(), Ok(&job.term));
}

/// Checks that the dead letter is within Pub/Sub's limits.
fn check_dead_letter(message: &envelope::Message, failure: &Failure) {
    let attributes = letter::attributes(message, failure);
    assert!(attributes.len() <= 100);
    assert_eq!(attributes["reason"], failure.reason());
    for (key, value) in &attributes {
        assert!((1..=256).contains(&key.len()) && value.len() <= 1024, "{key:?}: {value:?}");
    }
}

/// The longest excerpt of a response in an error.
const MAX_EXCERPT_BYTES: usize = 303;

/// Returns the outcome of a response of Spotify: `rows`, `none` if it is not the expected response, or `error`
/// for an error. The first byte selects the kind of response. A response with items always results in the rows of
/// all items with an ID, whatever their other fields are.
pub fn spotify_answer(input: &[u8]) -> &'static str {
    let Some((first, body)) = input.split_first() else { return "none" };
    let kind = match first % 4 {
        0 => Kind::Podcasts,
        1 => Kind::Episodes,
        2 => Kind::Mentions,
        _ => {
            let (words, _) = seam::error_words(body);
            assert!(
                words.len() <= MAX_EXCERPT_BYTES && !words.contains(char::is_control),
                "{words:?}"
            );
            return "error";
        }
    };
    let phrases = Phrases::parse("Grupo Boticário|Ω|1").expect("phrases");
    let rows = seam::rows(kind, body, &phrases);
    let listed = Listed::read(kind, body);
    let rows = match (rows, &listed) {
        (Ok(rows), Listed::Items(_) | Listed::Unknown) => rows,
        (Ok(_), Listed::Nothing) => panic!("rows from a response without items"),
        (Err(why), Listed::Items(items)) if !items.is_empty() => panic!("items were lost: {why}"),
        (Err(why), listed) => {
            let json = matches!(listed, Listed::Items(_) | Listed::Nothing);
            assert!(!(json && why.contains("is not JSON")), "{why}");
            let named =
                ["`", "the response is ", "an error "].iter().any(|how| why.starts_with(how));
            assert!(named && !why.contains(char::is_control), "{why:?}");
            assert!(why.len() <= 2 * MAX_EXCERPT_BYTES, "{why:?}");
            return "none";
        }
    };
    let text: Vec<u8> = rows.chunks().concat();
    assert_eq!(text.len(), rows.bytes());
    let mut ids = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let row: Value = serde_json::from_slice(line).expect("a row is a line of JSON");
        check_row(kind, &row);
        let id = row["id"].as_str().expect("an id is a string").to_owned();
        assert!(!id.trim().is_empty() && !ids.contains(&id), "{id:?} is empty or a duplicate");
        ids.push(id);
        let texts =
            row.as_object().into_iter().flat_map(|row| row.values()).filter_map(Value::as_str);
        assert!(!texts.into_iter().any(|text| text.contains('\0')), "{row}");
    }
    assert_eq!(ids.len() as u64, rows.count());
    if let Listed::Items(items) = listed {
        let expected = ids_of(&items);
        match kind {
            Kind::Podcasts => assert_eq!(ids, expected[..expected.len().min(50)]),
            Kind::Episodes => assert_eq!(ids, expected),
            Kind::Mentions => assert!(ids.iter().all(|id| expected.contains(id)), "{ids:?}"),
        }
    }
    "rows"
}

/// The items of a response, read with another JSON parser.
enum Listed {
    Items(Vec<Value>),
    /// JSON that is not a page.
    Nothing,
    /// Not read by that parser, which rejects unpaired surrogates and numbers that are too large.
    Unknown,
}

impl Listed {
    fn read(kind: Kind, body: &[u8]) -> Self {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let Ok(mut response) = serde_json::from_slice::<Value>(body) else { return Self::Unknown };
        let page = match kind {
            Kind::Podcasts => response.get_mut("shows"),
            Kind::Episodes | Kind::Mentions => Some(&mut response),
        };
        match page.and_then(|page| page.get_mut("items")).map(Value::take) {
            Some(Value::Array(items)) => Self::Items(items),
            _ => Self::Nothing,
        }
    }
}

/// Returns the IDs of items in their order, without duplicates.
fn ids_of(items: &[Value]) -> Vec<String> {
    let mut ids = Vec::new();
    for id in items.iter().filter_map(|item| item.get("id")?.as_str()) {
        let id = id.replace('\0', "");
        if !id.trim().is_empty() && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// Checks that a row has exactly the table's columns, each with its type.
fn check_row(kind: Kind, row: &Value) {
    let row = row.as_object().expect("a row is an object");
    let columns = schema(kind);
    assert_eq!(row.len(), columns.len());
    for column in columns {
        let value = &row[&column.name];
        let fits = match column.r#type.as_str() {
            _ if value.is_null() => column.name != "id",
            "STRING" => value.is_string(),
            "INTEGER" => value.is_i64(),
            "BOOLEAN" => value.is_boolean(),
            "DATE" => value.as_str().is_some_and(|date| {
                let form = time::macros::format_description!("[year]-[month]-[day]");
                date.len() == 10 && time::Date::parse(date, form).is_ok()
            }),
            other => panic!("unexpected type: {other}"),
        };
        assert!(fits, "{}: {value} is not a {}", column.name, column.r#type);
    }
}

/// Returns the outcome of a response of BigQuery: `none` if it is not the expected response, `ours` for a table
/// with the expected columns, `running` or `done` for a job, or a failure's reason. The first byte selects the kind
/// of response.
pub fn bigquery_answer(input: &[u8]) -> String {
    let Some((first, body)) = input.split_first() else { return "none".to_owned() };
    match first % 8 {
        kind @ 0..3 => {
            let kind = Kind::ALL[usize::from(kind)];
            match seam::table_answer(kind, body) {
                None => "none".to_owned(),
                Some(Ok(_)) => "ours".to_owned(),
                Some(Err(failure)) => check_retry(&failure),
            }
        }
        3 => match seam::job_answer(body) {
            None => "none".to_owned(),
            Some((state, None)) => {
                assert!(state.len() <= 23 && !state.contains(char::is_control), "{state:?}");
                if state == "DONE" { "done".to_owned() } else { "running".to_owned() }
            }
            Some((_, Some(failure @ Failure::InvalidRows { .. }))) => {
                assert_eq!(failure.decision(), Decision::DeadLetter);
                failure.reason().to_owned()
            }
            Some((_, Some(failure))) => check_retry(&failure),
        },
        status => {
            let status =
                [400, 401, 403, 404, 410][usize::from(status) - 4 + usize::from(first / 128)];
            check_retry(&seam::refusal_answer(status, body))
        }
    }
}

/// Checks that a failure is retried and its text is short. Only invalid rows dead-letter a message.
fn check_retry(failure: &Failure) -> String {
    assert!(matches!(failure.decision(), Decision::Retry { .. }), "{failure}");
    let words = failure.to_string();
    assert!(words.len() <= 1200 && !words.contains(char::is_control), "{words:?}");
    failure.reason().to_owned()
}
