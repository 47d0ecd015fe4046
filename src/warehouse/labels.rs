//! The labels of a load job, which say later where its rows come from: to `publish --wait`, `check` and
//! the next delivery of the message. Only this file writes and reads them.
//!
//! BigQuery allows lower-case letters, digits, `_` and `-`, at most 63 of them
//! (<https://cloud.google.com/bigquery/docs/labels-intro>).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::{Load, Origin};
use crate::names::{ChosenShow, ShowId, ShowMatch};
use crate::text;

/// The longest value that BigQuery allows.
const MAX_VALUE: usize = 63;

/// The value of the label `service`, which distinguishes our jobs from all others of the project.
const SERVICE: &str = "spotify-bq";

/// The start of a message id that is not a valid label and was hashed. No plain id starts with it.
const HASHED: &str = "sha256-";

/// Returns the labels of a load's job.
pub(super) fn labels(load: &Load<'_>, origin: &Origin) -> HashMap<String, String> {
    let term = load.job.term.slug();
    let mut labels = HashMap::from([
        ("service".to_owned(), SERVICE.to_owned()),
        ("kind".to_owned(), load.job.kind.name().to_owned()),
        ("term".to_owned(), text::cut(&term, MAX_VALUE).to_owned()),
        ("message".to_owned(), message_label(load.message_id)),
        ("read_at".to_owned(), millis(origin.read_at).to_string()),
    ]);
    if let Some(shared) = origin.shared {
        labels.insert("shared_reading".to_owned(), shared.to_string());
    }
    let Some(show) = &origin.show else { return labels };
    if let Some(r#match) = show.r#match {
        labels.insert("show_match".to_owned(), r#match.name().to_owned());
    }
    // No label is better than a wrong show.
    if let Some(label) = show_label(&show.id) {
        labels.insert("show".to_owned(), label);
    }
    labels
}

/// Returns whether a job with these labels is one of this service.
pub(crate) fn is_ours(labels: &HashMap<String, String>) -> bool {
    labels.get("service").is_some_and(|service| service == SERVICE)
}

/// Returns whether a job with these labels is a load of the message with this id.
pub(crate) fn is_of_message(labels: &HashMap<String, String>, message_id: &str) -> bool {
    labels.get("message").is_some_and(|label| *label == message_label(message_id))
}

/// Reads what the labels say about the job's rows. Returns `None` if they are not ours.
pub(crate) fn origin(labels: &HashMap<String, String>) -> Option<Origin> {
    let read_at: u64 = labels.get("read_at")?.parse().ok()?;
    let r#match = labels.get("show_match").and_then(|label| ShowMatch::of_name(label));
    let show = labels.get("show").and_then(|label| show_of(label));
    Some(Origin {
        show: show.map(|id| ChosenShow { id, name: None, r#match }),
        read_at: UNIX_EPOCH.checked_add(Duration::from_millis(read_at))?,
        shared: labels.get("shared_reading").and_then(|label| label.parse().ok()),
        listed: None,
    })
}

/// Returns a message's id as a label. Pub/Sub's ids are digits and stay as they are; ids of other
/// senders that are not valid labels are hashed.
pub(crate) fn message_label(message_id: &str) -> String {
    let is_plain = (1..=MAX_VALUE).contains(&message_id.len())
        && message_id.bytes().all(is_allowed)
        && !message_id.starts_with(HASHED);
    if is_plain {
        return message_id.to_owned();
    }
    let digest = Sha256::digest(message_id.as_bytes());
    format!("{HASHED}{}", hex(&digest[..16]))
}

/// Returns a show's id as a label: in hex, since labels have no capital letters. Returns `None` if the
/// id is too long; Spotify's ids have 22 characters.
fn show_label(show: &ShowId) -> Option<String> {
    let label = hex(show.as_str().as_bytes());
    (label.len() <= MAX_VALUE).then_some(label)
}

fn show_of(label: &str) -> Option<ShowId> {
    let digits: Vec<u8> = label
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty()
        .then(|| String::from_utf8(bytes).ok())
        .flatten()
        .and_then(|id| ShowId::from_spotify(&id))
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::names::{Kind, Term};

    fn written(message_id: &str, origin: &Origin) -> HashMap<String, String> {
        let job = Job {
            kind: Kind::Episodes,
            term: Term::parse("ação").unwrap(),
            show: None,
            max_missing_percent: 2,
            table: "t".to_owned(),
        };
        labels(&Load::new(&job, "p.d", message_id, ""), origin)
    }

    fn origin_of(show: Option<&str>) -> Origin {
        Origin {
            show: show.map(|id| ChosenShow {
                id: ShowId::from_spotify(id).unwrap(),
                name: None,
                r#match: Some(ShowMatch::First),
            }),
            read_at: UNIX_EPOCH + Duration::from_millis(1_764_000_000_123),
            shared: show.map(|id| id == "a"),
            listed: None,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for show in [None, Some("1oMIHOXsrLFENAeM743g93"), Some("a"), Some("0_-Z")] {
            let labels = written("1234567890", &origin_of(show));
            assert!(is_ours(&labels) && is_of_message(&labels, "1234567890"));
            assert!(!is_of_message(&labels, "1234567891"));
            assert_eq!(origin(&labels), Some(origin_of(show)));
        }
    }

    #[test]
    fn every_value_is_one_that_bigquery_allows() {
        let long = "a".repeat(64);
        let mut seen = std::collections::HashSet::new();
        for id in ["1", "Ab/+ é", "ab", "AB", &long, "sha256-0", ""] {
            let labels = written(id, &origin_of(Some(&"Z".repeat(64))));
            for (key, value) in &labels {
                let fits = value.len() <= MAX_VALUE && value.bytes().all(is_allowed);
                assert!(fits && !value.is_empty(), "{key}: {value}");
            }
            assert!(is_of_message(&labels, id));
            assert!(seen.insert(labels["message"].clone()), "two ids share {}", labels["message"]);
            // An id that does not fit leaves the show open rather than naming another.
            assert_eq!(origin(&labels).unwrap().show, None);
        }
    }

    #[test]
    fn labels_of_an_earlier_version_say_less() {
        let mut labels = written("1", &origin_of(Some("a")));
        labels.remove("show_match");
        labels.remove("shared_reading");
        let mut expected = Origin { shared: None, ..origin_of(Some("a")) };
        expected.show.as_mut().unwrap().r#match = None;
        assert_eq!(origin(&labels), Some(expected));
    }

    #[test]
    fn foreign_labels_say_nothing() {
        let labels = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert!(!is_ours(&labels(&[])) && !is_ours(&labels(&[("service", "airflow")])));
        assert_eq!(origin(&labels(&[("read_at", "yesterday")])), None);
        assert_eq!(origin(&labels(&[("read_at", "18446744073709551615")])).map(|_| ()), Some(()));
        for odd in ["6", "zz", "ff", "2f", "é"] {
            let origin = origin(&labels(&[("read_at", "1"), ("show", odd)])).unwrap();
            assert_eq!(origin.show, None, "{odd}");
        }
    }
}
