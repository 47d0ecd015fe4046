//! The environment, read once and checked whole. What is inside [`Config`] is valid; every variable
//! that is not is named in one [`ConfigError`], with what was expected. Only this module reads the
//! environment.

mod reader;
mod settings;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::names::{Kind, Naming, Term};
use crate::retry::Backoff;
pub use crate::text::Phrases;
pub use reader::ConfigError;
use reader::Reader;
pub(crate) use reader::{is_project, resource};
pub use settings::{SETTINGS, Setting, TABLE_SETTINGS, default};

/// All that the service is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port to listen on, on all addresses.
    pub port: u16,
    /// The Google Cloud project, where one is known.
    pub project: Option<String>,
    /// Where tables live.
    pub warehouse: Warehouse,
    /// The configured term and its tables.
    pub naming: Naming,
    /// What an episode must hold one of to be a mention.
    pub mention: Phrases,
    /// How Spotify is read.
    pub spotify: Spotify,
    /// Where messages go.
    pub pubsub: PubSub,
    /// Where Google's credentials come from.
    pub google: Google,
    /// How pushes are verified, where the platform does not.
    pub push_auth: Option<PushAuth>,
    /// How many messages are worked on at once; more wait.
    pub concurrent_messages: usize,
    /// How long things may take.
    pub timing: Timing,
    /// How log lines look.
    pub log: Log,
}

/// What the settings are read for: not every command needs them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Messages will be handled: a warehouse and Spotify's credentials are needed.
    Serve,
    /// The demo: tables go to a file, and Spotify is a sample, where nothing else is set.
    Demo,
    /// Another command, which says itself what it lacks.
    Tool,
}

/// Google's own Python client draws the line between multipart and resumable uploads here too.
const MAX_MULTIPART: usize = 5 * 1024 * 1024;

/// The demo's tables, where no other warehouse is set.
const DEMO_FILE: &str = "spotify-bq-demo.sqlite";

/// Where tables live.
#[derive(Clone, Debug)]
pub enum Warehouse {
    /// BigQuery.
    BigQuery(BigQuery),
    /// A SQLite file on one's own machine.
    Sqlite(PathBuf),
}

/// A BigQuery dataset.
#[derive(Clone, Debug)]
pub struct BigQuery {
    /// The project of dataset and jobs.
    pub project: String,
    /// The dataset.
    pub dataset: String,
    /// The dataset's location; BigQuery is asked where this is absent.
    pub location: Option<String>,
    /// The API's base, without a slash at the end.
    pub url: String,
    /// Whether that is an emulator, which wants no credentials.
    pub emulator: bool,
    /// Above this many bytes of rows an upload is resumable.
    pub max_multipart: usize,
}

/// How Spotify is read.
#[derive(Clone, Debug)]
pub struct Spotify {
    /// Where client id and secret come from; `serve` and `check` need them.
    pub credentials: Option<Credentials>,
    /// The Web API's base.
    pub api_url: Url,
    /// The token endpoint's base.
    pub accounts_url: Url,
    /// The market whose catalogue is read (ISO 3166-1 alpha-2).
    pub market: String,
    /// Items of a search page: at most 10 in Development Mode, 50 in Extended Quota Mode.
    pub search_page_size: u32,
    /// How many calls are made at once, in all messages together.
    pub concurrent_calls: usize,
}

/// Where client id and secret come from.
#[derive(Clone)]
pub enum Credentials {
    /// A file, read anew for every token.
    File(PathBuf),
    /// The JSON itself.
    Json(SecretString),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Json(_) => f.write_str("Json(…)"),
        }
    }
}

/// Where messages go. Names are full: `projects/P/topics/T`.
#[derive(Clone, Debug, Default)]
pub struct PubSub {
    /// Where fan-outs are published.
    pub trigger_topic: Option<String>,
    /// Where messages go that can never succeed.
    pub dead_letter_topic: Option<String>,
    /// Where an event is published after each load.
    pub loaded_topic: Option<String>,
    /// What `redrive` pulls from.
    pub dead_letter_subscription: Option<String>,
    /// `host:port` of an emulator.
    pub emulator: Option<String>,
    /// Whether calls carry a token. An emulator asks for none.
    pub with_token: bool,
}

/// Where Google's credentials come from: the first of these that exists.
#[derive(Clone, Debug)]
pub struct Google {
    /// The file that GOOGLE_APPLICATION_CREDENTIALS names.
    pub credentials_file: Option<PathBuf>,
    /// The file that `gcloud auth application-default login` writes.
    pub gcloud_file: Option<PathBuf>,
    /// `host` or `host:port` of the metadata server.
    pub metadata_host: String,
}

