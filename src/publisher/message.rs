//! A message to publish.

use std::collections::BTreeMap;

use google_cloud_googleapis::pubsub::v1::PubsubMessage;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingMessage {
    pub data: Vec<u8>,
    pub attributes: BTreeMap<String, String>,
}

impl From<OutgoingMessage> for PubsubMessage {
    fn from(message: OutgoingMessage) -> Self {
        Self {
            data: message.data,
            attributes: message.attributes.into_iter().collect(),
            ..Self::default()
        }
    }
}
