//! Decodes the push envelope that Pub/Sub posts. The meaning of a message is left to [`crate::job`].

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::text;

/// The response header that names the outcome of a push, for people who push by hand.
pub const OUTCOME_HEADER: &str = "spotify-bq-outcome";

/// One delivery of a message.
#[derive(Debug)]
pub struct Envelope {
    pub message: Message,
    /// The number of the delivery attempt, from 1. Pub/Sub sends it only if the subscription has a
    /// dead-letter policy.
    pub delivery_attempt: Option<u32>,
}

/// A message as it was published.
#[derive(Debug)]
pub struct Message {
    /// Unique within the topic.
    pub id: String,
    /// When Pub/Sub received the message, in RFC 3339. Empty if the sender is not Pub/Sub and does not
    /// set it.
    pub publish_time: String,
    pub attributes: BTreeMap<String, String>,
    pub data: Data,
}

/// A message's data.
#[derive(Debug, PartialEq, Eq)]
pub enum Data {
    /// The decoded bytes. Empty if the message has only attributes.
    Bytes(Vec<u8>),
    /// The value of `data` if it is not base64.
    NotBase64(String),
}

impl Data {
    /// Returns the decoded bytes, or the value that is not base64.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::NotBase64(text) => text.as_bytes(),
        }
    }
}

// Pub/Sub sends these two fields twice, in camel case and in snake case. Other senders may send only one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    message: RawMessage<'a>,
    delivery_attempt: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    attributes: Option<BTreeMap<String, String>>,
    message_id: Option<String>,
    #[serde(rename = "message_id")]
    message_id_snake: Option<String>,
    publish_time: Option<String>,
    #[serde(rename = "publish_time")]
    publish_time_snake: Option<String>,
}

/// Decodes the body of a push. Invalid base64 is not a failure here, so that the message can become a
/// dead letter instead of a bad request.
pub fn parse(body: &[u8]) -> Result<Envelope, Failure> {
    // serde also accepts a list of the fields' values.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::NotAnEnvelope("it is not a JSON object".to_owned()));
    }
    let raw: RawEnvelope<'_> = serde_json::from_slice(body).map_err(|error| {
        // serde's errors quote the input, which may be long.
        Failure::NotAnEnvelope(text::excerpt(&error.to_string(), text::MAX_EXCERPT_BYTES))
    })?;
    let message = raw.message;
    let id = message.message_id.or(message.message_id_snake).filter(|id| !id.is_empty());
    let Some(id) = id else {
        return Err(Failure::NotAnEnvelope("message.messageId is missing".to_owned()));
    };
    let data = match message.data {
        None => Data::Bytes(Vec::new()),
        Some(data) => decode(data),
    };
    Ok(Envelope {
        message: Message {
            id,
            publish_time: message.publish_time.or(message.publish_time_snake).unwrap_or_default(),
            attributes: message.attributes.unwrap_or_default(),
            data,
        },
        delivery_attempt: raw.delivery_attempt.and_then(|attempt| u32::try_from(attempt).ok()),
    })
}

/// Returns whether Google's own software adds this attribute: client libraries, dead-letter
/// forwarding, Eventarc.
pub fn is_google_attribute(key: &str) -> bool {
    ["goog", "x-goog-", "CloudPubSubDeadLetterSource", "ce-"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

fn decode(raw: &RawValue) -> Data {
    match serde_json::from_str::<Option<String>>(raw.get()) {
        Ok(text) => {
            let text = text.unwrap_or_default();
            STANDARD.decode(&text).map_or_else(|_| Data::NotBase64(text), Data::Bytes)
        }
        Err(_) => Data::NotBase64(raw.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: &str) -> Envelope {
        parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn envelopes_of_the_service_and_of_the_emulator_are_decoded() {
        let real = envelope(
            r#"{"message":{"data":"e30=","attributes":{"a":"b"},"messageId":"1","message_id":"1",
            "publishTime":"2026-11-24T09:00:00Z","publish_time":"2026-11-24T09:00:00Z","orderingKey":"k"},
            "subscription":"projects/p/subscriptions/s","deliveryAttempt":3}"#,
        );
        assert_eq!(real.message.id, "1");
        assert_eq!(real.message.publish_time, "2026-11-24T09:00:00Z");
        assert_eq!(real.message.attributes["a"], "b");
        assert_eq!(real.message.data, Data::Bytes(b"{}".to_vec()));
        assert_eq!(real.delivery_attempt, Some(3));

        let bare = envelope(r#"{"message":{"message_id":"7"},"subscription":"s"}"#);
        assert_eq!(bare.message.id, "7");
        assert_eq!(bare.message.data, Data::Bytes(Vec::new()));
        assert_eq!(bare.delivery_attempt, None);
    }

    #[test]
    fn data_that_is_not_base64_is_kept() {
        for (data, kept) in [(r#""{not}""#, "{not}"), ("5", "5"), (r#""e30""#, "e30")] {
            let body = format!(r#"{{"message":{{"messageId":"1","data":{data}}}}}"#);
            assert_eq!(envelope(&body).message.data, Data::NotBase64(kept.to_owned()));
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in [
            "",
            "{",
            "[]",
            "{}",
            "null",
            r#"{"message":{}}"#,
            r#"{"message":{"messageId":""}}"#,
            r#"{"message":"x"}"#,
            r#"{"message":{"messageId":"1","attributes":{"a":1}}}"#,
            "\u{feff}{}",
            r#"[[null,null,"1"]]"#,
        ] {
            assert!(matches!(parse(body.as_bytes()), Err(Failure::NotAnEnvelope(_))), "{body:?}");
        }
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let ignored = format!(r#"{{"x":{deep},"message":{{"messageId":"1"}}}}"#);
        assert_eq!(envelope(&ignored).message.id, "1");
        let read = format!(r#"{{"message":{{"messageId":"1","attributes":{deep}}}}}"#);
        assert!(parse(read.as_bytes()).is_err());
    }
}
