//! Publishing to Pub/Sub, for fan-outs, dead letters and the command line; and pulling dead letters
//! back. All that touches google-cloud-googleapis is in this file.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use google_cloud_googleapis::pubsub::v1::publisher_client::PublisherClient;
use google_cloud_googleapis::pubsub::v1::subscriber_client::SubscriberClient;
use google_cloud_googleapis::pubsub::v1::{
    AcknowledgeRequest, GetSubscriptionRequest, GetTopicRequest, ListTopicSubscriptionsRequest,
    ModifyAckDeadlineRequest, PublishRequest, PubsubMessage, PullRequest, ReceivedMessage,
};
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::{Config, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::http;
use crate::retry;
use crate::text;

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The data.
    pub data: Vec<u8>,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A dead letter that was pulled, and must be acknowledged or given back.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// What acknowledges it.
    pub ack_id: String,
    /// Its own id.
    pub id: String,
    /// When it became a dead letter by Pub/Sub's clock, in seconds since 1970.
    pub published: i64,
    /// What it holds.
    pub message: Outgoing,
}

/// A subscription, as far as reading it by hand needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The full name of its topic.
    pub topic: String,
    /// Where its messages go if they can't be pulled: a push endpoint or an export.
    pub sends_to: Option<String>,
    /// Whether it was detached from its topic.
    pub is_detached: bool,
}

/// The topic of subscriptions whose topic was deleted. A new topic of the same name is not theirs
/// (<https://cloud.google.com/pubsub/docs/delete-topic>).
pub const DELETED_TOPIC: &str = "_deleted-topic_";

/// Why a call failed, and whether another with the same resource would fail alike.
#[derive(Debug)]
pub struct PubSubError {
    /// What failed.
    pub failure: Failure,
    /// The code of Pub/Sub's answer; `None` without an answer.
    code: Option<Code>,
}

impl PubSubError {
    /// Whether every message or call would be refused: it is about the topic or subscription, or
    /// about who asks.
    pub fn concerns_all(&self) -> bool {
        matches!(
            self.code,
            None | Some(Code::NotFound | Code::PermissionDenied | Code::Unauthenticated)
        )
    }

    /// Whether the service could not answer, after all attempts.
    pub fn is_transient(&self) -> bool {
        self.code.is_some_and(is_passing)
    }

    /// Whether an answer was too much: too large, or too slow to arrive.
    pub fn is_too_much(&self) -> bool {
        matches!(
            self.code,
            // tonic's own timeout ends a call with `Cancelled`.
            Some(
                Code::DeadlineExceeded
                    | Code::Cancelled
                    | Code::ResourceExhausted
                    | Code::OutOfRange
            )
        )
    }
}

impl From<PubSubError> for Failure {
    fn from(refusal: PubSubError) -> Self {
        refusal.failure
    }
}

/// Pub/Sub. The connection is made at the first call.
#[derive(Debug)]
pub struct Publisher {
    emulator: Option<String>,
    channel: OnceLock<Channel>,
    credentials: Arc<GoogleCredentials>,
    timing: Timing,
}

impl Publisher {
    /// A client; no call is made.
    pub fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Self {
        let none = || Arc::new(GoogleCredentials::None);
        Self {
            credentials: if config.pubsub.with_token { Arc::clone(google) } else { none() },
            emulator: config.pubsub.emulator.clone(),
            channel: OnceLock::new(),
            timing: config.timing.clone(),
        }
    }

    /// Publishes all messages in one request and returns their ids.
    pub async fn publish(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Result<Vec<String>, Failure> {
        Ok(self.publish_all(topic, messages).await?)
    }

    /// Publishes one message and returns its id.
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
        let ask = || PublishRequest { topic: topic.to_owned(), messages: messages.clone() };
        let answer = self.call(topic, ask, |channel, request| async move {
            PublisherClient::new(channel).publish(request).await
        });
        Ok(answer.await?.message_ids)
    }

