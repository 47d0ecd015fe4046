//! Starts the real app on a free port, with settings and simulated services.

pub mod bigquery;
pub mod binary;
pub mod emulators;
pub mod google;
pub mod issuer;
pub mod log;
pub mod pubsub;
pub mod spotify;
pub mod subscriber;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use spotify_bq::config::{Config, Purpose};
use spotify_bq::envelope::OUTCOME_HEADER;
use spotify_bq::push_auth::PushAuth;
use spotify_bq::retry::Backoff;
use spotify_bq::server;
use spotify_bq::service::Service;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use bigquery::BigQuery;
use pubsub::PubSub;
use spotify::{Spotify, episode_rows};

/// The default names of the tables.
pub const PODCASTS: &str = "tb_datahackers_limitada";
pub const EPISODES: &str = "tb_datahackers_episodios_total";
pub const MENTIONS: &str = "tb_datahackers_episodios_boticario";

/// The simulated services, and settings with their addresses.
pub struct World {
    pub spotify: Spotify,
    pub bigquery: BigQuery,
    pub pubsub: PubSub,
    pub settings: BTreeMap<String, String>,
}

/// A running service.
pub struct App {
    pub url: String,
    pub service: Arc<Service>,
    client: reqwest::Client,
    signal: CancellationToken,
    pub server: tokio::task::JoinHandle<()>,
}

/// The service's response to a push.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub outcome: String,
    pub retry_after: Option<u64>,
    pub body: Value,
}

/// A message to push.
#[derive(Clone, Debug)]
pub struct Push {
    pub data: String,
    pub id: String,
    pub publish_time: String,
    pub attempt: Option<u32>,
    pub attributes: Value,
}

static IDS: AtomicU32 = AtomicU32::new(1);

/// Returns a new message with this data, at its first delivery.
pub fn message(data: &Value) -> Push {
    Push {
        data: data.to_string(),
        id: IDS.fetch_add(1, Ordering::Relaxed).to_string(),
        publish_time: "2026-11-24T09:00:00.000Z".to_owned(),
        attempt: Some(1),
        attributes: json!({}),
    }
}

/// Returns a new message for a table of the configured term.
pub fn table(table: &str) -> Push {
    message(&json!({ "table": table }))
}

impl Push {
    /// Returns a later delivery of the message.
    pub fn again(&self, attempt: u32) -> Self {
        Self { attempt: Some(attempt), ..self.clone() }
    }

    pub fn envelope(&self) -> Value {
        let mut envelope = json!({
            "message": {
                "data": STANDARD.encode(&self.data),
                "attributes": self.attributes,
                "messageId": self.id, "message_id": self.id,
                "publishTime": self.publish_time, "publish_time": self.publish_time,
            },
            "subscription": "projects/p1/subscriptions/push",
        });
        if let Some(attempt) = self.attempt {
            envelope["deliveryAttempt"] = json!(attempt);
        }
        envelope
    }
}

impl World {
    pub async fn new(spotify: Spotify) -> Self {
        spotify_bq::install_tls_provider();
        let bigquery = BigQuery::start().await;
        let pubsub = PubSub::start().await;
        let settings = [
            ("GOOGLE_CLOUD_PROJECT", "p1"),
            (
                "SPOTIFY_CREDENTIALS",
                r#"{"client_id":"the-client-id","client_secret":"the-client-secret"}"#,
            ),
            ("SPOTIFY_API_URL", &spotify.stub.url),
            ("SPOTIFY_ACCOUNTS_URL", &spotify.stub.url),
            ("BIGQUERY_EMULATOR_HOST", &bigquery.stub.url),
            ("PUBSUB_EMULATOR_HOST", &pubsub.host),
            ("TRIGGER_TOPIC", "trigger"),
            ("DEAD_LETTER_TOPIC", "letters"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { settings: settings.into(), spotify, bigquery, pubsub }
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Returns the configuration of the settings, with short pauses.
    pub fn config(&self) -> Config {
        let get = |name: &str| self.settings.get(name).cloned();
        let mut config = Config::read(&get, None, Purpose::Serve).unwrap();
        config.timing.backoff = Backoff {
            base_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(20),
            ..config.timing.backoff
        };
        config.timing.first_poll_delay = Duration::from_millis(1);
        config.timing.max_poll_delay = Duration::from_millis(10);
        config.timing.denial_ttl = Duration::ZERO;
        config
    }

    pub async fn app(&self) -> App {
        App::start(self.config()).await
    }

    /// Returns how many times the table of episodes was replaced. Checks that it has what Spotify shows.
    pub fn episode_loads(&self) -> u32 {
        assert_eq!(self.bigquery.rows(EPISODES), episode_rows(self.spotify.episodes()));
        self.bigquery.table(EPISODES).unwrap().loads
    }
}

impl Answer {
    /// Returns status and outcome.
    pub fn result(&self) -> (u16, &str) {
        (self.status, &self.outcome)
    }

    /// Returns why the message failed.
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

impl App {
    pub async fn start(config: Config) -> Self {
        let timing = config.timing.clone();
        let push_auth = PushAuth::new(&config);
        let project = config.project.clone();
        let service = Arc::new(Service::new(config).unwrap());
        let router = server::router(Arc::clone(&service), push_auth, project.as_deref());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let signal = CancellationToken::new();
        let ended = signal.clone().cancelled_owned();
        let server =
            server::serve(listener, router, Arc::clone(&service), timing.drain_timeout, ended);
        Self { url, client: client(), signal, server: tokio::spawn(server), service }
    }

    /// Pushes a message and waits for the response.
    pub async fn push(&self, push: &Push) -> Answer {
        self.try_push(push).await.unwrap()
    }

    pub async fn try_push(&self, push: &Push) -> reqwest::Result<Answer> {
        self.post(push.envelope().to_string()).await
    }

    /// Posts a body.
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::Result<Answer> {
        self.post_with(&[], body).await
    }

    /// Posts a body with these headers.
    pub async fn post_with(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let request = headers.iter().fold(self.client.post(&self.url), |request, (name, value)| {
            request.header(*name, *value)
        });
        let response = request.body(body).send().await?;
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let retry_after = header("retry-after").map(|seconds| seconds.parse().unwrap());
        let (status, outcome) =
            (response.status().as_u16(), header(OUTCOME_HEADER).unwrap_or_default());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer { status, outcome, retry_after, body })
    }

    /// Shuts down, as after SIGTERM.
    pub fn terminate(&self) {
        self.signal.cancel();
    }
}

/// Waits until a condition is true.
pub async fn until(is_true: impl Fn() -> bool) {
    while !is_true() {
        tokio::task::yield_now().await;
    }
}

/// Returns a client that opens a connection for each request, as many senders do. There is one client, because
/// creating it reads the system's certificates.
pub fn client() -> reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "this is not one of the service's clients")]
        reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap()
    });
    CLIENT.clone()
}
