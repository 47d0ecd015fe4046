//! Every failure, and what becomes of its message. A variant is a decision: whether the message is
//! retried, refused for good or handed back is said in [`Failure::decision`] and nowhere else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::names::{ShowId, Term};
use crate::text;

/// The shortest pause before an overloaded service gets a message again: the subscription's minimum
/// backoff. Places become free all the time, so a longer pause would only leave them unused.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(10);

/// Why a message was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The request is not a Pub/Sub push.
    #[error("the body is no Pub/Sub push envelope: {0}")]
    NotAnEnvelope(String),
    /// The request brings no token that shows who sent it.
    #[error("the push brings no valid token: {0}")]
    Unauthenticated(String),
    /// The request's token is valid, but not one of our subscription's.
    #[error("the push comes from somebody else: {0}")]
    Forbidden(String),
    /// The keys that tokens are verified with could not be had.
    #[error("the push could not be verified, the keys of the token's issuer are out of reach: {0}")]
    KeysUnreachable(String),
    /// The message does not say what to do.
    #[error("{detail}")]
    Refused {
        /// A word for machines.
        reason: &'static str,
        /// The key, and what is allowed.
        detail: String,
    },
    /// The search finds nothing, or the show has no episodes.
    #[error("Spotify finds {what}; the table is left as it was")]
    NoResults {
        /// What was not found.
        what: String,
    },
    /// Spotify does not know the show that the message names.
    #[error("Spotify has no show {0} in this market")]
    NoSuchShow(ShowId),
    /// The show that the search found answered that it does not exist.
    #[error("the show {id} that the search for {:?} found does not exist (any more)", term.text())]
    ShowVanished {
        /// The show.
        id: ShowId,
        /// The term it was found by.
        term: Term,
    },
    /// Spotify wants no calls for a while.
    #[error("Spotify wants no calls for another {} s ({})", wait.as_secs(), if *.quota { "the quota of the developer account is used up" } else { "rate limit" })]
    Throttled {
        /// What is left of the while.
        wait: Duration,
        /// Whether the quota is used up, rather than the rate exceeded.
        quota: bool,
    },
    /// Spotify refuses the app because its owner has no Premium subscription.
    #[error("Spotify refuses the app: {0}")]
    Premium(String),
    /// Spotify refuses the client id and secret, or they can't be read.
    #[error("no Spotify token: {0}")]
    SpotifyCredentials(String),
    /// Spotify refuses a call that would be refused again.
    #[error("Spotify refuses {call}: {detail}")]
    SpotifyRefused {
        /// The call.
        call: String,
        /// Its answer.
        detail: String,
        /// What it is about.
        subject: Subject,
    },
    /// Spotify answers, but not as documented, after all attempts.
    #[error("Spotify's answer to {call} cannot be used: {detail}")]
    SpotifyOdd {
        /// The call.
        call: String,
        /// What is wrong, with Spotify's words.
        detail: String,
    },
    /// Spotify does not answer after all attempts.
    #[error("Spotify fails at {call}: {detail}")]
    SpotifyUnavailable {
        /// The call.
        call: String,
        /// What happened last.
        detail: String,
        /// When trying again makes sense, where known.
        after: Option<Duration>,
    },
    /// What Spotify shows of a listing contradicts itself.
    #[error(
        "Spotify's answers about {what} contradict each other ({detail}); the table is left as it was"
    )]
    ListingIncomplete {
        /// The listing.
        what: String,
        /// Which evidence contradicts which.
        detail: String,
        /// When it will be read again.
        after: Option<Duration>,
    },
    /// BigQuery finds the rows invalid for a table that has our columns.
    #[error("BigQuery finds the rows for {table} invalid: {detail}")]
    InvalidRows {
        /// The table.
        table: String,
        /// The job's error.
        detail: String,
    },
    /// The table in the warehouse has other columns than ours.
    #[error("the table {table} has other columns than this service writes: {differences}")]
    ForeignColumns {
        /// The table.
        table: String,
        /// Column by column, what differs.
        differences: String,
    },
    /// The table's name is taken by something that is not a table.
    #[error(
        "{table} is not a table but of the type {what}; the service replaces the rows of tables only"
    )]
    NotATable {
        /// The name.
        table: String,
        /// Its type, as the warehouse spells it.
        what: String,
    },
    /// BigQuery refuses the load because of the table or the project, not because of the rows.
    #[error("BigQuery refuses {what}: {detail}")]
    LoadRefused {
        /// What was asked.
        what: String,
        /// The answer.
        detail: String,
        /// What has to be changed.
        obstacle: Obstacle,
    },
    /// BigQuery does not let us.
    #[error("BigQuery denies {what}: {detail}")]
    WarehouseDenied {
        /// What was asked.
        what: String,
        /// The answer.
        detail: String,
        /// Why.
        denial: Denial,
    },
    /// A denial that is remembered for a while. Meanwhile BigQuery is asked before Spotify, or, if only
    /// a load job could be denied, no load is tried.
    #[error("{failure}; {} {}", if after.is_some() { "no load is tried before" } else { "BigQuery is asked before Spotify until" }, text::rfc3339(*until))]
    Denied {
        /// What was denied.
        failure: Arc<Failure>,
        /// When the denial is forgotten.
        until: SystemTime,
        /// For how long no load is tried, if only a load job could be denied.
        after: Option<Duration>,
    },
    /// BigQuery does not find the dataset.
    #[error("the dataset {dataset} does not exist, or is in another location: {detail}")]
    DatasetMissing {
        /// Project and dataset.
        dataset: String,
        /// The answer.
        detail: String,
    },
    /// The warehouse does not answer, or failed in passing, after all attempts.
    #[error("the warehouse fails at {what}: {detail}")]
    WarehouseUnavailable {
        /// What was asked.
        what: String,
        /// What happened last.
        detail: String,
        /// When trying again makes sense, where known.
        after: Option<Duration>,
    },
    /// A fan-out, and no topic to publish it to.
    #[error("this message means {0} messages, and there is no topic to publish them to")]
    NoTriggerTopic(usize),
    /// Pub/Sub did not take what we publish, or did not give what we ask for.
    #[error("Pub/Sub fails at {topic}: {detail}")]
    PublishFailed {
        /// The topic or subscription.
        topic: String,
        /// What happened.
        detail: String,
    },
    /// The table is loaded, and the event that says so could not be published.
    #[error("{table} is loaded (job {job_id}), but its event was not published: {why}")]
    EventNotPublished {
        /// The table.
        table: String,
        /// The load job.
        job_id: String,
        /// Why it was not published.
        why: Box<Failure>,
    },
    /// No token for Google's services.
    #[error("no Google credentials: {0}")]
    GoogleCredentials(String),
    /// The message's time is up.
    #[error("not done within {} s: {progress}", deadline.as_secs())]
    DeadlinePassed {
        /// The time that a message has.
        deadline: Duration,
        /// How far it came.
        progress: String,
        /// The load job that had not ended, if the message waited for one.
        job_id: Option<String>,
    },
    /// There is more to do than can be done in time. The text says for what the message waited.
    #[error("{0}")]
    Overloaded(String),
    /// Whoever pushed the message closed the connection before the answer.
    #[error("the client closed the connection before the answer: {progress}")]
    ClientGone {
        /// How far it came.
        progress: String,
    },
    /// The process ends.
    #[error("the service is shutting down")]
    ShuttingDown,
}