    /// Fails unless the topic exists.
    pub async fn topic(&self, topic: &str) -> Result<(), PubSubError> {
        let ask = || GetTopicRequest { topic: topic.to_owned() };
        let answer = self.call(topic, ask, |channel, request| async move {
            PublisherClient::new(channel).get_topic(request).await
        });
        answer.await.map(drop)
    }

    /// Whether the topic has a subscription.
    pub async fn has_subscription(&self, topic: &str) -> Result<bool, PubSubError> {
        let ask = || ListTopicSubscriptionsRequest {
            topic: topic.to_owned(),
            ..ListTopicSubscriptionsRequest::default()
        };
        let answer = self.call(topic, ask, |channel, request| async move {
            PublisherClient::new(channel).list_topic_subscriptions(request).await
        });
        // A page may be empty and have a next one.
        let answer = answer.await?;
        Ok(!answer.subscriptions.is_empty() || !answer.next_page_token.is_empty())
    }

    /// The subscription. Fails unless it exists.
    pub async fn subscription(&self, subscription: &str) -> Result<Subscription, PubSubError> {
        let ask = || GetSubscriptionRequest { subscription: subscription.to_owned() };
        let answer = self.call(subscription, ask, |channel, request| async move {
            SubscriberClient::new(channel).get_subscription(request).await
        });
        let found = answer.await?;
        let endpoint = found.push_config.map(|push| push.push_endpoint);
        let export = found.bigquery_config.map(|export| format!("BigQuery ({})", export.table));
        let bucket = found.cloud_storage_config;
        let export = export.or(bucket.map(|export| format!("Cloud Storage ({})", export.bucket)));
        Ok(Subscription {
            topic: found.topic,
            sends_to: endpoint.filter(|endpoint| !endpoint.is_empty()).or(export),
            is_detached: found.detached,
        })
    }

    /// Pulls what is there, without waiting for more. An empty answer does not mean that there is
    /// nothing.
    pub async fn pull(&self, subscription: &str, most: i32) -> Result<Vec<Pulled>, PubSubError> {
        #[expect(deprecated, reason = "the caller decides how long to wait for more")]
        let ask = || PullRequest {
            subscription: subscription.to_owned(),
            return_immediately: true,
            max_messages: most,
        };
        let answer = self.call(subscription, ask, |channel, request| async move {
            // Messages of 10 MB each may come, and tonic's limit for an answer is 4 MiB.
            let client = SubscriberClient::new(channel).max_decoding_message_size(usize::MAX);
            { client }.pull(request).await
        });
        Ok(answer.await?.received_messages.into_iter().filter_map(pulled).collect())
    }

    /// Acknowledges pulled messages: they are gone.
    pub async fn acknowledge(
        &self,
        subscription: &str,
        ack_ids: Vec<String>,
    ) -> Result<(), PubSubError> {
        let ask = || AcknowledgeRequest {
            subscription: subscription.to_owned(),
            ack_ids: ack_ids.clone(),
        };
        let answer = self.call(subscription, ask, |channel, request| async move {
            SubscriberClient::new(channel).acknowledge(request).await
        });
        answer.await.map(drop)
    }

    /// Keeps pulled messages for `seconds` more, or gives them back with 0.
    pub async fn keep(
        &self,
        subscription: &str,
        ack_ids: Vec<String>,
        seconds: i32,
    ) -> Result<(), PubSubError> {
        let ask = || ModifyAckDeadlineRequest {
            subscription: subscription.to_owned(),
            ack_ids: ack_ids.clone(),
            ack_deadline_seconds: seconds,
        };
        let answer = self.call(subscription, ask, |channel, request| async move {
            SubscriberClient::new(channel).modify_ack_deadline(request).await
        });
        answer.await.map(drop)
    }

