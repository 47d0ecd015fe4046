//! The content of a message, to publish or pulled.

use std::collections::BTreeMap;

use google_cloud_googleapis::pubsub::v1::PubsubMessage;

/// The data and attributes of a Pub/Sub message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageContent {
    pub data: Vec<u8>,
    pub attributes: BTreeMap<String, String>,
}

impl From<MessageContent> for PubsubMessage {
    fn from(message: MessageContent) -> Self {
        Self {
            data: message.data,
            attributes: message.attributes.into_iter().collect(),
            ..Self::default()
        }
    }
}
