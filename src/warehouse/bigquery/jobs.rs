//! Load jobs: reading a job's state, and waiting until it ends.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::time::Instant;

use super::dataset::Dataset;
use super::error::ApiError;
use super::json::{number, string, time};
use crate::context::{Context, FollowedJob};
use crate::failure::Failure;
use crate::retry::PollInterval;
use crate::text;
use crate::warehouse::labels;
use crate::warehouse::load::CompletedLoad;

/// The longest job state in an error, whatever the API returns. BigQuery's longest is `PENDING`.
const MAX_STATE_BYTES: usize = 20;

/// How long to wait for the job of a message that was answered or whose client disconnected. BigQuery
/// cancels a load job after six hours (<https://cloud.google.com/bigquery/quotas#load_jobs>).
const JOB_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// How many more times to look up a job that is not found: an interrupted upload may still create it.
const NOT_FOUND_RETRIES: u32 = 4;

/// The parts of a job that the service needs, from `jobs.get`, `jobs.insert` and `jobs.list`. Each may
/// be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobInfo {
    pub(crate) id: String,
    /// `PENDING`, `RUNNING` or `DONE`.
    pub(crate) state: String,
    pub(crate) created: Option<SystemTime>,
    pub(crate) started: Option<SystemTime>,
    pub(crate) ended: Option<SystemTime>,
    /// Why the job failed.
    pub(crate) error: Option<JobError>,
    /// The number of rows that the load wrote.
    pub(crate) rows: Option<u64>,
    pub(crate) labels: HashMap<String, String>,
    /// Project, dataset and table.
    pub(crate) destination: Option<[String; 3]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobError {
    pub(crate) reason: String,
    /// The message of `errorResult`, then those of `errors`.
    pub(crate) messages: Vec<String>,
}

impl JobInfo {
    pub(crate) fn from_json(job: &Value) -> Self {
        let (status, statistics) = (&job["status"], &job["statistics"]);
        let configuration = &job["configuration"];
        let labels = configuration["labels"].as_object().into_iter().flatten();
        // `jobs.list` may have the state and the error only outside the status.
        let state = if status["state"].is_string() { &status["state"] } else { &job["state"] };
        Self {
            id: string(&job["jobReference"]["jobId"]),
            state: string(state),
            created: time(&statistics["creationTime"]),
            started: time(&statistics["startTime"]),
            ended: time(&statistics["endTime"]),
            error: error_of(status).or_else(|| error_of(job)),
            rows: number(&statistics["load"]["outputRows"]),
            labels: labels
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            destination: destination_of(&configuration["load"]["destinationTable"]),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == "DONE"
    }

    /// Returns whether the job is one of this service, by its ID or labels.
    pub(crate) fn is_ours(&self) -> bool {
        self.id.starts_with("spotify-bq_") || labels::is_ours(&self.labels)
    }

    /// Returns why the job failed, or `None` if it succeeded or has not ended.
    pub(super) fn api_error(&self) -> Option<ApiError> {
        let JobError { reason, messages } = self.error.as_ref().filter(|_| self.is_done())?;
        Some(ApiError::of_job(reason, messages))
    }

    /// Returns the result of a job that succeeded.
    pub(super) fn completed_load(
        &self,
        job_id: String,
        by_earlier_delivery: bool,
    ) -> CompletedLoad {
        let origin = labels::origin(&self.labels);
        let (rows, ended_at) = (self.rows, self.ended);
        CompletedLoad { job_id, by_earlier_delivery, rows, ended_at, origin }
    }

    /// Returns the state as errors name it and why the job failed, for [`crate::seam`].
    pub(crate) fn state_and_failure(&self) -> (String, Option<Failure>) {
        let failure = self.api_error().map(|error| match error {
            ApiError::InvalidRows(detail) => Failure::InvalidRows { table: "t".to_owned(), detail },
            error => error.into_failure("a load", "p.d"),
        });
        (self.to_followed("j", UNIX_EPOCH).state, failure)
    }

    /// Returns what errors say about a job that has not ended.
    pub(super) fn to_followed(&self, id: &str, first_seen: SystemTime) -> FollowedJob {
        let since = if self.state == "RUNNING" { self.started } else { self.created };
        let state = if self.state.is_empty() { "in an unknown state" } else { &self.state };
        FollowedJob {
            id: id.to_owned(),
            state: text::excerpt(state, MAX_STATE_BYTES),
            since: since.or(self.created).unwrap_or(first_seen),
        }
    }
}

fn destination_of(table: &Value) -> Option<[String; 3]> {
    let name = |key: &str| table[key].as_str().map(str::to_owned);
    Some([name("projectId")?, name("datasetId")?, name("tableId")?])
}

fn error_of(status: &Value) -> Option<JobError> {
    let result = Some(&status["errorResult"]).filter(|result| result.is_object())?;
    let message_of = |error: &Value| error["message"].as_str().map(str::to_owned);
    let details = status["errors"].as_array().into_iter().flatten().filter_map(message_of);
    let messages = message_of(result).into_iter().chain(details).collect();
    Some(JobError { reason: string(&result["reason"]), messages })
}

impl Dataset {
    /// Returns `None` if the job does not exist.
    pub(super) async fn find_job(&self, id: &str) -> Result<Option<JobInfo>, Failure> {
        match self.get_job(id).await {
            Ok(job) => Ok(Some(job)),
            Err(ApiError::NotFound(_)) => Ok(None),
            Err(error) => Err(self.failure(error, &format!("jobs.get for {id}"))),
        }
    }

