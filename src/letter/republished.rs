//! Recognizes messages that became dead letters again, so that `redrive` does not loop.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{MESSAGE_ID, original_attributes};

/// The attribute with the time at which a message was published that its subscription dead-lettered
/// (<https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts>).
const SOURCE_PUBLISH_TIME: &str = "CloudPubSubDeadLetterSourceTopicPublishTime";

/// How long after a dead letter was published a message with the same content counts as its
/// republished copy.
const MATCH_SECONDS: i64 = 600;

/// The messages that this run has republished. All times are Pub/Sub's, since this machine's clock
/// may be wrong.
#[derive(Debug, Default)]
pub struct Republished {
    ids: HashSet<String>,
    /// For each content, when its dead letter was published.
    contents: HashMap<u64, i64>,
}

impl Republished {
    /// Records that a dead letter, published at `time`, was republished as message `id`.
    pub fn record(
        &mut self,
        id: String,
        data: &[u8],
        attributes: &BTreeMap<String, String>,
        time: i64,
    ) {
        self.ids.insert(id);
        self.contents.insert(content_hash(data, attributes), time);
    }

    /// Returns whether a dead letter is a message that was republished. If the service dead-lettered
    /// it, an attribute has its ID. If the subscription did, content and time must match.
    pub fn contains(&self, data: &[u8], attributes: &BTreeMap<String, String>) -> bool {
        if let Some(id) = attributes.get(MESSAGE_ID) {
            return self.ids.contains(id);
        }
        let source = attributes.get(SOURCE_PUBLISH_TIME);
        let source = source.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let recorded = self.contents.get(&content_hash(data, attributes));
        match (source.map(OffsetDateTime::unix_timestamp), recorded) {
            (Some(source), Some(time)) => (*time..time + MATCH_SECONDS).contains(&source),
            _ => false,
        }
    }
}

fn content_hash(data: &[u8], attributes: &BTreeMap<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    original_attributes(attributes.clone()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_republished_message_that_fails_again_is_recognized() {
        let attributes = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let mut republished = Republished::default();
        let first = attributes(&[("reason", "refused"), ("message_id", "1")]);
        assert!(!republished.contains(b"x", &first));
        republished.record("2".to_owned(), b"x", &first, 1_000_000_000);
        // Dead-lettered by the service, which adds the message's ID.
        assert!(republished.contains(b"x", &attributes(&[("message_id", "2")])));
        assert!(!republished.contains(b"x", &attributes(&[("message_id", "3")])));
        // Dead-lettered by the subscription, which adds the publish time.
        for (time, is_republished) in [
            ("2001-09-09T01:46:39Z", false),
            ("2001-09-09T01:46:40.123Z", true),
            ("2001-09-09T01:50:00Z", true),
            ("2001-09-10T01:46:41Z", false),
            ("yesterday", false),
        ] {
            let dead_letter = attributes(&[(SOURCE_PUBLISH_TIME, time)]);
            assert_eq!(republished.contains(b"x", &dead_letter), is_republished, "{time}");
            assert!(!republished.contains(b"y", &dead_letter));
        }
        assert!(!republished.contains(b"x", &attributes(&[])));
    }
}
