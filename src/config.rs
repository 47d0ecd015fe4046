//! Reads the environment once and validates it as a whole. Every value in [`Config`] is valid, and a
//! [`ConfigError`] names every invalid setting. No other module reads the environment.

mod google;
mod log;
mod naming;
mod pubsub;
mod reader;
mod settings;
mod spotify;
mod timing;
mod warehouse;

use std::time::Duration;

use crate::names::Naming;
pub use crate::text::Phrases;
pub use google::Google;
pub use log::Log;
pub use pubsub::{PubSub, PushAuth};
pub use reader::ConfigError;
use reader::Reader;
pub(crate) use reader::{is_project_id, resource_name};
pub use settings::{SETTINGS, Setting, TABLE_SETTINGS, default};
pub use spotify::{Credentials, Spotify};
pub use timing::Timing;
pub use warehouse::{BigQuery, Warehouse};

/// The service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port to listen on, on all addresses.
    pub port: u16,
    /// The Google Cloud project, if known.
    pub project: Option<String>,
    /// Where the tables are.
    pub warehouse: Warehouse,
    /// The configured term and its tables.
    pub naming: Naming,
    /// An episode that contains one of these phrases is a mention.
    pub mention_phrases: Phrases,
    /// The Spotify client.
    pub spotify: Spotify,
    /// Topics and subscriptions.
    pub pubsub: PubSub,
    /// Where Google's credentials come from.
    pub google: Google,
    /// How to verify pushes. `None` on Cloud Run, which verifies them itself.
    pub push_auth: Option<PushAuth>,
    /// How many messages are processed at once. Further messages wait.
    pub max_concurrent_messages: usize,
    /// Timeouts, retries and lifetimes.
    pub timing: Timing,
    /// The format and filter of log lines.
    pub log: Log,
    /// Values that only tests set.
    pub test_hooks: TestHooks,
}

/// Values that only the tests and the simulation set. No environment variable changes them.
#[derive(Clone, Debug, Default)]
pub struct TestHooks {
    /// How long one second of Spotify's `Retry-After` lasts, so that a simulation can run faster.
    pub retry_after_second: Option<Duration>,
    /// The size above which an upload is resumable, so that small tables take that path too.
    pub max_multipart_bytes: Option<usize>,
    /// Where the keys for push tokens are, so that a test can issue its own tokens.
    pub jwks_url: Option<String>,
}

/// Which settings are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `serve`: requires a warehouse and Spotify's credentials.
    Serve,
    /// `demo`: requires nothing. The default warehouse is a SQLite file.
    Demo,
    /// Other commands: require nothing here, and report what they need themselves.
    Tool,
}

impl Config {
    /// Reads the environment. A command's `options` take precedence over the settings of the same
    /// name; `project` is the default for GOOGLE_CLOUD_PROJECT.
    pub(crate) fn from_env(
        options: &[(&str, String)],
        project: Option<String>,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let get = |name: &str| match options.iter().find(|(setting, _)| *setting == name) {
            Some((_, value)) => Some(value.clone()),
            None => env(name),
        };
        Self::read(&get, project, purpose)
    }

    /// Reads the settings that `get` returns.
    pub fn read(
        get: &dyn Fn(&str) -> Option<String>,
        project: Option<String>,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(get);
        let project = reader.project("GOOGLE_CLOUD_PROJECT").or(project);
        let config = Self {
            port: reader.number("PORT", 0..=65_535) as u16,
            warehouse: warehouse::read(&mut reader, project.as_deref(), purpose),
            naming: naming::read(&mut reader),
            mention_phrases: reader.parsed("MENTION", Phrases::parse),
            spotify: spotify::read(&mut reader, purpose),
            pubsub: pubsub::read(&mut reader, project.as_deref()),
            google: google::read(&mut reader),
            push_auth: pubsub::read_push_auth(&mut reader),
            max_concurrent_messages: reader.number("MAX_CONCURRENT_MESSAGES", 1..=1000) as usize,
            // At most 570 s: the ack deadline is at most 600 s, of which reading the request may take 10 s
            // and publishing the dead letter 20 s.
            timing: Timing::new(Duration::from_secs(
                reader.number("MESSAGE_DEADLINE_SECONDS", 10..=570),
            )),
            log: log::read(&mut reader),
            test_hooks: TestHooks::default(),
            project,
        };
        reader.finish(config)
    }

    /// Returns whether to look up the project: it is not set, and there is a metadata server.
    pub fn needs_project_lookup() -> bool {
        let reader = Reader::new(&env);
        let is_on_google_cloud = reader.is_set("K_SERVICE") || reader.is_set("GCE_METADATA_HOST");
        !reader.is_set("GOOGLE_CLOUD_PROJECT") && is_on_google_cloud
    }

    /// Returns whether OpenSSL's variables name the trusted certificates.
    pub(crate) fn sets_certificate_paths() -> bool {
        let reader = Reader::new(&env);
        reader.is_set("SSL_CERT_FILE") || reader.is_set("SSL_CERT_DIR")
    }

    /// Returns the service's name for error reports: that of the Cloud Run service, if any.
    pub(crate) fn service_name() -> String {
        Reader::new(&env).optional("K_SERVICE").unwrap_or_else(|| "spotify-bq".to_owned())
    }

    /// Returns the metadata server's address, which is needed to find the project before the
    /// settings are read.
    pub fn metadata_host() -> String {
        google::read(&mut Reader::new(&env)).metadata_host
    }
}

fn env(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
