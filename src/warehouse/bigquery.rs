//! BigQuery: one load job replaces a table.
//!
//! A load job's ID is derived from its message, so BigQuery itself refuses a second load of a message,
//! whichever process sends it. [`BigQuery::find_earlier_loads`] finds jobs that earlier deliveries sent.
//!
//! | file | what it does | imports |
//! |---|---|---|
//! | `error_text` | reads the reasons and messages of BigQuery's errors | |
//! | `denials` | remembers what BigQuery denied | `error_text` |
//! | `error` | classifies errors | `denials`, `error_text` |
//! | `api` | sends requests | `error` |
//! | `dataset` | knows one dataset: its name, its location | `api`, `error`, `error_text` |
//! | `table`, `jobs` | the calls about a table or a job | `dataset` and above, `json` |
//! | `upload`, `list` | the calls that send a job or list jobs and tables | `jobs` and above, `json` |

mod api;
mod dataset;
mod denials;
pub(super) mod error;
mod error_text;
pub(super) mod jobs;
mod json;
mod list;
pub(super) mod table;
pub(super) mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::SystemTime;

use futures_util::future::join;

use super::labels;
use super::load::{CompletedLoad, EarlierLoads, Load, Origin, TableState};
use crate::config::{self, Config};
use crate::context::Context;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::retry::{self, Backoff};
use crate::rows::Rows;
pub(crate) use dataset::Dataset;
use denials::{Call, Denials};
use error::ApiError;
use jobs::JobInfo;

/// The most load jobs that are looked up for one message: more than its deliveries can have created
/// (100 deliveries of 5 attempts each).
const MAX_LOAD_JOBS: u32 = 1000;

/// Loads the tables of one dataset.
#[derive(Debug)]
pub struct BigQuery {
    pub(super) dataset: Dataset,
    pub(super) denials: Denials,
    backoff: Backoff,
}

impl BigQuery {
    pub(super) fn new(
        bigquery: &config::BigQuery,
        config: &Config,
        google: &Arc<GoogleCredentials>,
    ) -> Result<Self, String> {
        Ok(Self {
            dataset: Dataset::new(bigquery, config, google)?,
            denials: Denials::new(config.timing.denial_ttl),
            backoff: config.timing.backoff,
        })
    }

    /// Looks up the load jobs of the message's earlier deliveries. Waits for one that has not ended.
    pub(super) async fn find_earlier_loads(
        &self,
        load: &Load,
        context: &Context,
    ) -> Result<EarlierLoads, Failure> {
        for n in 0..MAX_LOAD_JOBS {
            let job_id = load.job_id(n);
            let Some(job) = self.dataset.find_job(&job_id).await? else {
                return Ok(EarlierLoads::NoneSucceeded { next: n });
            };
            let _timed = context.meter.load_ms.timed();
            let job = self.dataset.wait_for_end(&job_id, job, context).await?;
            if job.api_error().is_none() {
                return Ok(EarlierLoads::Succeeded(job.completed_load(job_id, true)));
            }
        }
        let detail = format!(
            "{MAX_LOAD_JOBS} load jobs of this message have failed; see the jobs whose IDs start with {}",
            load.id
        );
        Err(self.dataset.unavailable("jobs.get", detail))
    }

    /// Checks whether the table exists and may be loaded.
    pub(super) async fn check_table(&self, load: &Load) -> Result<TableState, Failure> {
        let table = &load.job.table;
        // The load job needs the location. Looking it up now detects a missing dataset early.
        let (found, location) = join(self.dataset.get_table(table), self.dataset.location()).await;
        let state = location.and(found).and_then(|found| match found {
            None => Ok(TableState::Missing),
            Some(found) => found.check(load.job.kind, table),
        });
        // A missing table still has to be created, which may be denied.
        if let Ok(TableState::Existing { .. }) = state {
            self.denials.succeeded(table, Call::TableCheck);
        }
        state.map_err(|failure| self.denials.remember(table, Call::TableCheck, failure))
    }

    /// Checks the table and creates it if it does not exist: everything that BigQuery can deny before a
    /// load job.
    pub(super) async fn check_or_create_table(&self, load: &Load) -> Result<TableState, Failure> {
        let state = self.check_table(load).await?;
        if state == TableState::Missing {
            self.create_table(load).await?;
            return Ok(TableState::Existing { rows: None });
        }
        Ok(state)
    }

    async fn create_table(&self, load: &Load) -> Result<(), Failure> {
        let table = &load.job.table;
        match self.dataset.create_table(load.job.kind, table).await {
            Ok(()) => {
                self.denials.succeeded(table, Call::TableCheck);
                Ok(())
            }
            // Another process created it.
            Err(ApiError::AlreadyExists) => self.check_table(load).await.map(drop),
            Err(error) => {
                let failure = self.dataset.failure(error, &format!("tables.insert for {table}"));
                Err(self.denials.remember(table, Call::TableCheck, failure))
            }
        }
    }

