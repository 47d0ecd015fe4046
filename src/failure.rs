//! Every failure of a message. Only [`Failure::decision`] decides whether a message is retried, dead-lettered
//! or refused.

mod advice;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::names::{ShowId, Term};
use crate::text;

/// The `Retry-After` of an overloaded service: the subscription's minimum backoff. Slots become free all
/// the time, so a longer pause would leave them unused.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(10);

/// Why a message failed. `detail` is what an upstream answered, or what is wrong with its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("the body is not a Pub/Sub push envelope: {0}")]
    NotAnEnvelope(String),
    #[error("the push has no valid token: {0}")]
    Unauthenticated(String),
    /// The token is valid, but it is another account's or for another audience.
    #[error("the push is not from this service's subscription: {0}")]
    Forbidden(String),
    #[error(
        "the push could not be verified because the token issuer's keys could not be fetched: {0}"
    )]
    KeysUnreachable(String),
    /// `detail` names the key and what is allowed.
    #[error("{detail}")]
    InvalidMessage { reason: &'static str, detail: String },
    /// The search finds no show, or the show has no episodes.
    #[error("Spotify finds {what}; the table was not changed")]
    NoResults { what: String },
    /// The show that the message names does not exist.
    #[error("Spotify has no show {0} in this market")]
    NoSuchShow(ShowId),
    #[error("the show {id}, found by the search for {:?}, does not exist", term.text())]
    ShowVanished { id: ShowId, term: Term },
    /// `wait` is the time until Spotify accepts calls; `quota` is whether the developer account's quota is used
    /// up, rather than the rate exceeded.
    #[error("Spotify accepts no calls for another {} s ({})", wait.as_secs(), if *.quota { "the developer account's quota is used up" } else { "rate limit" })]
    Throttled { wait: Duration, quota: bool },
    /// The app's owner has no Premium subscription.
    #[error("Spotify refuses the app: {0}")]
    Premium(String),
    /// Spotify refuses the client ID and secret, or they can't be read.
    #[error("no Spotify token: {0}")]
    SpotifyCredentials(String),
    /// Spotify refuses a call that it would refuse again.
    #[error("Spotify refuses {call}: {detail}")]
    SpotifyRefused { call: String, detail: String, obstacle: Obstacle },
    /// After all attempts, Spotify's response is still not as documented.
    #[error("Spotify's answer to {call} cannot be used: {detail}")]
    SpotifyUnexpected { call: String, detail: String },
    /// A call failed after all attempts. `after` is when to retry, if Spotify says so.
    #[error("Spotify failed to answer {call}: {detail}")]
    SpotifyUnavailable {
        call: String,
        /// The status of the response, if there was one.
        status: Option<u16>,
        detail: String,
        after: Option<Duration>,
    },
    /// `after` says when to retry, if the service will not read the listing before.
    #[error(
        "Spotify's answers about {what} contradict each other ({detail}); the table was not changed"
    )]
    ListingIncomplete { what: String, detail: String, after: Option<Duration> },
    /// BigQuery refuses the rows, although the table has the columns that the service writes.
    #[error("BigQuery refuses the rows for {table} as invalid: {detail}")]
    InvalidRows { table: String, detail: String },
    #[error("the table {table} does not have the columns that the service writes: {differences}")]
    ForeignColumns { table: String, differences: String },
    /// `what` is the type, as the warehouse spells it.
    #[error("{table} is not a table but has the type {what}; the service can replace only tables")]
    NotATable { table: String, what: String },
    /// BigQuery refuses the load because of the table or the project, not because of the rows.
    #[error("BigQuery refuses {what}: {detail}")]
    LoadRefused { what: String, detail: String, obstacle: Obstacle },
    #[error("BigQuery denies {what}: {detail}")]
    WarehouseDenied { what: String, detail: String, obstacle: Obstacle },
    /// A remembered denial. If `after` is `None`, the service checks the table before it reads Spotify, until
    /// the denial expires. Otherwise, only another load job could show whether the denial still holds, so no
    /// load is tried for the time `after`.
    #[error("{failure}; {} {}", if after.is_some() { "no load is tried before" } else { "the service checks the table before it reads Spotify until" }, text::rfc3339(*until))]
    RememberedDenial { failure: Arc<Failure>, until: SystemTime, after: Option<Duration> },
    #[error("the dataset {dataset} does not exist, or is in another location: {detail}")]
    DatasetMissing { dataset: String, detail: String },
    /// A request failed after all attempts. `after` is when to retry, if the warehouse says so.
    #[error("the warehouse request failed ({what}): {detail}")]
    WarehouseUnavailable { what: String, detail: String, after: Option<Duration> },
    #[error("the message fans out into {0} messages, but TRIGGER_TOPIC is not set")]
    NoTriggerTopic(usize),
    /// `topic` may also be a subscription.
    #[error("the Pub/Sub request for {topic} failed: {detail}")]
    PublishFailed { topic: String, detail: String },
    #[error(
        "{table} is loaded (job {job_id}), but its event was not published (the next delivery publishes it without another load): {why}"
    )]
    EventNotPublished { table: String, job_id: String, why: Box<Failure> },
    #[error("no Google credentials: {0}")]
    GoogleCredentials(String),
    /// `job_id` is the load job whose end the message was waiting for.
    #[error("not done within {} s: {progress}", deadline.as_secs())]
    DeadlinePassed { deadline: Duration, progress: String, job_id: Option<String> },
    /// The message was not started. The text says why.
    #[error("{0}")]
    Overloaded(String),
    #[error("the client closed the connection before the response: {progress}")]
    ClientGone { progress: String },
    #[error("the service is shutting down")]
    ShuttingDown,
}