    async fn call<Q, A, F>(
        &self,
        resource: &str,
        ask: impl Fn() -> Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, PubSubError>
    where
        F: Future<Output = Result<tonic::Response<A>, Status>>,
    {
        let no_answer = |failure: Failure| PubSubError { failure, code: None };
        let failed = |detail: String| Failure::PublishFailed { topic: resource.to_owned(), detail };
        let channel = self.channel().map_err(|why| no_answer(failed(why)))?;
        let request = |token: Option<&SecretString>| {
            let mut request = Request::new(ask());
            request.set_timeout(self.timing.google_call);
            if let Some(token) = token {
                let value = bearer(token).map_err(|why| no_answer(failed(why)))?;
                request.metadata_mut().insert("authorization", value);
            }
            Ok::<_, PubSubError>(request)
        };
        retry::run(&self.timing.backoff, |_| async {
            let token = self.credentials.token().await.map_err(no_answer)?;
            let mut sent = send(channel.clone(), request(token.as_ref())?).await;
            // A cached token can be refused before it expires.
            if let (Err(status), Some(refused)) = (&sent, &token)
                && status.code() == Code::Unauthenticated
            {
                let other = self.credentials.token_other_than(refused).await.map_err(no_answer)?;
                sent = send(channel.clone(), request(other.as_ref())?).await;
            }
            sent.map(tonic::Response::into_inner).map_err(|status| {
                let code = status.code();
                let words = text::excerpt(status.message(), http::EXCERPT);
                let detail = format!("{code:?}: {words}");
                let failure = if code == Code::Unauthenticated {
                    let twice = if token.is_some() { ", also with a new token" } else { "" };
                    Failure::GoogleCredentials(format!("Pub/Sub answers {detail}{twice}"))
                } else {
                    failed(detail)
                };
                let refusal = PubSubError { failure, code: Some(code) };
                retry::Error::transient_if(is_passing(code), refusal)
            })
        })
        .await
    }

    fn channel(&self) -> Result<Channel, String> {
        if let Some(channel) = self.channel.get() {
            return Ok(channel.clone());
        }
        let (url, emulator) = match &self.emulator {
            Some(host) => (format!("http://{}", host.trim_start_matches("http://")), true),
            None => ("https://pubsub.googleapis.com".to_owned(), false),
        };
        let endpoint = Endpoint::from_shared(url)
            .map_err(|error| http::describe(&error))?
            .connect_timeout(self.timing.connect)
            .timeout(self.timing.google_call)
            // Only while a call is open: an idle instance has no processor for pings.
            .http2_keep_alive_interval(http::PING_INTERVAL)
            .keep_alive_timeout(http::PING_TIMEOUT)
            .tcp_nodelay(true);
        let channel = if emulator {
            endpoint.connect_lazy()
        } else {
            // tonic's own TLS would bring a second provider.
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(http::tls().map_err(|error| error.to_string())?)
                .https_only()
                .enable_http2()
                .build();
            endpoint.connect_with_connector_lazy(connector)
        };
        Ok(self.channel.get_or_init(|| channel).clone())
    }
}

fn bearer(token: &SecretString) -> Result<MetadataValue<tonic::metadata::Ascii>, String> {
    let value = format!("Bearer {}", token.expose_secret());
    let mut value: MetadataValue<_> = value.parse().map_err(|_| "the token is no header")?;
    // Neither shown in a log line nor kept in the connection's table of headers.
    value.set_sensitive(true);
    Ok(value)
}

/// What Google's own clients try again
/// (<https://cloud.google.com/pubsub/docs/reference/error-codes>).
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Unknown
    )
}

fn pulled(received: ReceivedMessage) -> Option<Pulled> {
    let message = received.message?;
    Some(Pulled {
        ack_id: received.ack_id,
        id: message.message_id,
        published: message.publish_time.map_or(0, |time| time.seconds),
        message: Outgoing {
            data: message.data,
            attributes: message.attributes.into_iter().collect(),
        },
    })
}
