//! A client for one dataset: its name, its location, and how errors of calls about it become failures.
//! `table`, `jobs`, `upload` and `list` add the calls.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::api::Api;
use super::error::ApiError;
use super::error_text;
use crate::config::{self, Config, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;

/// Uploads with more bytes of rows are resumable. Google's Python client uses the same limit.
const MAX_MULTIPART_BYTES: usize = 5 * 1024 * 1024;

pub(crate) struct Dataset {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) api: Api,
    pub(super) timing: Timing,
    pub(super) max_multipart_bytes: usize,
    pub(super) configured_location: Option<String>,
    location: Mutex<Location>,
}

/// What is known of the dataset's location.
#[derive(Default)]
enum Location {
    #[default]
    Unknown,
    /// `None` if BigQuery names no location, as emulators do.
    Known(Option<String>),
    /// The call for it failed at this time.
    Failed(Instant, Failure),
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dataset").field(&self.id()).finish()
    }
}

impl Dataset {
    pub(super) fn new(
        bigquery: &config::BigQuery,
        config: &Config,
        google: &Arc<GoogleCredentials>,
    ) -> Result<Self, String> {
        Ok(Self {
            project: bigquery.project.clone(),
            name: bigquery.dataset.clone(),
            api: Api::new(bigquery, &config.timing, google)?,
            timing: config.timing.clone(),
            max_multipart_bytes: config
                .test_hooks
                .max_multipart_bytes
                .unwrap_or(MAX_MULTIPART_BYTES),
            configured_location: bigquery.location.clone(),
            location: Mutex::default(),
        })
    }

    /// Returns `project.dataset`.
    pub(crate) fn id(&self) -> String {
        format!("{}.{}", self.project, self.name)
    }

    /// Returns the URL of a resource of the project.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        self.api.url(&[&["bigquery", "v2", "projects", &self.project], path].concat())
    }

    /// Returns the location of the dataset and its jobs, which calls about a job must name. Concurrent
    /// callers share one call, and its failure. Returns `None` if BigQuery names none.
    pub(super) async fn location(&self) -> Result<Option<String>, Failure> {
        if self.configured_location.is_some() {
            return Ok(self.configured_location.clone());
        }
        let called_at = Instant::now();
        let mut location = self.location.lock().await;
        match &*location {
            Location::Known(known) => return Ok(known.clone()),
            Location::Failed(at, failure) if *at >= called_at => return Err(failure.clone()),
            Location::Unknown | Location::Failed(..) => {}
        }
        let fetched = self.fetch_location().await;
        *location = match &fetched {
            Ok(known) => Location::Known(known.clone()),
            Err(failure) => Location::Failed(Instant::now(), failure.clone()),
        };
        fetched
    }

    /// Asks BigQuery for the location, even if it is configured or already known.
    pub(crate) async fn fetch_location(&self) -> Result<Option<String>, Failure> {
        match self.api.get(&self.url(&["datasets", &self.name])).await {
            Ok(dataset) => Ok(dataset.get("location").and_then(Value::as_str).map(str::to_owned)),
            Err(error) => Err(self.failure(error, &format!("datasets.get for {}", self.id()))),
        }
    }

    pub(super) fn forget_location(&self) {
        // If the lock is taken, a call for the location is in progress.
        if let Ok(mut location) = self.location.try_lock() {
            *location = Location::Unknown;
        }
    }

    /// Returns the failure of a call. If the dataset may have been recreated in another location, forgets
    /// the location.
    pub(super) fn failure(&self, error: ApiError, call: &str) -> Failure {
        let may_have_moved = match &error {
            ApiError::NotFound(_) => true,
            ApiError::Rejected { detail, .. } => error_text::is_about_location(detail),
            _ => false,
        };
        if may_have_moved {
            self.forget_location();
        }
        error.into_failure(call, &self.id())
    }

    /// Returns a transient failure.
    pub(super) fn unavailable(&self, call: &str, detail: String) -> Failure {
        let what = format!("{call} in {}", self.id());
        Failure::WarehouseUnavailable { what, detail, after: None }
    }
}
