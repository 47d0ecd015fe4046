//! Dead letters: a message that can never succeed, with the reason beside it. Pure.

use std::collections::BTreeMap;

use crate::envelope::Message;
use crate::failure::Failure;
use crate::text;

/// Pub/Sub's bounds for attributes (<https://cloud.google.com/pubsub/quotas>).
const ATTRIBUTES: usize = 100;
const KEY: usize = 256;
const VALUE: usize = 1024;

/// The attributes that a dead letter has of us: machine-readable reason, the words, and which
/// message it was first.
pub const OURS: [&str; 4] = ["reason", "detail", "message_id", "publish_time"];

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
        value.truncate(text::cut(value, VALUE).len());
    }
    attributes
}

/// A letter's attributes as the message had them: without ours and Google's.
pub fn original(
    attributes: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .filter(|(key, _)| !OURS.contains(&key.as_str()) && !is_googles(key))
        .collect()
}

/// Whether an attribute is one that Google's own software adds.
pub fn is_googles(attribute: &str) -> bool {
    ["goog", "x-goog-", "CloudPubSubDeadLetterSource", "ce-"]
        .iter()
        .any(|prefix| attribute.starts_with(prefix))
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
    fn what_was_added_is_taken_off_again() {
        let own = [("table".to_owned(), "podcasts".to_owned())];
        let mut letter = attributes(&message(own.clone()), &failure("x"));
        letter.insert("CloudPubSubDeadLetterSourceTopic".to_owned(), "t".to_owned());
        assert_eq!(original(letter), BTreeMap::from(own));
    }
}