/// What must change before a call that Spotify or BigQuery refuses can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// `SPOTIFY_SEARCH_PAGE_SIZE`.
    PageSize,
    /// `SPOTIFY_MARKET`.
    Market,
    /// What the Spotify app is allowed to do.
    App,
    /// `SPOTIFY_API_URL` or `SPOTIFY_ACCOUNTS_URL`.
    Address,
    /// The call to Spotify itself.
    Request,
    /// The table (its partitioning, its policies), or the request to BigQuery as a whole.
    Table,
    /// The project's billing.
    Billing,
    /// The encryption key of the table or dataset.
    Key,
    /// The roles of the account.
    Rights,
    /// The BigQuery API, which is not enabled in the project.
    ApiDisabled,
    /// VPC Service Controls, which block the call.
    ServiceControls,
}

/// How a message that failed is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is not a message for this service.
    BadRequest,
    /// It has no valid token.
    Unauthenticated,
    /// It has another account's token.
    Forbidden,
    /// It can never succeed, and goes to the dead-letter topic.
    DeadLetter,
    /// It may succeed later, and is redelivered; not before `after`, if that is known.
    Retry { after: Option<Duration> },
}

impl Failure {
    /// Decides how the message is answered.
    pub fn decision(&self) -> Decision {
        match self {
            Self::NotAnEnvelope(_) => Decision::BadRequest,
            Self::Unauthenticated(_) => Decision::Unauthenticated,
            Self::Forbidden(_) => Decision::Forbidden,
            Self::InvalidMessage { .. }
            | Self::NoResults { .. }
            | Self::NoSuchShow(_)
            | Self::InvalidRows { .. } => Decision::DeadLetter,
            Self::RememberedDenial { failure, after: None, .. } => failure.decision(),
            Self::RememberedDenial { after, .. } => Decision::Retry { after: *after },
            Self::Throttled { wait, .. } => Decision::Retry { after: Some(*wait) },
            Self::Overloaded(_) => Decision::Retry { after: Some(OVERLOAD_PAUSE) },
            Self::SpotifyUnavailable { after, .. }
            | Self::ListingIncomplete { after, .. }
            | Self::WarehouseUnavailable { after, .. } => Decision::Retry { after: *after },
            Self::KeysUnreachable(_)
            | Self::ShowVanished { .. }
            | Self::Premium(_)
            | Self::SpotifyCredentials(_)
            | Self::SpotifyRefused { .. }
            | Self::SpotifyUnexpected { .. }
            | Self::ForeignColumns { .. }
            | Self::NotATable { .. }
            | Self::LoadRefused { .. }
            | Self::WarehouseDenied { .. }
            | Self::DatasetMissing { .. }
            | Self::NoTriggerTopic(_)
            | Self::PublishFailed { .. }
            | Self::EventNotPublished { .. }
            | Self::GoogleCredentials(_)
            | Self::DeadlinePassed { .. }
            | Self::ClientGone { .. }
            | Self::ShuttingDown => Decision::Retry { after: None },
        }
    }

    /// Returns the `reason` in dead letters, log lines and responses.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAnEnvelope(_) => "no_envelope",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::KeysUnreachable(_) => "keys_unreachable",
            Self::InvalidMessage { reason, .. } => reason,
            Self::NoResults { .. } => "no_results",
            Self::NoSuchShow(_) => "no_such_show",
            Self::ShowVanished { .. } => "show_vanished",
            Self::Throttled { quota: false, .. } => "throttled",
            Self::Throttled { quota: true, .. } => "quota_exceeded",
            Self::Premium(_) => "premium_required",
            Self::SpotifyCredentials(_) => "spotify_credentials",
            Self::SpotifyRefused { .. } => "spotify_refused",
            Self::SpotifyUnavailable { .. } | Self::SpotifyUnexpected { .. } => {
                "spotify_unavailable"
            }
            Self::ListingIncomplete { .. } => "listing_incomplete",
            Self::InvalidRows { .. } => "invalid_rows",
            Self::ForeignColumns { .. } => "foreign_columns",
            Self::RememberedDenial { failure, .. } => failure.reason(),
            Self::NotATable { .. } => "not_a_table",
            Self::LoadRefused { .. } => "load_refused",
            Self::WarehouseDenied { .. } => "warehouse_denied",
            Self::DatasetMissing { .. } => "dataset_missing",
            Self::WarehouseUnavailable { .. } => "warehouse_unavailable",
            Self::NoTriggerTopic(_) => "no_trigger_topic",
            Self::PublishFailed { .. } => "publish_failed",
            Self::EventNotPublished { .. } => "event_not_published",
            Self::GoogleCredentials(_) => "google_credentials",
            Self::DeadlinePassed { .. } => "deadline_passed",
            Self::Overloaded(_) => "overloaded",
            Self::ClientGone { .. } => "client_gone",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
