//! A subscription and the messages that are pulled from it.

use google_cloud_googleapis::pubsub::v1::{self as api, ReceivedMessage};

use super::message::MessageContent;

/// The topic of a subscription whose topic was deleted. A new topic of the same name does not get the
/// subscription back (<https://cloud.google.com/pubsub/docs/delete-topic>).
pub const DELETED_TOPIC: &str = "_deleted-topic_";

/// The properties of a subscription that decide whether messages can be pulled from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The full name of its topic.
    pub topic: String,
    /// Where its messages go if they cannot be pulled: a push endpoint or an export.
    pub sends_to: Option<String>,
    /// Whether it was detached from its topic.
    pub is_detached: bool,
}

impl From<api::Subscription> for Subscription {
    fn from(found: api::Subscription) -> Self {
        let endpoint = found.push_config.map(|push| push.push_endpoint);
        let table = found.bigquery_config.map(|export| format!("BigQuery ({})", export.table));
        let bucket = found.cloud_storage_config;
        let bucket = bucket.map(|export| format!("Cloud Storage ({})", export.bucket));
        Self {
            topic: found.topic,
            sends_to: endpoint.filter(|url| !url.is_empty()).or(table).or(bucket),
            is_detached: found.detached,
        }
    }
}

/// A dead letter that was pulled. Until its ack deadline, only this client has it.
#[derive(Clone, Debug)]
pub struct PulledMessage {
    pub ack_id: String,
    pub id: String,
    /// When it was published to the dead-letter topic, by Pub/Sub's clock: seconds since 1970.
    pub published: i64,
    pub message: MessageContent,
}

impl PulledMessage {
    pub(super) fn parse(received: ReceivedMessage) -> Option<Self> {
        let message = received.message?;
        Some(Self {
            ack_id: received.ack_id,
            id: message.message_id,
            published: message.publish_time.map_or(0, |time| time.seconds),
            message: MessageContent {
                data: message.data,
                attributes: message.attributes.into_iter().collect(),
            },
        })
    }
}
