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
    setting(
        "PORT",
        "8080",
        "port that the service listens on; 0 means any free port, which the log names",
    ),
    setting(
        "GOOGLE_CLOUD_PROJECT",
        "",
        "project of the dataset, load jobs and topics; detected on Google Cloud",
    ),
    setting("BIGQUERY_DATASET", "spotify_podcasts", "dataset that contains the tables"),
    setting(
        "BIGQUERY_LOCATION",
        "",
        "location of the dataset; if unset, the service asks BigQuery",
    ),
    setting("WAREHOUSE", "", "`bigquery` (the default if a project is known) or `sqlite:FILE`"),
    setting(
        "PODCASTS_TABLE",
        "tb_datahackers_limitada",
        "podcasts table of SEARCH_TERM; for any other SEARCH_TERM, the default is `podcasts_<slug>`",
    ),
    setting(
        "EPISODES_TABLE",
        "tb_datahackers_episodios_total",
        "episodes table of SEARCH_TERM; for any other SEARCH_TERM, the default is `episodes_<slug>`",
    ),
    setting(
        "MENTIONS_TABLE",
        "tb_datahackers_episodios_boticario",
        "mentions table of SEARCH_TERM; for any other SEARCH_TERM, the default is `mentions_<slug>`",
    ),
    setting(
        "SPOTIFY_CREDENTIALS_FILE",
        "",
        "JSON file with the `client_id` and `client_secret` of a Spotify app; read again for each token",
    ),
    setting("SPOTIFY_CREDENTIALS", "", "the same JSON as a value, if there is no file"),
    setting("SPOTIFY_API_URL", "https://api.spotify.com", "base URL of Spotify's Web API"),
    setting(
        "SPOTIFY_ACCOUNTS_URL",
        "https://accounts.spotify.com",
        "base URL of Spotify's token service",
    ),
    setting("SPOTIFY_MARKET", "BR", "country whose Spotify catalog is read, two capital letters"),
    setting(
        "SPOTIFY_SEARCH_PAGE_SIZE",
        "10",
        "results per search page: at most 10 in Development Mode, 50 in Extended Quota Mode",
    ),
    setting(
        "SPOTIFY_CONCURRENT_CALLS",
        "8",
        "maximum number of concurrent calls to Spotify, for all messages together",
    ),
    setting(
        "MAX_CONCURRENT_MESSAGES",
        "8",
        "maximum number of messages that are processed concurrently; the others wait",
    ),
    setting("SEARCH_TERM", "data hackers", "search term of messages that name none"),
    setting(
        "MENTION",
        "Grupo Boticário",
        "phrases separated by vertical bars; an episode is a mention if its name or description contains one of \
         them. At most 20 phrases of up to 100 characters",
    ),
    setting(
        "TRIGGER_TOPIC",
        "",
        "trigger topic, to which fan-outs, `publish` and `redrive` publish; a full name or an ID",
    ),
    setting(
        "DEAD_LETTER_TOPIC",
        "",
        "topic for messages that fail permanently; without it, they are answered 400",
    ),
    setting("DEAD_LETTER_SUBSCRIPTION", "", "subscription from which `redrive` pulls dead letters"),
    setting(
        "LOADED_TOPIC",
        "",
        "topic for an event after each load; must differ from TRIGGER_TOPIC and DEAD_LETTER_TOPIC",
    ),
    setting(
        "PUSH_AUDIENCE",
        "",
        "expected audience of push tokens, if the platform does not verify them; leave unset on Cloud Run",
    ),
    setting(
        "PUSH_SERVICE_ACCOUNT",
        "",
        "expected service account of push tokens; set it together with PUSH_AUDIENCE",
    ),
    setting(
        "MESSAGE_DEADLINE_SECONDS",
        "540",
        "time limit for one message; must be shorter than the ack deadline of the subscription",
    ),
    setting(
        "LOG_FORMAT",
        "",
        "`json` or `text`; the default is `json` on Cloud Run and `text` elsewhere",
    ),
    setting("RUST_LOG", "info", "log filter, in the syntax of Rust's tracing"),
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