/// How pushes are verified.
#[derive(Clone, Debug)]
pub struct PushAuth {
    /// The audience that a token must have, to the letter.
    pub audience: String,
    /// The account that the subscription pushes with.
    pub service_account: String,
    /// Where the issuer's keys are, if not at Google's address.
    pub jwks_url: Option<String>,
    /// How old the keys are at most when a token names one that is not among them.
    pub keys_stay_fresh: Duration,
}

/// How long things may take. Settings move the message's deadline; tests shrink the rest.
#[derive(Clone, Debug)]
pub struct Timing {
    /// A message, from receipt to answer: under the ack deadline of 600 s, which push cannot extend.
    pub message_deadline: Duration,
    /// A request's head; a connection that stays silent for as long is closed. A platform's proxy
    /// keeps its connections for some while and must not find them closed under its hands.
    pub request_head: Duration,
    /// A request's body; Pub/Sub sends it at once.
    pub request_body: Duration,
    /// From SIGTERM to the answer 503: Cloud Run kills after 10 s.
    pub drain: Duration,
    /// To connect to any service.
    pub connect: Duration,
    /// One call to Spotify.
    pub spotify_call: Duration,
    /// A second of Spotify's Retry-After; a simulation may run faster.
    pub second: Duration,
    /// One call to BigQuery or Pub/Sub.
    pub google_call: Duration,
    /// One upload.
    pub upload: Duration,
    /// From an accepted load job to the first look at it; later looks come at growing distances.
    pub first_look: Duration,
    /// The longest distance between two looks.
    pub last_look: Duration,
    /// How long a term's show is remembered.
    pub show_memory: Duration,
    /// How long a reading of a show's episodes serves the other table of the show.
    pub reading_memory: Duration,
    /// How long an incomplete listing is not read again.
    pub verdict_memory: Duration,
    /// How long a denial of BigQuery's is remembered; a quota that is used up, twice as long.
    pub denial_memory: Duration,
    /// How long before its end a Spotify token is renewed.
    pub token_margin: Duration,
    /// Retries of one call.
    pub backoff: Backoff,
}

impl Timing {
    fn new(message_deadline: Duration) -> Self {
        Self {
            message_deadline,
            request_head: Duration::from_secs(75),
            request_body: Duration::from_secs(10),
            drain: Duration::from_secs(8),
            connect: Duration::from_secs(5),
            spotify_call: Duration::from_secs(20),
            second: Duration::from_secs(1),
            google_call: Duration::from_secs(30),
            upload: Duration::from_secs(180),
            first_look: Duration::from_millis(300),
            last_look: Duration::from_secs(5),
            show_memory: Duration::from_secs(600),
            reading_memory: Duration::from_secs(900),
            verdict_memory: Duration::from_secs(300),
            denial_memory: Duration::from_secs(300),
            token_margin: Duration::from_secs(60),
            backoff: Backoff {
                base_delay: Duration::from_millis(500),
                max_delay: Duration::from_secs(20),
                attempts: 5,
                max_retry_after: Duration::from_secs(30),
            },
        }
    }
}

/// How log lines look.
#[derive(Clone, Debug)]
pub struct Log {
    /// JSON for Cloud Logging rather than a terminal's lines.
    pub json: bool,
    /// What is logged, in tracing's filter language.
    pub filter: String,
}

impl Config {
    /// Reads the process's environment. `project` is what the metadata server says, where it was
    /// asked.
    pub fn from_env(project: Option<String>, purpose: Purpose) -> Result<Self, ConfigError> {
        Self::from_env_but(&[], project, purpose)
    }

    /// The same with other values for some settings: a command's options.
    pub(crate) fn from_env_but(
        given: &[(&str, String)],
        project: Option<String>,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let get = |name: &str| match given.iter().find(|(setting, _)| *setting == name) {
            Some((_, value)) => Some(value.clone()),
            #[expect(clippy::disallowed_methods, reason = "this is the place")]
            None => std::env::var(name).ok(),
        };
        Self::read(&get, project, purpose)
    }

    /// Whether the process runs on Google Cloud and its project must be asked of the metadata
    /// server.
    pub fn project_must_be_asked() -> bool {
        !is_set("GOOGLE_CLOUD_PROJECT") && (is_set("K_SERVICE") || is_set("GCE_METADATA_HOST"))
    }

