//! The push envelope: what Pub/Sub posts, decoded. It knows the wire's form and nothing of what a
//! message means.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::text;

/// A push: one message, and which delivery of it this is.
#[derive(Debug)]
pub struct Envelope {
    /// The message.
    pub message: Message,
    /// Which delivery attempt this is, counted from 1; Pub/Sub says it only where the subscription
    /// has a dead-letter policy.
    pub delivery_attempt: Option<u32>,
}

/// A message as it was published.
#[derive(Debug)]
pub struct Message {
    /// Unique within the topic.
    pub id: String,
    /// When Pub/Sub took it, in RFC 3339; empty where the sender did not say.
    pub publish_time: String,
    /// Key and value pairs that stand beside the data.
    pub attributes: BTreeMap<String, String>,
    /// What was published, or the text of `data` where it is no base64.
    pub data: Data,
}

/// A message's data.
#[derive(Debug, PartialEq, Eq)]
pub enum Data {
    /// The bytes that were published; none in a message of attributes only.
    Bytes(Vec<u8>),
    /// What stood in the place of base64.
    NotBase64(String),
}

impl Data {
    /// The bytes as they came, whatever they are.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::NotBase64(text) => text.as_bytes(),
        }
    }
}

// Pub/Sub spells the two names both ways, in one envelope; `message_id` is read from either.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    message: WireMessage<'a>,
    #[serde(default)]
    delivery_attempt: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMessage<'a> {
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    attributes: Option<BTreeMap<String, String>>,
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default, rename = "message_id")]
    message_id_too: Option<String>,
    #[serde(default)]
    publish_time: Option<String>,
    #[serde(default, rename = "publish_time")]
    publish_time_too: Option<String>,
}

/// Decodes a push's body. Data that is no base64 is no failure here: the message is known by then,
/// and is a dead letter rather than a bad request.
pub fn parse(body: &[u8]) -> Result<Envelope, Failure> {
    // serde would read a list as the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::NotAnEnvelope("it is no JSON object".to_owned()));
    }
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| {
        // serde's words repeat what they find, of whatever length.
        Failure::NotAnEnvelope(text::excerpt(&error.to_string(), 300))
    })?;
    let message = wire.message;
    let id = message.message_id.or(message.message_id_too).filter(|id| !id.is_empty());
    let Some(id) = id else {
        return Err(Failure::NotAnEnvelope("message.messageId is missing".to_owned()));
    };
    let data = match message.data {
        None => Data::Bytes(Vec::new()),
        Some(raw) => decode(raw),
    };
    Ok(Envelope {
        message: Message {
            id,
            publish_time: message.publish_time.or(message.publish_time_too).unwrap_or_default(),
            attributes: message.attributes.unwrap_or_default(),
            data,
        },
        delivery_attempt: wire.delivery_attempt.and_then(|attempt| u32::try_from(attempt).ok()),
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
    fn the_envelope_of_the_service_and_of_the_emulator() {
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
    fn data_that_is_no_base64_is_kept_as_it_is() {
        for (data, kept) in [(r#""{not}""#, "{not}"), ("5", "5"), (r#""e30""#, "e30")] {
            let body = format!(r#"{{"message":{{"messageId":"1","data":{data}}}}}"#);
            assert_eq!(envelope(&body).message.data, Data::NotBase64(kept.to_owned()));
        }
    }

    #[test]
    fn what_is_no_envelope_is_said_to_be_none() {
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
    fn deep_nesting_neither_overflows_nor_hides_a_message() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let ignored = format!(r#"{{"x":{deep},"message":{{"messageId":"1"}}}}"#);
        assert_eq!(envelope(&ignored).message.id, "1");
        let read = format!(r#"{{"message":{{"messageId":"1","attributes":{deep}}}}}"#);
        assert!(parse(read.as_bytes()).is_err());
    }
}
