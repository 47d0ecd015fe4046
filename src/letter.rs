//! Dead letters: a message that can never succeed, with the reason in its attributes. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::envelope::{Message, is_google_attribute};
use crate::failure::Failure;
use crate::text;

/// Pub/Sub's bounds for attributes (<https://cloud.google.com/pubsub/quotas>).
const ATTRIBUTES: usize = 100;
const KEY: usize = 256;
const VALUE: usize = 1024;

/// The attributes that a dead letter has of us: machine-readable reason, the words, and which
/// message it was first.
const OURS: [&str; 4] = ["reason", "detail", "message_id", "publish_time"];

/// A dead letter's attributes: ours, then as many of the message's own as fit.
pub fn attributes(message: &Message, failure: &Failure) -> BTreeMap<String, String> {
    let detail = failure.explained();
    let ours = [failure.reason(), &detail, &message.id, &message.publish_time];
    let ours = OURS.into_iter().zip(ours).map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut attributes: BTreeMap<String, String> = ours.collect();
    for (key, value) in &message.attributes {
        // Pub/Sub refuses a publish with an empty key, or one of its own.
        let reserved = key.starts_with("goog") && !key.starts_with("googclient_");
        if attributes.len() < ATTRIBUTES && !key.is_empty() && key.len() <= KEY && !reserved {
            attributes.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    for value in attributes.values_mut() {
        value.truncate(text::truncated(value, VALUE).len());
    }
    attributes
}

/// A letter's attributes as the message had them: without ours and Google's.
pub fn original_attributes(
    attributes: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .filter(|(key, _)| !OURS.contains(&key.as_str()) && !is_google_attribute(key))
        .collect()
}

/// When a message was first published that its subscription gave up
/// (<https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts>).
const SOURCE_TIME: &str = "CloudPubSubDeadLetterSourceTopicPublishTime";

/// A message that was republished and given up by its subscription again becomes a dead letter within
/// this many seconds, if it does while the republishing still runs.
const SOON: i64 = 600;

/// What was republished, so that a message that fails again at once is not republished without end.
/// All times are Pub/Sub's own: the clock of this machine may be wrong.
#[derive(Debug, Default)]
pub struct Republished {
    ids: HashSet<String>,
    /// By content, when the letter was published that was republished last.
    contents: HashMap<u64, i64>,
}

impl Republished {
    /// Notes that a letter, published at `time`, was republished as message `id`.
    pub fn record(
        &mut self,
        id: String,
        data: &[u8],
        attributes: &BTreeMap<String, String>,
        time: i64,
    ) {
        self.ids.insert(id);
        self.contents.insert(content(data, attributes), time);
    }

    /// Whether a letter holds a message that was republished before.
    pub fn contains(&self, data: &[u8], attributes: &BTreeMap<String, String>) -> bool {
        if let Some(id) = attributes.get("message_id") {
            return self.ids.contains(id);
        }
        let source = attributes.get(SOURCE_TIME);
        let source = source.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let letter = self.contents.get(&content(data, attributes));
        match (source.map(OffsetDateTime::unix_timestamp), letter) {
            (Some(source), Some(letter)) => (*letter..letter + SOON).contains(&source),
            _ => false,
        }
    }
}

fn content(data: &[u8], attributes: &BTreeMap<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    original_attributes(attributes.clone()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Data;

    fn message(attributes: impl IntoIterator<Item = (String, String)>) -> Message {
        Message {
            id: "7".to_owned(),
            publish_time: "2026-11-24T09:00:00Z".to_owned(),
            attributes: attributes.into_iter().collect(),
            data: Data::Bytes(Vec::new()),
        }
    }

    fn failure(detail: &str) -> Failure {
        Failure::Refused { reason: "refused", detail: detail.to_owned() }
    }

    #[test]
    fn ours_win_and_bounds_hold() {
        let many = (0..200).map(|n| (format!("k{n:03}"), "v".to_owned()));
        let taken = [("reason", "mine"), ("", "x"), ("googfoo", "x"), ("googclient_x", "y")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let long_key = ("k".repeat(257), "x".to_owned());
        let letter =
            attributes(&message(many.chain(taken).chain([long_key])), &failure(&"é".repeat(2000)));
        assert_eq!(letter.len(), 100);
        assert_eq!((letter["reason"].as_str(), letter["message_id"].as_str()), ("refused", "7"));
        assert_eq!(letter["googclient_x"], "y");
        assert!(!letter.contains_key("") && !letter.contains_key("googfoo"));
        assert_eq!(letter["detail"].len(), 1024);
        assert!(letter["detail"].starts_with("éé"));
    }

    #[test]
    fn a_republished_message_that_fails_again_is_recognized() {
        let attributes = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let mut republished = Republished::default();
        let first = attributes(&[("reason", "refused"), ("message_id", "1")]);
        assert!(!republished.contains(b"x", &first));
        republished.record("2".to_owned(), b"x", &first, 1_000_000_000);
        // The service says which message a letter was.
        assert!(republished.contains(b"x", &attributes(&[("message_id", "2")])));
        assert!(!republished.contains(b"x", &attributes(&[("message_id", "3")])));
        // The subscription does not, but when it was published: here in September 2001.
        for (time, is_ours) in [
            ("2001-09-09T01:46:39Z", false),
            ("2001-09-09T01:46:40.123Z", true),
            ("2001-09-09T01:50:00Z", true),
            ("2001-09-10T01:46:41Z", false),
            ("yesterday", false),
        ] {
            let letter = attributes(&[(SOURCE_TIME, time)]);
            assert_eq!(republished.contains(b"x", &letter), is_ours, "{time}");
            assert!(!republished.contains(b"y", &letter));
        }
        assert!(!republished.contains(b"x", &attributes(&[])));
    }

    #[test]
    fn what_was_added_is_taken_off_again() {
        let own = [("table".to_owned(), "podcasts".to_owned())];
        let mut letter = attributes(&message(own.clone()), &failure("x"));
        letter.insert("CloudPubSubDeadLetterSourceTopic".to_owned(), "t".to_owned());
        assert_eq!(original_attributes(letter), BTreeMap::from(own));
    }
}
