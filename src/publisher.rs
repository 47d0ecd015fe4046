//! Pub/Sub: publishes messages, and pulls dead letters back. This module is the only one that uses
//! google-cloud-googleapis.

mod call;
mod subscription;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use google_cloud_googleapis::pubsub::v1::publisher_client::PublisherClient;
use google_cloud_googleapis::pubsub::v1::{
    GetTopicRequest, ListTopicSubscriptionsRequest, PublishRequest, PubsubMessage,
};
use tonic::transport::Channel;

use crate::config::{Config, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
pub use call::PubSubError;
pub use subscription::{DELETED_TOPIC, PulledMessage, Subscription};

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    pub data: Vec<u8>,
    pub attributes: BTreeMap<String, String>,
}

/// A client for Pub/Sub. The first call makes the connection.
#[derive(Debug)]
pub struct Publisher {
    url: String,
    channel: OnceLock<Channel>,
    credentials: Arc<GoogleCredentials>,
    timing: Timing,
}

impl Publisher {
    /// Creates a client without making a call.
    pub fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Self {
        let none = || Arc::new(GoogleCredentials::None);
        Self {
            credentials: if config.pubsub.emulator { none() } else { Arc::clone(google) },
            url: config.pubsub.url.clone(),
            channel: OnceLock::new(),
            timing: config.timing.clone(),
        }
    }

    /// Publishes all messages in one request. Returns their ids.
    pub async fn publish(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Result<Vec<String>, Failure> {
        Ok(self.publish_all(topic, messages).await?)
    }

    /// Publishes one message. Returns its id.
    pub async fn publish_one(&self, topic: &str, message: Outgoing) -> Result<String, PubSubError> {
        let ids = self.publish_all(topic, vec![message]).await?;
        Ok(ids.into_iter().next().unwrap_or_default())
    }

    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Result<Vec<String>, PubSubError> {
        let messages: Vec<PubsubMessage> = messages
            .into_iter()
            .map(|message| PubsubMessage {
                data: message.data,
                attributes: message.attributes.into_iter().collect(),
                ..PubsubMessage::default()
            })
            .collect();
        let request = || PublishRequest { topic: topic.to_owned(), messages: messages.clone() };
        let response = self.call(topic, request, |channel, request| async move {
            PublisherClient::new(channel).publish(request).await
        });
        Ok(response.await?.message_ids)
    }

    /// Fails unless the topic exists.
    pub async fn check_topic(&self, topic: &str) -> Result<(), PubSubError> {
        let request = || GetTopicRequest { topic: topic.to_owned() };
        let response = self.call(topic, request, |channel, request| async move {
            PublisherClient::new(channel).get_topic(request).await
        });
        response.await.map(drop)
    }

    /// Returns whether the topic has a subscription.
    pub async fn has_subscription(&self, topic: &str) -> Result<bool, PubSubError> {
        let request = || ListTopicSubscriptionsRequest {
            topic: topic.to_owned(),
            ..ListTopicSubscriptionsRequest::default()
        };
        let response = self.call(topic, request, |channel, request| async move {
            PublisherClient::new(channel).list_topic_subscriptions(request).await
        });
        // A page may be empty and have a next one.
        let response = response.await?;
        Ok(!response.subscriptions.is_empty() || !response.next_page_token.is_empty())
    }
}
