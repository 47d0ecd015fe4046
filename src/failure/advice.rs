//! What an operator can do about each failure.

use super::{Failure, Obstacle};

/// What to do about a failure.
enum Advice {
    /// Someone must change something.
    Fix(&'static str),
    /// A retry may succeed without a change. The text says what to do if it does not.
    Retry(Option<&'static str>),
}

impl Failure {
    /// Returns the failure and what to do about it.
    pub fn explain(&self) -> String {
        format!("{self}. What to do: {}", self.advice())
    }

    /// Returns the failure and what the user of a command can do about it.
    pub fn explain_at_terminal(&self) -> String {
        format!("{self}. What to do: {}", self.advice_at_terminal())
    }

    /// Returns what the operator of the service can do.
    pub fn advice(&self) -> String {
        match self.to_do() {
            Advice::Fix(action) => action.to_owned(),
            Advice::Retry(None) => "no action is needed, the message is retried".to_owned(),
            Advice::Retry(Some(action)) => {
                format!("no action is needed, the message is retried; if this persists, {action}")
            }
        }
    }

    /// Returns what the user of a command can do. No message is redelivered for a command.
    pub fn advice_at_terminal(&self) -> String {
        if let Self::WarehouseDenied { obstacle: Obstacle::Rights, .. } = self {
            return "grant the account that runs this command roles/bigquery.metadataViewer on the dataset (for `publish --wait` also roles/bigquery.resourceViewer on the project); the service's own account needs roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project".to_owned();
        }
        match self.to_do() {
            Advice::Fix(action) => action.to_owned(),
            Advice::Retry(None) => "run the command again".to_owned(),
            Advice::Retry(Some(action)) => {
                format!("run the command again; if this persists, {action}")
            }
        }
    }

    fn to_do(&self) -> Advice {
        use Advice::{Fix, Retry};
        match self {
            Self::NotAnEnvelope(_) => Fix(
                "push through a Pub/Sub subscription without payload unwrapping, or with `spotify-bq publish --all --url URL`",
            ),
            Self::Unauthenticated(_) => Fix(
                "make the subscription push with an OIDC token whose audience is PUSH_AUDIENCE; on Cloud Run, unset PUSH_AUDIENCE and PUSH_SERVICE_ACCOUNT, because Cloud Run verifies the token itself and removes its signature",
            ),
            Self::Forbidden(_) => Fix(
                "set PUSH_SERVICE_ACCOUNT to the service account that the subscription pushes with",
            ),
            Self::KeysUnreachable(_) => Retry(Some(
                "let the service reach https://www.googleapis.com, which serves Google's keys",
            )),
            Self::InvalidMessage { .. } => Fix("correct the message and publish it again"),
            Self::NoResults { .. } => Fix(
                "check the search term or show_id, and SPOTIFY_MARKET; to choose another show, set show_id in the message",
            ),
            Self::NoSuchShow(_) => {
                Fix("check show_id (the 22 characters in the show's link) and SPOTIFY_MARKET")
            }
            Self::ShowVanished { .. } | Self::ShuttingDown => Retry(None),
            Self::Throttled { quota: false, .. } => {
                Retry(Some("lower SPOTIFY_CONCURRENT_CALLS or spread the schedules"))
            }
            Self::Throttled { quota: true, .. } => Fix(
                "wait until Spotify renews the quota; all apps of the developer account share it",
            ),
            Self::Premium(_) => Fix(
                "renew the Premium subscription of the app's owner; Spotify takes some hours to recognize it",
            ),
            Self::SpotifyCredentials(_) => Fix(
                "provide the current client ID and secret of an app at developer.spotify.com: on Google Cloud with deploy/set-credentials.sh (no restart is needed), elsewhere in SPOTIFY_CREDENTIALS_FILE or SPOTIFY_CREDENTIALS",
            ),
            Self::SpotifyRefused { obstacle, .. }
            | Self::LoadRefused { obstacle, .. }
            | Self::WarehouseDenied { obstacle, .. } => Fix(obstacle.advice()),
            Self::SpotifyUnexpected { .. } => Retry(Some(
                "check SPOTIFY_API_URL and SPOTIFY_ACCOUNTS_URL, then report this response as a bug in spotify-bq",
            )),
            Self::SpotifyUnavailable { .. } => {
                Retry(Some("check whether Spotify is down or SPOTIFY_API_URL is wrong"))
            }
            Self::ListingIncomplete { .. } => Retry(Some(
                "compare the listing with Spotify; to load it as Spotify shows it, publish the message with max_missing_percent, the percentage of items that may be missing",
            )),
            Self::InvalidRows { .. } => Fix(
                "report this, with the job's ID, as a bug in spotify-bq: it writes both the rows and the schema",
            ),
            Self::ForeignColumns { .. } => Fix(
                "convert the table, or rename or drop it so that the service creates it (docs/from-the-notebook.md has the SQL), or set another name in PODCASTS_TABLE, EPISODES_TABLE or MENTIONS_TABLE",
            ),
            Self::RememberedDenial { failure, .. } => failure.to_do(),
            Self::NotATable { .. } => Fix(
                "drop the view or other resource (to keep it, create it under another name first) so that the service creates a table, or set another name in PODCASTS_TABLE, EPISODES_TABLE or MENTIONS_TABLE",
            ),
            Self::DatasetMissing { .. } => Fix(
                "create the dataset (`terraform apply` does), or set BIGQUERY_DATASET to an existing one (IDs are case-sensitive); if it exists, unset BIGQUERY_LOCATION or set it to the dataset's location",
            ),
            Self::WarehouseUnavailable { .. } => Retry(Some(
                "look at status.cloud.google.com and, if the error names a load job, at that job in BigQuery",
            )),
            Self::NoTriggerTopic(_) => {
                Fix("set TRIGGER_TOPIC, or publish one message for each table and term")
            }
            Self::PublishFailed { .. } => Retry(Some(
                "check that the topic or subscription exists, and that the account in use has roles/pubsub.publisher on the topic or roles/pubsub.subscriber on the subscription; `terraform apply` grants the service's roles",
            )),
            Self::EventNotPublished { .. } => Retry(Some(
                "check that the topic in LOADED_TOPIC exists and that the service's account has roles/pubsub.publisher on it (`terraform apply` with `loaded_topic = true` does both)",
            )),
            Self::GoogleCredentials(_) => Fix(
                "on Google Cloud, give the service a service account; elsewhere, run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file (docs/google-credentials.md)",
            ),
            Self::DeadlinePassed { job_id: Some(_), .. } => Retry(Some(
                "look at status.cloud.google.com and at the project's load jobs, or cancel the job with `bq cancel`, so that the service sends another",
            )),
            Self::DeadlinePassed { job_id: None, .. } => Retry(Some(
                "raise SPOTIFY_CONCURRENT_CALLS if the show is very large, publish fewer messages at once, or look at status.cloud.google.com if BigQuery was slow",
            )),
            Self::Overloaded(_) => Retry(Some(
                "spread the schedules, raise MAX_CONCURRENT_MESSAGES if Spotify's quota and the memory allow it, or look at status.cloud.google.com if BigQuery was slow",
            )),
            Self::ClientGone { .. } => Retry(Some(
                "make the subscription's ack deadline longer than MESSAGE_DEADLINE_SECONDS",
            )),
        }
    }
}

impl Obstacle {
    fn advice(self) -> &'static str {
        match self {
            Self::PageSize => {
                "set SPOTIFY_SEARCH_PAGE_SIZE to 10, the maximum for an app in Development Mode"
            }
            Self::Market => "set SPOTIFY_MARKET to a country where Spotify is available",
            Self::App => {
                "check the app at developer.spotify.com: Spotify may have restricted it, or its mode may not allow this call; if the app is in order, set SPOTIFY_MARKET to a country where Spotify is available"
            }
            Self::Address => {
                "check SPOTIFY_API_URL and SPOTIFY_ACCOUNTS_URL; the service follows no redirects"
            }
            Self::Request => {
                "report this response as a bug in spotify-bq: neither a message nor a setting causes it"
            }
            Self::Table => {
                "fix what BigQuery's error names; if that is the table itself, copy it and drop it (the service creates it again), or set another name in PODCASTS_TABLE, EPISODES_TABLE or MENTIONS_TABLE"
            }
            Self::Billing => {
                "link an active billing account to the project at https://console.cloud.google.com/billing"
            }
            Self::Key => {
                "enable the Cloud KMS key that BigQuery's error names, and grant BigQuery's service agent roles/cloudkms.cryptoKeyEncrypterDecrypter on it"
            }
            Self::ApiDisabled => {
                "run `gcloud services enable bigquery.googleapis.com` for the project and wait a few minutes; `terraform apply` enables it, too"
            }
            Self::ServiceControls => {
                "ask the organization's administrator to admit the service's account to the VPC Service Controls perimeter; BigQuery's error contains the violation's unique identifier"
            }
            Self::Rights => {
                "grant the service's account roles/bigquery.dataEditor on the dataset and roles/bigquery.jobUser on the project; `terraform apply` grants both"
            }
        }
    }
}
