//! What must hold of any input. The fuzz targets try it with millions; `cargo test` with the seeds.
#![allow(dead_code, reason = "each target has one of the two")]

use std::collections::HashSet;

use serde_json::Value;
use spotify_bq::config::{Config, Phrases, Purpose};
use spotify_bq::failure::{Decision, Failure};
use spotify_bq::job::{self, Action, Job};
use spotify_bq::names::{Kind, Naming, Term};
use spotify_bq::warehouse::{Load, schema};
use spotify_bq::{envelope, letter, seam};

/// What came of a body, in one word: `load`, `fan_out`, or a failure's reason.
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
            fits(&job);
            "load"
        }
        Ok(Action::FanOut(orders)) => {
            assert!((2..=900).contains(&orders.len()), "{} orders", orders.len());
            let mut tables = HashSet::new();
            for order in orders {
                let job = read_back(&order.to_data());
                fits(&job);
                assert!(tables.insert(job.table), "two orders for one table");
            }
            "fan_out"
        }
        Err(failure) => {
            assert_eq!(failure.decision(), Decision::DeadLetter);
            fits_a_letter(message, &failure);
            failure.reason()
        }
    }
}

/// As configured by default.
fn naming() -> Naming {
    let none = |_: &str| None;
    Config::read(&none, None, Purpose::Tool).unwrap().naming
}

fn read_back(data: &[u8]) -> Job {
    let message = envelope::Message {
        id: "1".to_owned(),
        publish_time: String::new(),
        attributes: Default::default(),
        data: envelope::Data::Bytes(data.to_vec()),
    };
    match job::parse(&message, &naming()) {
        Ok(Action::Load(job)) => job,
        other => panic!("{:?} is read as {other:?}", String::from_utf8_lossy(data)),
    }
}

/// Names that BigQuery takes.
fn fits(job: &Job) {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    assert!(job.table.len() <= 1024 && job.table.bytes().all(name), "table {:?}", job.table);
    let id = Load::new(job, "p.d", "1", "t").job_id(999);
    assert!(id.len() <= 1024 && id.bytes().all(|byte| name(byte) || byte == b'-'), "job {id:?}");
    assert_eq!(Term::parse(job.term.text()).as_ref(), Ok(&job.term));
}

/// Bounds of Pub/Sub, without which the letter is refused and the message lost.
fn fits_a_letter(message: &envelope::Message, failure: &Failure) {
    let attributes = letter::attributes(message, failure);
    assert!(attributes.len() <= 100);
    assert_eq!(attributes["reason"], failure.reason());
    for (key, value) in &attributes {
        assert!((1..=256).contains(&key.len()) && value.len() <= 1024, "{key:?}: {value:?}");
    }
}

/// The longest excerpt of an answer in an error.
const MAX_EXCERPT: usize = 303;

/// What came of an answer, whose first byte says what was asked: `rows`, `none` where it is no
/// answer to that, or `error` for the words of one. An answer with items always comes to rows: those
/// of its items that have an id, whatever their other fields hold.
pub fn spotify_answer(input: &[u8]) -> &'static str {
    let Some((first, body)) = input.split_first() else { return "none" };
    let kind = match first % 4 {
        0 => Kind::Podcasts,
        1 => Kind::Episodes,
        2 => Kind::Mentions,
        _ => {
            let (words, _) = seam::error_words(body);
            assert!(words.len() <= MAX_EXCERPT && !words.contains(char::is_control), "{words:?}");
            return "error";
        }
    };
    let phrases = Phrases::parse("Grupo Boticário|Ω|1").expect("phrases");
    let rows = seam::rows(kind, body, &phrases);
    let listed = Listed::read(kind, body);
    let rows = match (rows, &listed) {
        (Ok(rows), Listed::Items(_) | Listed::Unknown) => rows,
        (Ok(_), Listed::Nothing) => panic!("rows of an answer without items"),
        (Err(why), Listed::Items(items)) if !items.is_empty() => panic!("items are lost: {why}"),
        (Err(why), listed) => {
            let json = matches!(listed, Listed::Items(_) | Listed::Nothing);
            assert!(!(json && why.contains("is not JSON")), "{why}");
            let named =
                ["`", "the response is ", "an error "].iter().any(|how| why.starts_with(how));
            assert!(named && !why.contains(char::is_control), "{why:?}");
            assert!(why.len() <= 2 * MAX_EXCERPT, "{why:?}");
            return "none";
        }
    };
    let text: Vec<u8> = rows.chunks().concat();
    assert_eq!(text.len(), rows.bytes());
    let mut ids = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let row: Value = serde_json::from_slice(line).expect("a row is a line of JSON");
        fits_the_table(kind, &row);
        let id = row["id"].as_str().expect("an id is a text").to_owned();
        assert!(!id.trim().is_empty() && !ids.contains(&id), "{id:?} is no id of its own");
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

/// What an answer lists, as another reader of JSON has it.
enum Listed {
    Items(Vec<Value>),
    /// JSON that is no page.
    Nothing,
    /// What that reader cannot read: it refuses half surrogate pairs, and numbers that are too large.
    Unknown,
}

impl Listed {
    fn read(kind: Kind, body: &[u8]) -> Self {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let Ok(mut answer) = serde_json::from_slice::<Value>(body) else { return Self::Unknown };
        let page = match kind {
            Kind::Podcasts => answer.get_mut("shows"),
            Kind::Episodes | Kind::Mentions => Some(&mut answer),
        };
        match page.and_then(|page| page.get_mut("items")).map(Value::take) {
            Some(Value::Array(items)) => Self::Items(items),
            _ => Self::Nothing,
        }
    }
}

/// The ids of items in their order, each once.
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

/// Exactly the table's columns, each of its type.
fn fits_the_table(kind: Kind, row: &Value) {
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
            other => panic!("no type of ours: {other}"),
        };
        assert!(fits, "{}: {value} is no {}", column.name, column.r#type);
    }
}

/// What came of an answer of BigQuery's, whose first byte says what was asked: `none` where it is no
/// answer; a table that is `ours`; a job that is `running` or `done`; else a failure's reason.
pub fn bigquery_answer(input: &[u8]) -> String {
    let Some((first, body)) = input.split_first() else { return "none".to_owned() };
    match first % 8 {
        kind @ 0..3 => {
            let kind = Kind::ALL[usize::from(kind)];
            match seam::table_answer(kind, body) {
                None => "none".to_owned(),
                Some(Ok(_)) => "ours".to_owned(),
                Some(Err(failure)) => retried_in_few_words(&failure),
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
            Some((_, Some(failure))) => retried_in_few_words(&failure),
        },
        status => {
            let status =
                [400, 401, 403, 404, 410][usize::from(status) - 4 + usize::from(first / 128)];
            retried_in_few_words(&seam::refusal_answer(status, body))
        }
    }
}

/// No answer of BigQuery's but one about rows is a reason to give a message up.
fn retried_in_few_words(failure: &Failure) -> String {
    assert!(matches!(failure.decision(), Decision::Retry { .. }), "{failure}");
    let words = failure.to_string();
    assert!(words.len() <= 1200 && !words.contains(char::is_control), "{words:?}");
    failure.reason().to_owned()
}