/// Why BigQuery refuses a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The table (its partitioning, its policies), or the request as a whole.
    Table,
    /// The project's billing.
    Billing,
    /// The encryption key of the table or dataset.
    Key,
}

/// Why BigQuery denies a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The service's account lacks a role.
    Rights,
    /// The project's BigQuery API is off.
    ApiDisabled,
    /// VPC Service Controls block the call.
    ServiceControls,
}

/// What must change before Spotify stops refusing a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The number of items on a page.
    PageSize,
    /// The market.
    Market,
    /// The rights of the app.
    App,
    /// The address that is called.
    Address,
    /// The call itself.
    Request,
}

/// What Pub/Sub is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Handed back as what it is: no message of ours.
    BadRequest,
    /// Handed back: no token.
    Unauthenticated,
    /// Handed back: somebody else's token.
    Forbidden,
    /// It can never succeed: to the dead-letter topic, with the reason.
    DeadLetter,
    /// It may succeed later: redelivered, not before `after` where that is known.
    Retry {
        /// When trying again makes sense.
        after: Option<Duration>,
    },
}

impl Failure {
    /// What becomes of the message.
    pub fn decision(&self) -> Decision {
        match self {
            Self::NotAnEnvelope(_) => Decision::BadRequest,
            Self::Unauthenticated(_) => Decision::Unauthenticated,
            Self::Forbidden(_) => Decision::Forbidden,
            Self::Refused { .. }
            | Self::NoResults { .. }
            | Self::NoSuchShow(_)
            | Self::InvalidRows { .. } => Decision::DeadLetter,
            Self::Denied { failure, after: None, .. } => failure.decision(),
            Self::Denied { after, .. } => Decision::Retry { after: *after },
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
            | Self::SpotifyOdd { .. }
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

    /// A word for machines: the `reason` of a dead letter and of the outcome line.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAnEnvelope(_) => "no_envelope",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::KeysUnreachable(_) => "keys_unreachable",
            Self::Refused { reason, .. } => reason,
            Self::NoResults { .. } => "no_results",
            Self::NoSuchShow(_) => "no_such_show",
            Self::ShowVanished { .. } => "show_vanished",
            Self::Throttled { quota: false, .. } => "throttled",
            Self::Throttled { quota: true, .. } => "quota_exceeded",
            Self::Premium(_) => "premium_required",
            Self::SpotifyCredentials(_) => "spotify_credentials",
            Self::SpotifyRefused { .. } => "spotify_refused",
            Self::SpotifyUnavailable { .. } | Self::SpotifyOdd { .. } => "spotify_unavailable",
            Self::ListingIncomplete { .. } => "listing_incomplete",
            Self::InvalidRows { .. } => "invalid_rows",
            Self::ForeignColumns { .. } => "foreign_columns",
            Self::Denied { failure, .. } => failure.reason(),
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

    /// What happened and what to do, in one sentence each: for those who see no log.
    pub fn explained(&self) -> String {
        format!("{self}. What to do: {}", self.advice())
    }

    /// The same for those who ran a command: nothing is delivered again for them.
    pub fn explained_at_terminal(&self) -> String {
        format!("{self}. What to do: {}", self.advice_at_terminal())
    }

    /// What the person can do whose command met the failure.
    pub fn advice_at_terminal(&self) -> String {
        if let Self::WarehouseDenied { denial: Denial::Rights, .. } = self {
            return "give the account that runs this command roles/bigquery.metadataViewer on the dataset (for `publish --wait` also roles/bigquery.resourceViewer on the project); the service's own account needs roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project".to_owned();
        }
        // What is said of the message after a semicolon or full stop is for the service's log.
        let advice = self.advice();
        let end = ["; the message", ". Until then the message", " (the next delivery"];
        let end = end.iter().filter_map(|words| advice.find(words)).min();
        let advice = &advice[..end.unwrap_or(advice.len())];
        match advice.strip_prefix("nothing") {
            None => advice.to_owned(),
            Some(rest) => match rest.split_once("; ") {
                Some((_, otherwise)) => format!("run the command again; {otherwise}"),
                None => "run the command again".to_owned(),
            },
        }
    }

    /// What the operator can do. Where nothing is to be done, it says that.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NotAnEnvelope(_) => {
                "push through a Pub/Sub subscription without payload unwrapping, or with `spotify-bq publish --all --url URL`"
            }
            Self::Unauthenticated(_) => {
                "the subscription must push with an OIDC token whose audience is PUSH_AUDIENCE; on Cloud Run unset PUSH_AUDIENCE and PUSH_SERVICE_ACCOUNT, the platform checks the token and takes its signature off"
            }
            Self::Forbidden(_) => {
                "set PUSH_SERVICE_ACCOUNT to the account that the subscription pushes with"
            }
            Self::KeysUnreachable(_) => {
                "nothing, if it passes; else let the service reach https://www.googleapis.com, where Google's keys are"
            }
            Self::Refused { .. } => "correct the message and publish it anew",
            Self::NoResults { .. } => {
                "check the term's spelling and SPOTIFY_MARKET, or name the show with show_id"
            }
            Self::NoSuchShow(_) => {
                "check show_id (the 22 characters in the show's link) and SPOTIFY_MARKET"
            }
            Self::ShowVanished { .. } => "nothing, the next delivery searches anew",
            Self::Throttled { quota: false, .. } => {
                "nothing, the message comes again; if it lasts, lower SPOTIFY_CONCURRENT_CALLS or spread the schedules"
            }
            Self::Throttled { quota: true, .. } => {
                "wait until the quota is granted anew; it counts for all apps of the developer account"
            }
            Self::Premium(_) => {
                "renew the Premium subscription of the app's owner; Spotify takes some hours to notice"
            }
            Self::SpotifyCredentials(_) => {
                "give it a current client id and secret of an app at developer.spotify.com: on Google Cloud with deploy/set-credentials.sh (no restart is needed), elsewhere in SPOTIFY_CREDENTIALS_FILE or SPOTIFY_CREDENTIALS"
            }
            Self::SpotifyRefused { subject, .. } => match subject {
                Subject::PageSize => {
                    "set SPOTIFY_SEARCH_PAGE_SIZE to 10, the most that an app in Development Mode may ask for"
                }
                Subject::Market => "set SPOTIFY_MARKET to a country where Spotify is available",
                Subject::App => {
                    "check the app at developer.spotify.com: Spotify may have restricted it, or its mode may not allow this call; if the app is in order, set SPOTIFY_MARKET to a country where Spotify is available"
                }
                Subject::Address => {
                    "check SPOTIFY_API_URL and SPOTIFY_ACCOUNTS_URL; the service follows no redirect"
                }
                Subject::Request => {
                    "report the answer as a defect of spotify-bq: no message and no setting causes it"
                }
            },
            Self::SpotifyOdd { .. } => {
                "nothing, the message is retried; if it lasts, check SPOTIFY_API_URL and SPOTIFY_ACCOUNTS_URL, then report the answer as a defect of spotify-bq"
            }
            Self::SpotifyUnavailable { .. } => {
                "nothing, the message comes again; if it lasts, see whether Spotify is down or SPOTIFY_API_URL is wrong"
            }
            Self::ListingIncomplete { .. } => {
                "nothing at first, the message is retried; if it lasts, compare with Spotify, and publish the message with max_missing_percent (the share of items that may be missing) to load the listing as Spotify shows it"
            }
            Self::InvalidRows { .. } => {
                "report it, with the job's id, as a defect of spotify-bq: rows and schema are both its own"
            }
            Self::ForeignColumns { .. } => {
                "convert, rename or drop the table (it is made anew; docs/from-the-notebook.md has the SQL), or set another name in PODCASTS_TABLE, EPISODES_TABLE or MENTIONS_TABLE"
            }
            Self::Denied { failure, .. } => failure.advice(),
            Self::NotATable { .. } => {
                "rename or drop what has this name (the service then creates the table), or set another name in PODCASTS_TABLE, EPISODES_TABLE or MENTIONS_TABLE"
            }
            Self::LoadRefused { obstacle: Obstacle::Table, .. } => {
                "change what BigQuery's words name; if that is the table itself, copy it and drop it (the service creates it again), or set another name in PODCASTS_TABLE, EPISODES_TABLE or MENTIONS_TABLE. Until then the message is retried, and the table keeps its rows"
            }
            Self::LoadRefused { obstacle: Obstacle::Billing, .. } => {
                "link an active billing account to the project at https://console.cloud.google.com/billing; the message is retried until then"
            }
            Self::LoadRefused { obstacle: Obstacle::Key, .. } => {
                "enable the Cloud KMS key that BigQuery's words name, and give BigQuery's service agent roles/cloudkms.cryptoKeyEncrypterDecrypter on it; the message is retried until then"
            }
            Self::WarehouseDenied { denial: Denial::ApiDisabled, .. } => {
                "run `gcloud services enable bigquery.googleapis.com` for the project, and wait a few minutes; `terraform apply` enables it, too"
            }
            Self::WarehouseDenied { denial: Denial::ServiceControls, .. } => {
                "ask the organization's administrator to let the service's account into the VPC Service Controls perimeter; the violation's unique identifier is in BigQuery's words"
            }
            Self::WarehouseDenied { denial: Denial::Rights, .. } => {
                "give the service's account roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project; `terraform apply` does"
            }
            Self::DatasetMissing { .. } => {
                "make the dataset (`terraform apply` does), or set BIGQUERY_DATASET to one that exists (ids are case-sensitive); if it does exist, unset BIGQUERY_LOCATION or set it to the dataset's own"
            }
            Self::WarehouseUnavailable { .. } => {
                "nothing, the message comes again; if it lasts, look at the load job in BigQuery and at status.cloud.google.com"
            }
            Self::NoTriggerTopic(_) => {
                "set TRIGGER_TOPIC, or publish one message for each table and term"
            }
            Self::PublishFailed { .. } => {
                "check that it exists, and that who asks has roles/pubsub.publisher on a topic, roles/pubsub.subscriber on a subscription; `terraform apply` gives the service its own"
            }
            Self::EventNotPublished { .. } => {
                "nothing, the message is retried, and the next delivery publishes the event without another load; if it lasts, check that the topic in LOADED_TOPIC exists and that the service's account has roles/pubsub.publisher on it (`terraform apply` with `loaded_topic = true` does both)"
            }
            Self::GoogleCredentials(_) => {
                "on Google Cloud give the service an account; elsewhere run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file (docs/google-credentials.md)"
            }
            Self::DeadlinePassed { job_id: Some(_), .. } => {
                "nothing, the load job goes on without this message, and the next delivery looks for its end; if it stays PENDING for hours, see status.cloud.google.com and the project's load jobs, or cancel it with `bq cancel` (the next delivery then sends another)"
            }
            Self::DeadlinePassed { job_id: None, .. } => {
                "nothing, if it was a slow hour; else raise SPOTIFY_CONCURRENT_CALLS for a show that is too large, or publish fewer messages at once if this one waited"
            }
            Self::Overloaded(_) => {
                "nothing, the message is retried; if it lasts, spread the schedules, or raise MAX_CONCURRENT_MESSAGES if Spotify's quota and the memory allow it"
            }
            Self::ClientGone { .. } => {
                "nothing, Pub/Sub delivers the message again; if it happens often, the subscription's ack deadline is shorter than MESSAGE_DEADLINE_SECONDS"
            }
            Self::ShuttingDown => "nothing, the message comes again",
        }
    }
}
