//! One call to Pub/Sub: adds the token, retries transient errors, and classifies the others.

use std::sync::{Arc, OnceLock};

use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::config::{Config, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::http;
use crate::retry;
use crate::text;

/// Why a call failed.
#[derive(Debug)]
pub struct PubSubError {
    pub failure: Failure,
    /// The code of Pub/Sub's response, if there was one.
    code: Option<Code>,
}

impl PubSubError {
    /// Returns whether every call for this topic or subscription would fail.
    pub fn concerns_all(&self) -> bool {
        matches!(
            self.code,
            None | Some(Code::NotFound | Code::PermissionDenied | Code::Unauthenticated)
        )
    }

    /// Returns whether every attempt failed with a transient error.
    pub fn is_transient(&self) -> bool {
        self.code.is_some_and(is_transient)
    }

    /// Returns whether the response may have been too large, or too slow because of its size.
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
    fn from(error: PubSubError) -> Self {
        error.failure
    }
}

/// Makes calls, and holds the state that they share.
#[derive(Debug)]
pub(super) struct Api {
    url: String,
    channel: OnceLock<Channel>,
    credentials: Arc<GoogleCredentials>,
    timing: Timing,
}

impl Api {
    pub(super) fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Self {
        let none = || Arc::new(GoogleCredentials::None);
        Self {
            url: config.pubsub.url.clone(),
            channel: OnceLock::new(),
            credentials: if config.pubsub.emulator { none() } else { Arc::clone(google) },
            timing: config.timing.clone(),
        }
    }

    /// Makes a call for a topic or subscription. If Pub/Sub rejects the token, an attempt is repeated
    /// once with a new one, since a cached token can be rejected before it expires.
    pub(super) async fn call<Q: Clone, A, F>(
        &self,
        resource: &str,
        message: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, PubSubError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let no_response = |failure: Failure| PubSubError { failure, code: None };
        let failed = |detail: String| Failure::PublishFailed { topic: resource.to_owned(), detail };
        let channel = self.channel().map_err(|why| no_response(failed(why)))?;
        let request = |token: Option<&SecretString>| {
            let mut request = Request::new(message.clone());
            request.set_timeout(self.timing.google_call_timeout);
            if let Some(token) = token {
                let value = bearer(token).map_err(|why| no_response(failed(why)))?;
                request.metadata_mut().insert("authorization", value);
            }
            Ok::<_, PubSubError>(request)
        };
        retry::run(&self.timing.backoff, |_| async {
            let token = self.credentials.token().await.map_err(no_response)?;
            let mut sent = send(channel.clone(), request(token.as_ref())?).await;
            if let (Err(status), Some(rejected)) = (&sent, &token)
                && status.code() == Code::Unauthenticated
            {
                let other = self.credentials.token_other_than(rejected).await;
                let other = other.map_err(no_response)?;
                sent = send(channel.clone(), request(other.as_ref())?).await;
            }
            sent.map(Response::into_inner).map_err(|status| {
                let code = status.code();
                let words = text::excerpt(status.message(), text::MAX_EXCERPT_BYTES);
                let detail = format!("{code:?}: {words}");
                let failure = if code == Code::Unauthenticated {
                    let twice = if token.is_some() { ", also with a new token" } else { "" };
                    Failure::GoogleCredentials(format!("Pub/Sub answers {detail}{twice}"))
                } else {
                    failed(detail)
                };
                let error = PubSubError { failure, code: Some(code) };
                retry::Error::transient_if(is_transient(code), error)
            })
        })
        .await
    }

    fn channel(&self) -> Result<Channel, String> {
        if let Some(channel) = self.channel.get() {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(|error| http::describe(&error))?
            .connect_timeout(self.timing.connect_timeout)
            .timeout(self.timing.google_call_timeout)
            // Pings only while a call is open: an idle instance has no processor for them.
            .http2_keep_alive_interval(http::PING_INTERVAL)
            .keep_alive_timeout(http::PING_TIMEOUT)
            .tcp_nodelay(true);
        let channel = if self.url.starts_with("http://") {
            endpoint.connect_lazy()
        } else {
            // tonic's own TLS would add a second provider.
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(http::tls_config().map_err(|error| error.to_string())?)
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
    let mut value: MetadataValue<_> =
        value.parse().map_err(|_| "the token is not a valid header value")?;
    // Keeps the token out of logs and out of the connection's header table.
    value.set_sensitive(true);
    Ok(value)
}

/// Returns whether Google's own clients retry this code
/// (<https://cloud.google.com/pubsub/docs/reference/error-codes>).
fn is_transient(code: Code) -> bool {
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
