//! The labels of a load job: where its rows come from. `publish --wait` and the message's next delivery
//! read them. Only this file writes and parses them.
//!
//! BigQuery allows lowercase letters, digits, `_` and `-`, at most 63 of them
//! (<https://cloud.google.com/bigquery/docs/labels-intro>).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::load::{Load, Origin, hex};
use crate::names::{ChosenShow, ShowId, ShowMatch};
use crate::text;

/// The longest label value that BigQuery allows.
const MAX_LABEL_LENGTH: usize = 63;

/// The value of the label `service`, which distinguishes this service's jobs from all others of the project.
const SERVICE_LABEL: &str = "spotify-bq";

/// The start of a label for a message ID that is not a valid label itself. An ID that starts with it is
/// hashed, too.
const HASHED_ID_PREFIX: &str = "sha256-";

/// Returns the labels of a load's job.
pub(super) fn labels(load: &Load, origin: &Origin) -> HashMap<String, String> {
    let term = load.job.term.slug();
    let mut labels = HashMap::from([
        ("service".to_owned(), SERVICE_LABEL.to_owned()),
        ("kind".to_owned(), load.job.kind.name().to_owned()),
        ("term".to_owned(), text::truncated(&term, MAX_LABEL_LENGTH).to_owned()),
        ("message".to_owned(), message_label(&load.message_id)),
        ("read_at".to_owned(), millis(origin.read_at).to_string()),
    ]);
    if let Some(shared) = origin.shared {
        labels.insert("shared_reading".to_owned(), shared.to_string());
    }
    let Some(show) = &origin.show else { return labels };
    if let Some(matched_by) = show.matched_by {
        labels.insert("show_match".to_owned(), matched_by.name().to_owned());
    }
    // In hex, since labels have no uppercase letters. Spotify's IDs have 22 characters; a longer one
    // gets no label, because a truncated ID would be another show.
    let show_label = hex(show.id.as_str().as_bytes());
    if show_label.len() <= MAX_LABEL_LENGTH {
        labels.insert("show".to_owned(), show_label);
    }
    labels
}

/// Returns whether a job with these labels belongs to this service.
pub(crate) fn is_ours(labels: &HashMap<String, String>) -> bool {
    labels.get("service").is_some_and(|service| service == SERVICE_LABEL)
}

/// Returns whether a job with these labels is a load of the message with this ID.
pub(crate) fn is_of_message(labels: &HashMap<String, String>, message_id: &str) -> bool {
    labels.get("message").is_some_and(|label| *label == message_label(message_id))
}

/// Returns whether a job with these labels loads the rows with this origin. BigQuery may have added labels.
pub(super) fn are_of(job: &HashMap<String, String>, load: &Load, origin: &Origin) -> bool {
    labels(load, origin).iter().all(|(key, value)| job.get(key) == Some(value))
}

/// Parses where the job's rows come from. Returns `None` if the labels do not say so.
pub(crate) fn origin(labels: &HashMap<String, String>) -> Option<Origin> {
    let read_at: u64 = labels.get("read_at")?.parse().ok()?;
    let matched_by = labels.get("show_match").and_then(|label| ShowMatch::from_name(label));
    let show = labels.get("show").and_then(|label| parse_show(label));
    Some(Origin {
        show: show.map(|id| ChosenShow { id, name: None, matched_by }),
        read_at: UNIX_EPOCH.checked_add(Duration::from_millis(read_at))?,
        shared: labels.get("shared_reading").and_then(|label| label.parse().ok()),
        listed: None,
    })
}

/// Returns a message's ID as a label. Pub/Sub's IDs are digits and stay as they are. Other IDs are hashed
/// if they are not valid labels.
fn message_label(message_id: &str) -> String {
    let is_plain = (1..=MAX_LABEL_LENGTH).contains(&message_id.len())
        && message_id.bytes().all(is_allowed)
        && !message_id.starts_with(HASHED_ID_PREFIX);
    if is_plain {
        return message_id.to_owned();
    }
    let digest = Sha256::digest(message_id.as_bytes());
    format!("{HASHED_ID_PREFIX}{}", hex(&digest[..16]))
}

fn parse_show(label: &str) -> Option<ShowId> {
    let byte = |start| u8::from_str_radix(label.get(start..start + 2)?, 16).ok();
    let bytes = (0..label.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    ShowId::from_spotify(&String::from_utf8(bytes).ok()?)
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::names::{Kind, Term};

    fn load(message_id: &str) -> Load {
        let job = Job {
            kind: Kind::Episodes,
            term: Term::parse("ação").unwrap(),
            show: None,
            max_missing_percent: 2,
            table: "t".to_owned(),
        };
        Load::new(&job, "p.d", message_id, "")
    }

    fn written(message_id: &str, origin: &Origin) -> HashMap<String, String> {
        labels(&load(message_id), origin)
    }

    fn origin_of(show: Option<&str>) -> Origin {
        Origin {
            show: show.map(|id| ChosenShow {
                id: ShowId::from_spotify(id).unwrap(),
                name: None,
                matched_by: Some(ShowMatch::First),
            }),
            read_at: UNIX_EPOCH + Duration::from_millis(1_764_000_000_123),
            shared: show.map(|id| id == "a"),
            listed: None,
        }
    }

    #[test]
    fn labels_round_trip() {
        for show in [None, Some("1oMIHOXsrLFENAeM743g93"), Some("a"), Some("0_-Z")] {
            let labels = written("1234567890", &origin_of(show));
            assert!(is_ours(&labels) && is_of_message(&labels, "1234567890"));
            assert!(!is_of_message(&labels, "1234567891"));
            assert_eq!(origin(&labels), Some(origin_of(show)));
        }
    }

    #[test]
    fn a_job_with_the_rows_of_another_reading_is_told_apart() {
        let (load, own) = (load("1"), origin_of(Some("a")));
        let mut found = labels(&load, &own);
        assert!(are_of(&found, &load, &own));
        found.insert("added-by-bigquery".to_owned(), "x".to_owned());
        assert!(are_of(&found, &load, &own));
        let later = Origin { read_at: own.read_at + Duration::from_millis(1), ..own.clone() };
        let shared = Origin { shared: Some(false), ..own };
        assert!(!are_of(&found, &load, &later) && !are_of(&found, &load, &shared));
        assert!(!are_of(&HashMap::new(), &load, &later));
    }

    #[test]
    fn bigquery_allows_every_value() {
        let long = "a".repeat(64);
        let mut seen = std::collections::HashSet::new();
        for id in ["1", "Ab/+ é", "ab", "AB", &long, "sha256-0", ""] {
            let labels = written(id, &origin_of(Some(&"Z".repeat(64))));
            for (key, value) in &labels {
                let fits = value.len() <= MAX_LABEL_LENGTH && value.bytes().all(is_allowed);
                assert!(fits && !value.is_empty(), "{key}: {value}");
            }
            assert!(is_of_message(&labels, id));
            assert!(
                seen.insert(labels["message"].clone()),
                "two ids have the label {}",
                labels["message"]
            );
            // A show ID that does not fit is left out rather than cut.
            assert_eq!(origin(&labels).unwrap().show, None);
        }
    }

    #[test]
    fn labels_of_an_earlier_version_are_parsed() {
        let mut labels = written("1", &origin_of(Some("a")));
        labels.remove("show_match");
        labels.remove("shared_reading");
        let mut expected = Origin { shared: None, ..origin_of(Some("a")) };
        expected.show.as_mut().unwrap().matched_by = None;
        assert_eq!(origin(&labels), Some(expected));
    }

    #[test]
    fn foreign_labels_are_ignored() {
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