    /// Replaces the table's rows. `first` is the number of the first load job.
    pub(super) async fn replace_table(
        &self,
        load: &Load,
        first: u32,
        state: TableState,
        rows: &Rows,
        origin: &Origin,
        context: &Context,
    ) -> Result<CompletedLoad, Failure> {
        let table = &load.job.table;
        // BigQuery may have denied another message's load while this one read Spotify.
        self.denials.fail_if_denied(table)?;
        if state == TableState::Missing {
            self.create_table(load).await?;
        }
        match self.run_load_jobs(load, first, rows, origin, context).await {
            Ok(loaded) => {
                self.denials.succeeded(table, Call::LoadJob);
                Ok(loaded)
            }
            Err(failure) => {
                let call = match &failure {
                    // Without a configured location, the next table check also looks up the dataset, so it can clear the denial.
                    Failure::DatasetMissing { .. }
                        if self.dataset.configured_location.is_none() =>
                    {
                        Call::TableCheck
                    }
                    _ => Call::LoadJob,
                };
                Err(self.denials.remember(table, call, failure))
            }
        }
    }

    /// Sends load jobs, each with the next number, until one succeeds or fails permanently.
    async fn run_load_jobs(
        &self,
        load: &Load,
        first: u32,
        rows: &Rows,
        origin: &Origin,
        context: &Context,
    ) -> Result<CompletedLoad, Failure> {
        let table = &load.job.table;
        let mut n = first;
        let attempt = |_| {
            let job_id = load.job_id(n);
            n += 1;
            async move {
                if context.cancelled.is_cancelled() {
                    return Err(
                        Failure::ClientGone { progress: context.describe_progress() }.into()
                    );
                }
                let (job, by_earlier_delivery) =
                    self.insert_job(load, &job_id, rows, origin, context).await?;
                let job = self.dataset.wait_for_end(&job_id, job, context).await?;
                match job.api_error() {
                    None => Ok(job.completed_load(job_id, by_earlier_delivery)),
                    // An earlier delivery's job failed. This delivery sends its own.
                    Some(_) if by_earlier_delivery => Err(retry::Error::Again),
                    Some(error) if error.is_transient() => {
                        let call = describe_job(&job_id, table);
                        Err(retry::Error::transient(self.dataset.failure(error, &call)))
                    }
                    Some(error) => Err(self.failure_of_job(load, &job_id, error).await.into()),
                }
            }
        };
        retry::run(&self.backoff, attempt).await
    }

    /// Inserts a load job. Returns it, and whether another delivery had inserted it.
    async fn insert_job(
        &self,
        load: &Load,
        job_id: &str,
        rows: &Rows,
        origin: &Origin,
        context: &Context,
    ) -> Result<(JobInfo, bool), Failure> {
        let job = &self.dataset.load_job(load, job_id, origin).await?;
        // An atomic, because the future must be `Send`.
        let attempts = &AtomicU32::new(0);
        let sent = retry::run(&self.backoff, |attempt| async move {
            attempts.store(attempt, Relaxed);
            match self.dataset.upload(job, rows).await {
                Err(error) if context.cancelled.is_cancelled() => {
                    Err(retry::Error::Permanent(error))
                }
                sent => sent.map_err(ApiError::into_retry_error),
            }
        });
        let error = match sent.await {
            Ok(job) => return Ok((job, false)),
            Err(error) => error,
        };
        let is_retried = attempts.load(Relaxed) > 1;
        if is_retried || error.is_transient() || matches!(error, ApiError::AlreadyExists) {
            // BigQuery has accepted the job, or may have at an earlier attempt. Until it ends, the table must
            // stay locked.
            let unseen = JobInfo::default();
            context.progress.follow(Some(unseen.to_followed(job_id, SystemTime::now())));
        }
        let existing = match error {
            ApiError::AlreadyExists => Some(self.dataset.get_accepted_job(job_id).await?),
            // If several inserts with one job ID run concurrently, BigQuery rejects some with 400 instead of 409.
            ApiError::Rejected { .. } => self.dataset.find_job(job_id).await?,
            _ => None,
        };
        if let Some(job) = existing {
            // An earlier attempt of this delivery may have sent it although no response arrived.
            let is_own = is_retried && labels::are_of(&job.labels, load, origin);
            return Ok((job, !is_own));
        }
        if matches!(error, ApiError::Rejected { .. }) {
            // If the table is the reason, its check says more.
            self.check_table(load).await?;
        }
        Err(self.dataset.failure(error, &describe_job(job_id, &load.job.table)))
    }

    /// Returns why a load job failed: what a check of the table finds, or else what the job says.
    async fn failure_of_job(&self, load: &Load, job_id: &str, error: ApiError) -> Failure {
        let table = &load.job.table;
        let call = describe_job(job_id, table);
        let detail = match &error {
            ApiError::NotFound(detail)
            | ApiError::InvalidRows(detail)
            | ApiError::Rejected { detail, .. } => format!("{detail} (job {job_id})"),
            _ => return self.dataset.failure(error, &call),
        };
        if matches!(error, ApiError::NotFound(_)) {
            // The dataset may have been recreated in another location.
            self.dataset.forget_location();
        }
        match self.check_table(load).await {
            Err(failure) => return failure,
            // The next delivery creates the table.
            Ok(TableState::Missing) => {
                let detail = format!("{table} was dropped while the job ran: {detail}");
                return self.dataset.unavailable("the load job", detail);
            }
            Ok(TableState::Existing { .. }) => {}
        }
        match error {
            ApiError::NotFound(_) => {
                let detail = format!("the job did not find {table}, which exists: {detail}");
                self.dataset.unavailable("the load job", detail)
            }
            ApiError::InvalidRows(_) => Failure::InvalidRows { table: table.clone(), detail },
            error => self.dataset.failure(error, &call),
        }
    }
}

/// Returns the name of a load job in errors.
fn describe_job(job_id: &str, table: &str) -> String {
    format!("the load job {job_id} for {table}")
}
