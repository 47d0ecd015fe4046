//! Publishing to Pub/Sub, for fan-outs, dead letters and the command line; and pulling dead letters
//! back. All that touches google-cloud-googleapis is in this file.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use google_cloud_googleapis::pubsub::v1::publisher_client::PublisherClient;
use google_cloud_googleapis::pubsub::v1::subscriber_client::SubscriberClient;
use google_cloud_googleapis::pubsub::v1::{
    AcknowledgeRequest, GetSubscriptionRequest, GetTopicRequest, ModifyAckDeadlineRequest,
    PublishRequest, PubsubMessage, PullRequest, ReceivedMessage,
};
use secrecy::ExposeSecret;
use tokio::time::sleep;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::{Config, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::http;
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
    /// When it became a dead letter, in seconds since 1970.
    pub published: i64,
    /// What it holds.
    pub message: Outgoing,
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
        let emulator = config.pubsub.emulator.clone();
        let none = || Arc::new(GoogleCredentials::None);
        Self {
            credentials: if emulator.is_some() { none() } else { Arc::clone(google) },
            emulator,
            channel: OnceLock::new(),
            timing: config.timing.clone(),
        }
    }

    /// Publishes all messages in one request and answers their ids.
    pub async fn publish(
        &self,
        topic: &str,
        messages: Vec<Outgoing>,
    ) -> Result<Vec<String>, Failure> {
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

    /// Whether the topic is there.
    pub async fn topic(&self, topic: &str) -> Result<(), Failure> {
        let ask = || GetTopicRequest { topic: topic.to_owned() };
        let answer = self.call(topic, ask, |channel, request| async move {
            PublisherClient::new(channel).get_topic(request).await
        });
        answer.await.map(drop)
    }

    /// Whether the subscription is there.
    pub async fn subscription(&self, subscription: &str) -> Result<(), Failure> {
        let ask = || GetSubscriptionRequest { subscription: subscription.to_owned() };
        let answer = self.call(subscription, ask, |channel, request| async move {
            SubscriberClient::new(channel).get_subscription(request).await
        });
        answer.await.map(drop)
    }

    /// Pulls what is there, without waiting for more.
    pub async fn pull(&self, subscription: &str, most: i32) -> Result<Vec<Pulled>, Failure> {
        #[expect(deprecated, reason = "waiting for letters that may never come is no use here")]
        let ask = || PullRequest {
            subscription: subscription.to_owned(),
            return_immediately: true,
            max_messages: most,
        };
        let answer = self.call(subscription, ask, |channel, request| async move {
            SubscriberClient::new(channel).pull(request).await
        });
        Ok(answer.await?.received_messages.into_iter().filter_map(pulled).collect())
    }

    /// Acknowledges pulled messages: they are gone.
    pub async fn acknowledge(
        &self,
        subscription: &str,
        ack_ids: Vec<String>,
    ) -> Result<(), Failure> {
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
    ) -> Result<(), Failure> {
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
    ) -> Result<A, Failure>
    where
        F: Future<Output = Result<tonic::Response<A>, Status>>,
    {
        let failed = |detail: String| Failure::PublishFailed { topic: resource.to_owned(), detail };
        let channel = self.channel().map_err(failed)?;
        let mut attempt = 1;
        loop {
            let mut request = Request::new(ask());
            request.set_timeout(self.timing.google_call);
            if let Some(token) = self.credentials.token().await? {
                let bearer = format!("Bearer {}", token.expose_secret());
                let mut value: MetadataValue<_> =
                    bearer.parse().map_err(|_| failed("the token is no header".to_owned()))?;
                // Neither shown in a log line nor kept in the connection's table of headers.
                value.set_sensitive(true);
                request.metadata_mut().insert("authorization", value);
            }
            let status = match send(channel.clone(), request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            attempt += 1;
            let wait = is_passing(&status).then(|| self.timing.backoff.before(attempt)).flatten();
            match wait {
                Some(wait) => sleep(wait).await,
                None => {
                    let words = text::excerpt(status.message(), http::EXCERPT);
                    return Err(failed(format!("{:?}: {words}", status.code())));
                }
            }
        }
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

/// What Google's own clients try again
/// (<https://cloud.google.com/pubsub/docs/reference/error-codes>).
fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
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