    /// Whether the environment says where trusted certificates are, in OpenSSL's variables.
    pub(crate) fn names_certificates() -> bool {
        ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| is_set(name))
    }

    /// The service's name in error reports: Cloud Run's, where it runs there.
    pub(crate) fn service_name() -> String {
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        let name = Reader::new(&|name| std::env::var(name).ok()).optional("K_SERVICE");
        name.unwrap_or_else(|| "spotify-bq".to_owned())
    }

    /// The address of the metadata server, which is needed before the settings can be read.
    pub fn metadata_host() -> String {
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
        google(&mut Reader::new(&|name| std::env::var(name).ok())).metadata_host
    }

    /// Reads settings from `get`, as [`Config::from_env`] does from the environment.
    pub fn read(
        get: &dyn Fn(&str) -> Option<String>,
        project: Option<String>,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let mut from = Reader::new(get);
        let project = from.project("GOOGLE_CLOUD_PROJECT").or(project);
        let config = Self {
            port: from.number("PORT", 1..=65_535) as u16,
            warehouse: warehouse(&mut from, project.as_deref(), purpose),
            naming: naming(&mut from),
            mention: from.parsed("MENTION", Phrases::parse),
            spotify: spotify(&mut from, purpose),
            pubsub: pubsub(&mut from, project.as_deref()),
            google: google(&mut from),
            push_auth: push_auth(&mut from),
            concurrent_messages: from.number("MAX_CONCURRENT_MESSAGES", 1..=1000) as usize,
            // The ack deadline is 600 s at most; 10 s are for the body, 20 s for a dead letter.
            timing: Timing::new(Duration::from_secs(
                from.number("MESSAGE_DEADLINE_SECONDS", 10..=570),
            )),
            log: log(&mut from),
            project,
        };
        from.finish(config)
    }
}

/// Whether a variable is set. An empty one is not.
fn is_set(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    std::env::var(name).is_ok_and(|value| !value.trim().is_empty())
}

fn warehouse(from: &mut Reader<'_>, project: Option<&str>, purpose: Purpose) -> Warehouse {
    let chosen = from.optional("WAREHOUSE");
    let dataset = from.identifier("BIGQUERY_DATASET");
    let location = from.optional("BIGQUERY_LOCATION");
    let emulator = from.url_of("BIGQUERY_EMULATOR_HOST");
    match chosen.as_deref() {
        None if purpose == Purpose::Demo => Warehouse::Sqlite(PathBuf::from(DEMO_FILE)),
        None | Some("bigquery") => {
            if project.is_none() && purpose != Purpose::Tool {
                from.problem(
                    "GOOGLE_CLOUD_PROJECT",
                    "is not set, and neither is WAREHOUSE: set the project for BigQuery, or \
                     WAREHOUSE=sqlite:FILE for a file on this machine (`spotify-bq demo` needs neither)",
                );
            }
            Warehouse::BigQuery(BigQuery {
                project: project.unwrap_or_default().to_owned(),
                dataset,
                location,
                emulator: emulator.is_some(),
                max_multipart: MAX_MULTIPART,
                url: emulator.unwrap_or_else(|| "https://bigquery.googleapis.com".to_owned()),
            })
        }
        Some(other) => match other.strip_prefix("sqlite:") {
            Some(file) if !file.is_empty() && cfg!(feature = "local") => {
                Warehouse::Sqlite(PathBuf::from(file))
            }
            Some(_) if !cfg!(feature = "local") => {
                from.problem(
                    "WAREHOUSE",
                    "is SQLite, which this binary was built without (cargo feature `local`)",
                );
                Warehouse::Sqlite(PathBuf::new())
            }
            _ => {
                from.problem("WAREHOUSE", "must be `bigquery` or `sqlite:FILE`");
                Warehouse::Sqlite(PathBuf::new())
            }
        },
    }
}

fn naming(from: &mut Reader<'_>) -> Naming {
    let term = from.parsed("SEARCH_TERM", Term::parse);
    let is_default = Term::parse(default("SEARCH_TERM")).is_ok_and(|default| default == term);
    let tables = Kind::ALL.map(|kind| {
        let name = TABLE_SETTINGS[kind as usize];
        if is_default || from.is_given(name) { from.identifier(name) } else { term.table(kind) }
    });
    for (at, table) in tables.iter().enumerate() {
        let same = tables[..at].iter().position(|other| other.eq_ignore_ascii_case(table));
        let Some(same) = same.map(|same| TABLE_SETTINGS[same]) else { continue };
        // Of the two, the one that is set can be changed.
        let (name, other) = match TABLE_SETTINGS[at] {
            name if from.is_given(name) => (name, same),
            name => (same, name),
        };
        from.problem(name, &format!("must differ from {other}, which is {table} too"));
    }
    Naming { term, tables }
}

