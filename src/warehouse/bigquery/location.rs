//! The dataset's location, which every call about a job must name in a single region.

use serde_json::Value;
use tokio::sync::Mutex;

use super::BigQuery;
use super::answer::Refusal;
use crate::failure::Failure;

/// The location: as configured, or what BigQuery said last.
#[derive(Debug)]
pub(super) struct Location {
    configured: Option<String>,
    /// The outer `None` is one that nobody has asked for yet.
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
    /// Returns the location of the dataset and its jobs, where one is configured or BigQuery says it.
    /// Concurrent callers wait for one question.
    pub(crate) async fn location(&self) -> Result<Option<String>, Failure> {
        if self.location.configured.is_some() {
            return Ok(self.location.configured.clone());
        }
        let mut found = self.location.found.lock().await;
        if let Some(location) = &*found {
            return Ok(location.clone());
        }
        Ok(found.insert(self.dataset_location().await?).clone())
    }

    /// Asks BigQuery for the dataset's location, whatever is configured or known.
    pub(crate) async fn dataset_location(&self) -> Result<Option<String>, Failure> {
        let path = ["bigquery", "v2", "projects", &self.project, "datasets", &self.dataset];
        match self.api.get(&self.api.url(&path)).await {
            Ok(dataset) => Ok(dataset.get("location").and_then(Value::as_str).map(str::to_owned)),
            Err(refusal) => Err(self.failed(refusal, "datasets.get")),
        }
    }

    /// Returns the failure that a refusal is. A dataset that is not found may have been moved, so its
    /// location is asked for again.
    pub(super) fn failed(&self, refusal: Refusal, what: &str) -> Failure {
        let moved = match &refusal {
            Refusal::NotFound(_) => true,
            Refusal::Refused { detail, .. } => detail.contains("location"),
            _ => false,
        };
        if moved {
            self.forget_location();
        }
        refusal.into_failure(what, &self.place())
    }

    pub(super) fn forget_location(&self) {
        // Whoever holds the lock is asking right now.
        if let Ok(mut found) = self.location.found.try_lock() {
            *found = None;
        }
    }
}
