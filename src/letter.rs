//! Dead letters: the attributes that the service adds to a message that can never succeed. Pure.

mod republished;

use std::collections::BTreeMap;

use crate::envelope::{Message, is_google_attribute};
use crate::failure::Failure;
use crate::text;
pub use republished::Republished;

// Pub/Sub's limits for attributes (<https://cloud.google.com/pubsub/quotas#resource_limits>).
const MAX_ATTRIBUTES: usize = 100;
const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 1024;

/// The attribute with the ID of the message that became a dead letter.
const MESSAGE_ID: &str = "message_id";

/// The attributes that the service adds.
const ADDED: [&str; 4] = ["reason", "detail", MESSAGE_ID, "publish_time"];

/// Returns the attributes of a dead letter: the added ones, and as many of the message's own as
/// Pub/Sub accepts. If both have the same key, the added one wins.
pub fn attributes(message: &Message, failure: &Failure) -> BTreeMap<String, String> {
    let detail = failure.explain();
    let values = [failure.reason(), &detail, &message.id, &message.publish_time];
    let added = ADDED.into_iter().zip(values);
    let mut attributes: BTreeMap<String, String> =
        added.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    for (key, value) in &message.attributes {
        // Pub/Sub refuses to publish an empty key or a reserved one.
        let is_reserved = key.starts_with("goog") && !key.starts_with("googclient_");
        let is_valid = !key.is_empty() && key.len() <= MAX_KEY_BYTES && !is_reserved;
        if attributes.len() < MAX_ATTRIBUTES && is_valid {
            attributes.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    for value in attributes.values_mut() {
        value.truncate(text::truncated(value, MAX_VALUE_BYTES).len());
    }
    attributes
}

/// Removes the attributes that the service and Google added to a dead letter.
pub fn original_attributes(
    attributes: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .filter(|(key, _)| !ADDED.contains(&key.as_str()) && !is_google_attribute(key))
        .collect()
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
        Failure::InvalidMessage { reason: "refused", detail: detail.to_owned() }
    }

    #[test]
    fn added_attributes_win_and_limits_hold() {
        let many = (0..200).map(|n| (format!("k{n:03}"), "v".to_owned()));
        let taken = [("reason", "mine"), ("", "x"), ("googfoo", "x"), ("googclient_x", "y")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let long_key = ("k".repeat(257), "x".to_owned());
        let dead_letter =
            attributes(&message(many.chain(taken).chain([long_key])), &failure(&"é".repeat(2000)));
        assert_eq!(dead_letter.len(), 100);
        assert_eq!(
            (dead_letter["reason"].as_str(), dead_letter["message_id"].as_str()),
            ("refused", "7")
        );
        assert_eq!(dead_letter["googclient_x"], "y");
        assert!(!dead_letter.contains_key("") && !dead_letter.contains_key("googfoo"));
        assert_eq!(dead_letter["detail"].len(), 1024);
        assert!(dead_letter["detail"].starts_with("éé"));
    }

    #[test]
    fn added_attributes_are_removed() {
        let own = [("table".to_owned(), "podcasts".to_owned())];
        let mut dead_letter = attributes(&message(own.clone()), &failure("x"));
        dead_letter.insert("CloudPubSubDeadLetterSourceTopic".to_owned(), "t".to_owned());
        assert_eq!(original_attributes(dead_letter), BTreeMap::from(own));
    }
}
