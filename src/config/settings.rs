//! The list of settings, for defaults, `--help` and the documentation.

/// An environment variable that configures the service.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    /// The value if the variable is not set. Empty means none.
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning }
}

pub const SETTINGS: &[Setting] = &[
    setting("PORT", "8080", "port to listen on"),
    setting(
        "GOOGLE_CLOUD_PROJECT",
        "",
        "project of dataset, jobs and topics; found by itself on Google Cloud",
    ),
    setting("BIGQUERY_DATASET", "spotify_podcasts", "dataset of the tables"),
    setting("BIGQUERY_LOCATION", "", "the dataset's location; BigQuery is asked when unset"),
    setting("WAREHOUSE", "", "`bigquery` (meant when a project is known) or `sqlite:FILE`"),
    setting(
        "PODCASTS_TABLE",
        "tb_datahackers_limitada",
        "the configured term's table of podcasts; with another SEARCH_TERM `podcasts_<slug>` by default",
    ),
    setting(
        "EPISODES_TABLE",
        "tb_datahackers_episodios_total",
        "the configured term's table of episodes; with another SEARCH_TERM `episodes_<slug>` by default",
    ),
    setting(
        "MENTIONS_TABLE",
        "tb_datahackers_episodios_boticario",
        "the configured term's table of mentions; with another SEARCH_TERM `mentions_<slug>` by default",
    ),
    setting(
        "SPOTIFY_CREDENTIALS_FILE",
        "",
        "file with `{\"client_id\",\"client_secret\"}`, read anew for every token",
    ),
    setting("SPOTIFY_CREDENTIALS", "", "that JSON itself, where there is no file"),
    setting("SPOTIFY_API_URL", "https://api.spotify.com", "where Spotify's Web API is"),
    setting(
        "SPOTIFY_ACCOUNTS_URL",
        "https://accounts.spotify.com",
        "where Spotify's tokens come from",
    ),
    setting("SPOTIFY_MARKET", "BR", "market whose catalogue is read, two capital letters"),
    setting(
        "SPOTIFY_SEARCH_PAGE_SIZE",
        "10",
        "items of a search page: at most 10 in Development Mode, 50 in Extended Quota Mode",
    ),
    setting("SPOTIFY_CONCURRENT_CALLS", "8", "calls to Spotify at once, all messages together"),
    setting("MAX_CONCURRENT_MESSAGES", "8", "messages at work at once; more wait their turn"),
    setting("SEARCH_TERM", "data hackers", "the term of a message that names none"),
    setting(
        "MENTION",
        "Grupo Boticário",
        "phrases, separated by vertical bars: an episode that has one of them in its name or description is a \
         mention; at most 20 phrases of 100 characters",
    ),
    setting(
        "TRIGGER_TOPIC",
        "",
        "topic that fan-outs, `publish` and `redrive` publish to; a full name or an id",
    ),
    setting(
        "DEAD_LETTER_TOPIC",
        "",
        "topic of messages that can never succeed; without it they are answered 400",
    ),
    setting("DEAD_LETTER_SUBSCRIPTION", "", "subscription that `redrive` pulls from"),
    setting(
        "LOADED_TOPIC",
        "",
        "topic that gets an event after each load; not TRIGGER_TOPIC or DEAD_LETTER_TOPIC",
    ),
    setting(
        "PUSH_AUDIENCE",
        "",
        "audience of the pushes' tokens, where the platform does not check them (unset on Cloud Run)",
    ),
    setting("PUSH_SERVICE_ACCOUNT", "", "account of the pushes' tokens; goes with PUSH_AUDIENCE"),
    setting(
        "MESSAGE_DEADLINE_SECONDS",
        "540",
        "time for one message; must end before the ack deadline",
    ),
    setting("LOG_FORMAT", "", "`json` or `text`; `json` on Cloud Run, else `text`"),
    setting("RUST_LOG", "info", "what is logged, in tracing's filter language"),
    setting("BIGQUERY_EMULATOR_HOST", "", "URL of a BigQuery emulator"),
    setting("PUBSUB_EMULATOR_HOST", "", "host:port of a Pub/Sub emulator"),
];

/// The settings with the names of the configured term's tables, in the order of the kinds.
pub const TABLE_SETTINGS: [&str; 3] = ["PODCASTS_TABLE", "EPISODES_TABLE", "MENTIONS_TABLE"];

/// Returns the default of a setting. Empty means none.
pub fn default(name: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default)
}

impl Setting {
    /// Returns the setting as a row of the table in the documentation.
    pub fn row(&self) -> String {
        let default = if self.default.is_empty() { "" } else { &format!("`{}`", self.default) };
        format!("| `{}` | {default} | {} |", self.name, self.meaning)
    }
}

/// Variables that the platform sets, and Google's own. The documentation does not list them as settings.
pub(super) const PLATFORM: &[Setting] = &[
    setting("K_SERVICE", "", "set by Cloud Run"),
    setting("GOOGLE_APPLICATION_CREDENTIALS", "", "file with Google credentials"),
    setting("GCE_METADATA_HOST", "metadata.google.internal", "where the metadata server is"),
    setting("HOME", "", "where gcloud keeps its credentials"),
];
