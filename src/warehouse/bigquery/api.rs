//! Calls BigQuery's REST API: adds the token, retries, and returns the response as JSON.
//!
//! Request bodies are gcp-bigquery-client's types. Its calls are not used: they reject responses that
//! BigQuery documents (a table without a schema, new column types, an error without a list of errors),
//! and drop the status of a response that is not JSON. Callers read the fields that they need.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryFutureExt;
use reqwest_bq::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::error::ApiError;
use crate::config::{self, Timing};
use crate::google::GoogleCredentials;
use crate::http;
use crate::retry::{self, Backoff};

/// The largest response. A job, table or dataset has some kilobytes, a page of jobs some megabytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

pub(super) struct Api {
    pub(super) base: Url,
    pub(super) client: Client,
    credentials: Arc<GoogleCredentials>,
    backoff: Backoff,
    upload_timeout: Duration,
}

impl Api {
    pub(super) fn new(
        config: &config::BigQuery,
        timing: &Timing,
        google: &Arc<GoogleCredentials>,
    ) -> Result<Self, String> {
        Ok(Self {
            base: Url::parse(&config.url)
                .map_err(|error| format!("BigQuery's URL {} is invalid: {error}", config.url))?,
            client: client(timing)?,
            credentials: match config.emulator {
                true => Arc::new(GoogleCredentials::None),
                false => Arc::clone(google),
            },
            backoff: timing.backoff,
            upload_timeout: timing.upload_timeout,
        })
    }

    /// Returns the base URL with the segments of `path`, escaped, appended.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Fails only for a base URL like `mailto:`, which the settings refuse.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Reads a resource. Retries transient errors.
    pub(super) async fn get(&self, url: &Url) -> Result<Value, ApiError> {
        self.call_with_retry(|| self.client.get(url.clone())).await
    }

    /// Creates a resource. Retries transient errors.
    pub(super) async fn post(&self, url: &Url, body: &impl Serialize) -> Result<Value, ApiError> {
        self.call_with_retry(|| self.client.post(url.clone()).json(body)).await
    }

    async fn call_with_retry(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Value, ApiError> {
        let call = || async { ApiResponse::read(self.send(&request).await?).await?.json() };
        retry::run(&self.backoff, |_| call().map_err(ApiError::into_retry_error)).await
    }

    /// Sends a request with a token, if one is needed. After a 401, sends it once more with a new token:
    /// a cached token can be revoked before it expires.
    pub(super) async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, ApiError> {
        let token = self.credentials.token().await.map_err(ApiError::Other)?;
        let response = with_token(request(), token.as_ref()).await?;
        match token {
            Some(refused) if response.status() == StatusCode::UNAUTHORIZED => {
                let other = self.credentials.token_other_than(&refused).await;
                with_token(request(), other.map_err(ApiError::Other)?.as_ref()).await
            }
            _ => Ok(response),
        }
    }

    /// Builds a request whose body is rows, with a longer timeout.
    pub(super) fn upload(&self, method: Method, url: &Url) -> RequestBuilder {
        self.client.request(method, url.clone()).timeout(self.upload_timeout)
    }
}

async fn with_token(
    request: RequestBuilder,
    token: Option<&SecretString>,
) -> Result<Response, ApiError> {
    let request = match token {
        Some(token) => request.bearer_auth(token.expose_secret()),
        None => request,
    };
    request.send().await.map_err(|error| ApiError::Transient(http::describe(&error)))
}

/// A response with its body.
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl ApiResponse {
    /// Reads the body, at most [`MAX_RESPONSE_BYTES`] bytes.
    pub(super) async fn read(mut response: Response) -> Result<Self, ApiError> {
        let status = response.status();
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_RESPONSE_BYTES => {
                    body.extend_from_slice(&chunk);
                }
                // The status of an error is enough, even if its body can't be read.
                _ if !status.is_success() => break,
                Ok(Some(_)) => {
                    let detail = format!("the response is longer than {MAX_RESPONSE_BYTES} bytes");
                    return Err(ApiError::Transient(detail));
                }
                Err(error) => return Err(ApiError::Transient(http::describe(&error))),
            }
        }
        Ok(Self { status, body: body.freeze() })
    }

    /// Returns whether the body is an error of a Google API, rather than of a proxy or front end.
    pub(super) fn is_google_error(&self) -> bool {
        serde_json::from_slice::<Value>(&self.body).is_ok_and(|body| body["error"].is_object())
    }

    /// Returns the JSON of a successful response, or classifies the error.
    pub(super) fn json(&self) -> Result<Value, ApiError> {
        let status = self.status.as_u16();
        if !self.status.is_success() {
            return Err(ApiError::of_response(status, &self.body));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let error = http::describe(&error);
            ApiError::Transient(format!("{status}, but the response is not JSON: {error}"))
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the version of reqwest that gcp-bigquery-client brings; set up like http::client"
)]
fn client(timing: &Timing) -> Result<Client, String> {
    Client::builder()
        .use_preconfigured_tls(http::tls_config_with_alpn().map_err(|error| error.to_string())?)
        .redirect(reqwest_bq::redirect::Policy::none())
        .connect_timeout(timing.connect_timeout)
        .timeout(timing.google_call_timeout)
        .http2_keep_alive_interval(http::PING_INTERVAL)
        .http2_keep_alive_timeout(http::PING_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(concat!("spotify-bq/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| http::describe(&error))
}
