//! BigQuery's REST API: a request with a token, and its answer as JSON.
//!
//! Requests are built from gcp-bigquery-client's types. Its calls are not used: they reject answers
//! that BigQuery documents (a table without a schema, new column types, an error without a list of
//! errors), and drop the status of an answer that is not JSON. Each caller reads from an answer what it
//! needs, and nothing else can be wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest_bq::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::answer::Refusal;
use crate::config::{self, Timing};
use crate::google::GoogleCredentials;
use crate::http;
use crate::retry::{self, Backoff};

/// An answer about one job, table or dataset has some kilobytes; a page of jobs has more.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// The way to BigQuery.
pub(super) struct Api {
    base: Url,
    client: Client,
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
        let emulator = || Arc::new(GoogleCredentials::None);
        Ok(Self {
            base: Url::parse(&config.url).map_err(|error| format!("{}: {error}", config.url))?,
            client: client(timing)?,
            credentials: if config.emulator { emulator() } else { Arc::clone(google) },
            backoff: timing.backoff,
            upload_timeout: timing.upload,
        })
    }

    /// Returns the address of a resource: `path` below the API's base, each part escaped.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only a base like `mailto:` has no path, and the settings refuse it.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Asks for a resource, again with backoff where a failure may pass.
    pub(super) async fn get(&self, url: &Url) -> Result<Value, Refusal> {
        self.ask(|| self.client.get(url.clone())).await
    }

    /// Creates a resource, again with backoff where a failure may pass.
    pub(super) async fn post(&self, url: &Url, body: &impl Serialize) -> Result<Value, Refusal> {
        self.ask(|| self.client.post(url.clone()).json(body)).await
    }

    async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Value, Refusal> {
        let call = |_| async { Answer::read(self.send(&request).await?).await?.json() };
        retry::run(&self.backoff, call, Refusal::may_pass_soon).await
    }

    /// Sends a request with a token where one is wanted, and once more with another token where
    /// BigQuery refuses the first: a token that is kept here may be refused although it is not old.
    pub(super) async fn send(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, Refusal> {
        let token = self.credentials.token().await.map_err(Refusal::Failed)?;
        let response = with_token(request(), token.as_ref()).await?;
        match token {
            Some(refused) if response.status() == StatusCode::UNAUTHORIZED => {
                let other = self.credentials.token_other_than(&refused).await;
                with_token(request(), other.map_err(Refusal::Failed)?.as_ref()).await
            }
            _ => Ok(response),
        }
    }

    /// Begins a request whose body is rows: it may take longer than others.
    pub(super) fn upload(&self, method: Method, url: &Url) -> RequestBuilder {
        self.client.request(method, url.clone()).timeout(self.upload_timeout)
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

async fn with_token(
    request: RequestBuilder,
    token: Option<&SecretString>,
) -> Result<Response, Refusal> {
    let request = match token {
        Some(token) => request.bearer_auth(token.expose_secret()),
        None => request,
    };
    request.send().await.map_err(|error| Refusal::passing(http::describe(&error)))
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// Reads the body of an answer up to [`MAX_ANSWER`].
    pub(super) async fn read(mut response: Response) -> Result<Self, Refusal> {
        let status = response.status();
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                    body.extend_from_slice(&chunk);
                }
                // The status of a refusal tells, whatever becomes of its words.
                _ if !status.is_success() => break,
                Ok(Some(_)) => {
                    let detail = format!("the answer is longer than {MAX_ANSWER} bytes");
                    return Err(Refusal::passing(detail));
                }
                Err(error) => return Err(Refusal::passing(http::describe(&error))),
            }
        }
        Ok(Self { status, body: body.freeze() })
    }

    /// Returns the answer's JSON, or what it means that there is none. The status decides first.
    pub(super) fn json(&self) -> Result<Value, Refusal> {
        let status = self.status.as_u16();
        if !self.status.is_success() {
            return Err(Refusal::of(status, &self.body));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let error = http::describe(&error);
            Refusal::passing(format!("{status}, but the answer is no JSON: {error}"))
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the other reqwest, with the same rules")]
fn client(timing: &Timing) -> Result<Client, String> {
    Client::builder()
        .use_preconfigured_tls(http::tls_for_http().map_err(|error| error.to_string())?)
        .redirect(reqwest_bq::redirect::Policy::none())
        .connect_timeout(timing.connect)
        .timeout(timing.google_call)
        .tcp_nodelay(true)
        .user_agent(concat!("spotify-bq/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| http::describe(&error))
}
