//! The dataset's location, which every call about a job must name in a single region.

use serde_json::Value;
use tokio::sync::Mutex;

use super::BigQuery;
use super::answer::Refusal;
use crate::failure::Failure;

/// The configured location, or the one that BigQuery returned last.
#[derive(Debug)]
pub(super) struct Location {
    configured: Option<String>,
    /// The outer `None` means that BigQuery has not been asked yet.
    found: Mutex<Option<Option<String>>>,
}

impl Location {
    pub(super) fn new(configured: Option<String>) -> Self {
        Self { configured, found: Mutex::default() }
    }

    pub(super) fn is_configured(&self) -> bool {
        self.configured.is_some()
    }
}

impl BigQuery {
    /// Returns the location of the dataset and its jobs. Concurrent callers share one call.
    /// Returns `None` if BigQuery names none, as emulators do.
    pub(crate) async fn location(&self) -> Result<Option<String>, Failure> {
        if self.location.configured.is_some() {
            return Ok(self.location.configured.clone());
        }
        let mut found = self.location.found.lock().await;
        if let Some(location) = &*found {
            return Ok(location.clone());
        }
        Ok(found.insert(self.fetch_location().await?).clone())
    }

    /// Asks BigQuery for the dataset's location, even if it is configured or known.
    pub(crate) async fn fetch_location(&self) -> Result<Option<String>, Failure> {
        let path = ["bigquery", "v2", "projects", &self.project, "datasets", &self.dataset];
        match self.api.get(&self.api.url(&path)).await {
            Ok(dataset) => Ok(dataset.get("location").and_then(Value::as_str).map(str::to_owned)),
            Err(refusal) => Err(self.failed(refusal, "datasets.get")),
        }
    }

    /// Turns a refusal into a failure. If BigQuery does not find something, the dataset may have been
    /// recreated elsewhere, so the next call asks for its location again.
    pub(super) fn failed(&self, refusal: Refusal, what: &str) -> Failure {
        let moved = match &refusal {
            Refusal::NotFound(_) => true,
            Refusal::Refused { detail, .. } => detail.contains("location"),
            _ => false,
        };
        if moved {
            self.forget_location();
        }
        refusal.into_failure(what, &self.dataset_name())
    }

    pub(super) fn forget_location(&self) {
        // If the lock is taken, a call for the location is in progress.
        if let Ok(mut found) = self.location.found.try_lock() {
            *found = None;
        }
    }
}