fn spotify(from: &mut Reader<'_>, purpose: Purpose) -> Spotify {
    let file = from.optional("SPOTIFY_CREDENTIALS_FILE");
    let json = from.secret("SPOTIFY_CREDENTIALS");
    // A path is shown in errors, so it must not be the secret itself.
    if file.as_ref().is_some_and(|file| file.trim_start().starts_with('{')) {
        from.problem(
            "SPOTIFY_CREDENTIALS_FILE",
            "holds the JSON itself: name a file with it, or set SPOTIFY_CREDENTIALS to it",
        );
    }
    let file = file.map(|file| Credentials::File(file.into()));
    if purpose == Purpose::Serve && file.is_none() && json.is_none() {
        from.problem(
            "SPOTIFY_CREDENTIALS_FILE",
            "is not set, and neither is SPOTIFY_CREDENTIALS: one of them gives \
             {\"client_id\":\"…\",\"client_secret\":\"…\"} of an app at developer.spotify.com",
        );
    }
    Spotify {
        credentials: file.or(json.map(Credentials::Json)),
        api_url: from.url("SPOTIFY_API_URL"),
        accounts_url: from.url("SPOTIFY_ACCOUNTS_URL"),
        market: from.parsed("SPOTIFY_MARKET", |market| {
            let valid = market.len() == 2 && market.bytes().all(|byte| byte.is_ascii_uppercase());
            valid
                .then(|| market.to_owned())
                .ok_or("must be two capital letters, such as BR".to_owned())
        }),
        search_page_size: from.number("SPOTIFY_SEARCH_PAGE_SIZE", 1..=50) as u32,
        concurrent_calls: from.number("SPOTIFY_CONCURRENT_CALLS", 1..=50) as usize,
    }
}

fn pubsub(from: &mut Reader<'_>, project: Option<&str>) -> PubSub {
    let names = ["TRIGGER_TOPIC", "DEAD_LETTER_TOPIC", "LOADED_TOPIC"];
    let topics = names.map(|name| from.resource(name, "topics", project));
    for (at, topic) in topics.iter().enumerate() {
        let same = topics[..at].iter().position(|other| topic.is_some() && other == topic);
        if let Some(same) = same {
            // The service would receive what it publishes there, without end.
            from.problem(names[at], &format!("must differ from {}", names[same]));
        }
    }
    let [trigger_topic, dead_letter_topic, loaded_topic] = topics;
    let emulator = from.optional("PUBSUB_EMULATOR_HOST");
    PubSub {
        trigger_topic,
        dead_letter_topic,
        loaded_topic,
        dead_letter_subscription: from.resource(
            "DEAD_LETTER_SUBSCRIPTION",
            "subscriptions",
            project,
        ),
        with_token: emulator.is_none(),
        emulator,
    }
}

fn google(from: &mut Reader<'_>) -> Google {
    let file = from.optional("GOOGLE_APPLICATION_CREDENTIALS");
    // A path is shown in errors, so it must not be the key itself, as JSON or in base64.
    let credentials_file = file.filter(|file| {
        let is_path = file.len() <= 1024 && !file.contains(['{', '\n']);
        if !is_path {
            from.problem(
                "GOOGLE_APPLICATION_CREDENTIALS",
                "is not the name of a file: write the credentials to a file and set it to the file's path",
            );
        }
        is_path
    });
    let home = from.optional("HOME").map(PathBuf::from);
    let host = from.optional("GCE_METADATA_HOST").unwrap_or_default();
    Google {
        credentials_file: credentials_file.map(PathBuf::from),
        gcloud_file: home
            .map(|home| home.join(".config/gcloud/application_default_credentials.json")),
        metadata_host: host.trim_start_matches("http://").trim_end_matches('/').to_owned(),
    }
}

fn push_auth(from: &mut Reader<'_>) -> Option<PushAuth> {
    match (from.optional("PUSH_AUDIENCE"), from.optional("PUSH_SERVICE_ACCOUNT")) {
        (Some(audience), Some(service_account)) => Some(PushAuth {
            audience,
            service_account,
            jwks_url: None,
            keys_stay_fresh: Duration::from_secs(10),
        }),
        (None, None) => None,
        (Some(_), None) => {
            from.problem(
                "PUSH_SERVICE_ACCOUNT",
                "must be set together with PUSH_AUDIENCE, or both unset",
            );
            None
        }
        (None, Some(_)) => {
            from.problem(
                "PUSH_AUDIENCE",
                "must be set together with PUSH_SERVICE_ACCOUNT, or both unset",
            );
            None
        }
    }
}

fn log(from: &mut Reader<'_>) -> Log {
    let on_cloud_run = from.optional("K_SERVICE").is_some();
    let json = match from.optional("LOG_FORMAT").as_deref() {
        None => on_cloud_run,
        Some("json") => true,
        Some("text") => false,
        Some(_) => {
            from.problem("LOG_FORMAT", "must be `json` or `text`");
            false
        }
    };
    let filter = from.parsed("RUST_LOG", |filter| {
        let parsed = filter.parse::<tracing_subscriber::EnvFilter>();
        parsed.map(|_| filter.to_owned()).map_err(|error| format!("is no filter: {error}"))
    });
    Log { json, filter }
}

#[cfg(test)]
mod tests;