    /// Looks up a job in the dataset's location.
    async fn get_job(&self, id: &str) -> Result<JobInfo, ApiError> {
        let mut url = self.url(&["jobs", id]);
        if let Some(location) = self.location().await.map_err(ApiError::Other)? {
            url.query_pairs_mut().append_pair("location", &location);
        }
        Ok(JobInfo::from_json(&self.api.get(&url).await?))
    }

    /// Looks up a job that BigQuery has accepted. If it is not found, the dataset may have been recreated
    /// in another location.
    pub(super) async fn get_accepted_job(&self, id: &str) -> Result<JobInfo, Failure> {
        self.get_job(id).await.map_err(|error| match error {
            ApiError::NotFound(detail) => {
                self.forget_location();
                let detail =
                    format!("BigQuery accepted the job {id} and now does not find it: {detail}");
                self.unavailable("jobs.get", detail)
            }
            error => self.failure(error, &format!("jobs.get for {id}")),
        })
    }

    /// Waits until a job has ended, and returns it. Records the job in the context, so that the error of a
    /// message that runs out of time names it. Fails if the message is gone.
    pub(super) async fn wait_for_end(
        &self,
        id: &str,
        mut job: JobInfo,
        context: &Context,
    ) -> Result<JobInfo, Failure> {
        let first_seen = SystemTime::now();
        let mut interval = self.poll_interval();
        while !job.is_done() {
            context.progress.follow(Some(job.to_followed(id, first_seen)));
            if context.cancelled.is_cancelled() {
                // Stop here to free the rows. The caller goes on with `wait_for_job`.
                return Err(Failure::ClientGone { progress: context.describe_progress() });
            }
            interval.tick().await;
            job = self.get_accepted_job(id).await?;
        }
        context.progress.follow(None);
        Ok(job)
    }

    /// Waits until a job has ended, after the message that sent it. Ignores errors meanwhile. Gives up after
    /// [`JOB_TIMEOUT`], or if the job or the dataset does not exist. Returns whether the job succeeded.
    pub(in crate::warehouse) async fn wait_for_job(&self, id: &str) -> bool {
        let end = Instant::now() + JOB_TIMEOUT;
        let (mut interval, mut not_found) = (self.poll_interval(), 0);
        loop {
            match self.find_job(id).await {
                Ok(Some(job)) if job.is_done() => return job.api_error().is_none(),
                Ok(None) | Err(Failure::DatasetMissing { .. }) => {
                    if not_found == NOT_FOUND_RETRIES {
                        return false;
                    }
                    not_found += 1;
                }
                _ if Instant::now() >= end => return false,
                // The job is running, or BigQuery can't be reached for a while.
                _ => {}
            }
            interval.tick().await;
        }
    }

    fn poll_interval(&self) -> PollInterval {
        PollInterval::new(self.timing.first_poll_delay, self.timing.max_poll_delay)
    }
}
