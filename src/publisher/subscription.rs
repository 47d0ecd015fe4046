//! Calls for a subscription: looks it up, and pulls and acknowledges its messages.

use google_cloud_googleapis::pubsub::v1::subscriber_client::SubscriberClient;
use google_cloud_googleapis::pubsub::v1::{
    AcknowledgeRequest, GetSubscriptionRequest, ModifyAckDeadlineRequest, PullRequest,
    ReceivedMessage,
};

use super::{Outgoing, PubSubError, Publisher};

/// The topic of a subscription whose topic was deleted. A new topic of the same name does not get the
/// subscription back (<https://cloud.google.com/pubsub/docs/delete-topic>).
pub const DELETED_TOPIC: &str = "_deleted-topic_";

/// A dead letter that was pulled. Until its ack deadline, only this client has it.
#[derive(Clone, Debug)]
pub struct PulledMessage {
    pub ack_id: String,
    pub id: String,
    /// When it was published to the dead-letter topic, by Pub/Sub's clock: seconds since 1970.
    pub published: i64,
    pub message: Outgoing,
}

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

impl Publisher {
    /// Looks up a subscription. Fails unless it exists.
    pub async fn get_subscription(&self, subscription: &str) -> Result<Subscription, PubSubError> {
        let request = || GetSubscriptionRequest { subscription: subscription.to_owned() };
        let response = self.call(subscription, request, |channel, request| async move {
            SubscriberClient::new(channel).get_subscription(request).await
        });
        let found = response.await?;
        let endpoint = found.push_config.map(|push| push.push_endpoint);
        let table = found.bigquery_config.map(|export| format!("BigQuery ({})", export.table));
        let bucket = found.cloud_storage_config;
        let bucket = bucket.map(|export| format!("Cloud Storage ({})", export.bucket));
        Ok(Subscription {
            topic: found.topic,
            sends_to: endpoint.filter(|url| !url.is_empty()).or(table).or(bucket),
            is_detached: found.detached,
        })
    }

    /// Pulls messages without waiting for more. Pub/Sub may return none although there are some.
    pub async fn pull(
        &self,
        subscription: &str,
        max_messages: i32,
    ) -> Result<Vec<PulledMessage>, PubSubError> {
        #[expect(deprecated, reason = "the caller decides how long to wait for more")]
        let request = || PullRequest {
            subscription: subscription.to_owned(),
            return_immediately: true,
            max_messages,
        };
        let response = self.call(subscription, request, |channel, request| async move {
            // A message may have 10 MB; tonic's limit for a response is 4 MiB.
            let client = SubscriberClient::new(channel).max_decoding_message_size(usize::MAX);
            { client }.pull(request).await
        });
        Ok(response.await?.received_messages.into_iter().filter_map(pulled).collect())
    }

    /// Acknowledges pulled messages, which deletes them from the subscription.
    pub async fn acknowledge(
        &self,
        subscription: &str,
        ack_ids: Vec<String>,
    ) -> Result<(), PubSubError> {
        let request = || AcknowledgeRequest {
            subscription: subscription.to_owned(),
            ack_ids: ack_ids.clone(),
        };
        let response = self.call(subscription, request, |channel, request| async move {
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
        let request = || ModifyAckDeadlineRequest {
            subscription: subscription.to_owned(),
            ack_ids: ack_ids.clone(),
            ack_deadline_seconds: seconds,
        };
        let response = self.call(subscription, request, |channel, request| async move {
            SubscriberClient::new(channel).modify_ack_deadline(request).await
        });
        response.await.map(drop)
    }
}

fn pulled(received: ReceivedMessage) -> Option<PulledMessage> {
    let message = received.message?;
    Some(PulledMessage {
        ack_id: received.ack_id,
        id: message.message_id,
        published: message.publish_time.map_or(0, |time| time.seconds),
        message: Outgoing {
            data: message.data,
            attributes: message.attributes.into_iter().collect(),
        },
    })
}
