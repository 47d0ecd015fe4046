//! Pub/Sub: publishes messages, and pulls dead letters back. This module is the only one that uses
//! google-cloud-googleapis.

mod api;
mod message;
mod subscription;

use std::sync::Arc;

use google_cloud_googleapis::pubsub::v1::publisher_client::PublisherClient;
use google_cloud_googleapis::pubsub::v1::subscriber_client::SubscriberClient;
use google_cloud_googleapis::pubsub::v1::{
    AcknowledgeRequest, GetSubscriptionRequest, GetTopicRequest, ListTopicSubscriptionsRequest,
    ModifyAckDeadlineRequest, PublishRequest, PubsubMessage, PullRequest,
};

use crate::config::Config;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use api::Api;
pub use api::PubSubError;
pub use message::MessageContent;
pub use subscription::{DELETED_TOPIC, PulledMessage, Subscription};

/// A client for Pub/Sub. The first call makes the connection.
#[derive(Debug)]
pub struct Publisher {
    api: Api,
}

impl Publisher {
    /// Creates a client without making a call.
    pub fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Self {
        Self { api: Api::new(config, google) }
    }

    /// Publishes all messages in one request. Returns their IDs.
    pub async fn publish(
        &self,
        topic: &str,
        messages: Vec<MessageContent>,
    ) -> Result<Vec<String>, Failure> {
        Ok(self.publish_all(topic, messages).await?)
    }

    /// Publishes one message. Returns its ID.
    pub async fn publish_one(
        &self,
        topic: &str,
        message: MessageContent,
    ) -> Result<String, PubSubError> {
        let ids = self.publish_all(topic, vec![message]).await?;
        Ok(ids.into_iter().next().unwrap_or_default())
    }

    async fn publish_all(
        &self,
        topic: &str,
        messages: Vec<MessageContent>,
    ) -> Result<Vec<String>, PubSubError> {
        let messages: Vec<PubsubMessage> = messages.into_iter().map(Into::into).collect();
        let request = PublishRequest { topic: topic.to_owned(), messages };
        let response = self.api.call(topic, request, |channel, request| async move {
            PublisherClient::new(channel).publish(request).await
        });
        Ok(response.await?.message_ids)
    }

    /// Fails unless the topic exists.
    pub async fn check_topic(&self, topic: &str) -> Result<(), PubSubError> {
        let request = GetTopicRequest { topic: topic.to_owned() };
        let response = self.api.call(topic, request, |channel, request| async move {
            PublisherClient::new(channel).get_topic(request).await
        });
        response.await.map(drop)
    }

    /// Returns whether the topic has a subscription.
    pub async fn has_subscription(&self, topic: &str) -> Result<bool, PubSubError> {
        let request = ListTopicSubscriptionsRequest {
            topic: topic.to_owned(),
            ..ListTopicSubscriptionsRequest::default()
        };
        let response = self.api.call(topic, request, |channel, request| async move {
            PublisherClient::new(channel).list_topic_subscriptions(request).await
        });
        // A page may be empty and have a next one.
        let response = response.await?;
        Ok(!response.subscriptions.is_empty() || !response.next_page_token.is_empty())
    }

    /// Looks up a subscription. Fails unless it exists.
    pub async fn get_subscription(&self, subscription: &str) -> Result<Subscription, PubSubError> {
        let request = GetSubscriptionRequest { subscription: subscription.to_owned() };
        let response = self.api.call(subscription, request, |channel, request| async move {
            SubscriberClient::new(channel).get_subscription(request).await
        });
        response.await.map(Subscription::from)
    }

    /// Pulls messages without waiting for more. Pub/Sub may return none although there are some.
    pub async fn pull(
        &self,
        subscription: &str,
        max_messages: i32,
    ) -> Result<Vec<PulledMessage>, PubSubError> {
        #[expect(deprecated, reason = "the caller decides how long to wait for more")]
        let request = PullRequest {
            subscription: subscription.to_owned(),
            return_immediately: true,
            max_messages,
        };
        let response = self.api.call(subscription, request, |channel, request| async move {
            // A message may have 10 MB; tonic's limit for a response is 4 MiB.
            let client = SubscriberClient::new(channel).max_decoding_message_size(usize::MAX);
            { client }.pull(request).await
        });
        Ok(response.await?.received_messages.into_iter().filter_map(PulledMessage::parse).collect())
    }

    /// Acknowledges pulled messages, which deletes them from the subscription.
    pub async fn acknowledge(
        &self,
        subscription: &str,
        ack_ids: Vec<String>,
    ) -> Result<(), PubSubError> {
        let request = AcknowledgeRequest { subscription: subscription.to_owned(), ack_ids };
        let response = self.api.call(subscription, request, |channel, request| async move {
            SubscriberClient::new(channel).acknowledge(request).await
        });
        response.await.map(drop)
    }

    /// Sets the ack deadline of pulled messages to `seconds` from now. 0 makes them available to other
    /// clients at once.
    pub async fn modify_ack_deadline(
        &self,
        subscription: &str,
        ack_ids: Vec<String>,
        seconds: i32,
    ) -> Result<(), PubSubError> {
        let request = ModifyAckDeadlineRequest {
            subscription: subscription.to_owned(),
            ack_ids,
            ack_deadline_seconds: seconds,
        };
        let response = self.api.call(subscription, request, |channel, request| async move {
            SubscriberClient::new(channel).modify_ack_deadline(request).await
        });
        response.await.map(drop)
    }
}
