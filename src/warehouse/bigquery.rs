//! BigQuery: one load job replaces a table. Its id is made from the message, so BigQuery itself refuses
//! a second load of a message. `api` makes the calls; `answer` and `words` classify refusals.

pub(super) mod answer;
mod api;
mod denials;
pub(super) mod history;
pub(super) mod jobs;
mod location;
pub(super) mod table;
pub(super) mod upload;
mod words;

use std::sync::Arc;
use std::time::SystemTime;

use super::{Earlier, Load, Loaded, Origin, Standing};
use crate::config::{self, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::meter::Meter;
use crate::retry;
use crate::rows::Rows;
use answer::Refusal;
use api::Api;
use denials::{Call, Denials};
use jobs::{Ended, JobFacts};
use location::Location;

/// The most jobs of one message that are looked up: more than its deliveries can have created.
const MAX_TRIES: u32 = 1000;

/// A client for one dataset.
pub struct BigQuery {
    project: String,
    dataset: String,
    location: Location,
    denials: Denials,
    // Uploads share the client, so that they reuse connections that are open.
    api: Api,
    max_multipart: usize,
    timing: Timing,
}

impl std::fmt::Debug for BigQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BigQuery").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// The result of inserting a job.
enum Inserted {
    Accepted(Box<JobFacts>),
    /// The id is taken. `ours` where an earlier attempt of this very insert may have taken it.
    Taken {
        ours: bool,
    },
}

impl BigQuery {
    pub(super) fn new(
        config: &config::BigQuery,
        timing: &Timing,
        google: &Arc<GoogleCredentials>,
    ) -> Result<Self, String> {
        Ok(Self {
            project: config.project.clone(),
            dataset: config.dataset.clone(),
            location: Location::new(config.location.clone()),
            denials: Denials::new(timing.denial_memory),
            api: Api::new(config, timing, google)?,
            max_multipart: config.max_multipart,
            timing: timing.clone(),
        })
    }

    /// Returns `project.dataset`.
    pub(crate) fn place(&self) -> String {
        format!("{}.{}", self.project, self.dataset)
    }

    /// Returns whether BigQuery must be asked before Spotify is read. Fails if a remembered denial
    /// leaves nothing to ask.
    pub(super) fn ask_first(&self, load: &Load<'_>) -> Result<bool, Failure> {
        self.denials.check(&load.job.table)
    }

    /// Looks at the table and creates it if it does not exist: everything that BigQuery can deny before
    /// a load job.
    pub(super) async fn prepare(&self, load: &Load<'_>) -> Result<Standing, Failure> {
        let standing = self.look(load).await?;
        if standing == Standing::Absent {
            self.create(load).await?;
            return Ok(Standing::Ours { rows: None });
        }
        Ok(standing)
    }

    /// Looks at the table, and remembers or forgets a denial.
    pub(super) async fn look(&self, load: &Load<'_>) -> Result<Standing, Failure> {
        let table = &load.job.table;
        let looked = self.look_once(load).await;
        match looked {
            Ok(standing) => {
                // Creating an absent table may still be denied.
                if standing != Standing::Absent {
                    self.denials.asked(table);
                }
                Ok(standing)
            }
            Err(failure) => Err(self.denials.remember(table, Call::Look, failure)),
        }
    }

    /// Looks up the message's earlier loads. Waits for one that has not ended.
    pub(super) async fn earlier(&self, load: &Load<'_>, meter: &Meter) -> Result<Earlier, Failure> {
        for n in 0..MAX_TRIES {
            let job_id = load.try_id(n);
            let job = match self.job(&job_id).await {
                Ok(job) => job,
                Err(Refusal::NotFound(_)) => return Ok(Earlier::Next(n)),
                Err(refusal) => return Err(self.failed(refusal, "jobs.get")),
            };
            let _timed = meter.load_ms.timed();
            if let Ended::Done(facts) = self.end_of(&job_id, job, meter).await? {
                return Ok(Earlier::Done(facts.loaded(job_id, true)));
            }
        }
        let detail = format!("{MAX_TRIES} load jobs of this message have failed");
        Err(self.unavailable("jobs.get", detail))
    }

    pub(super) async fn replace(
        &self,
        load: &Load<'_>,
        first: u32,
        standing: Standing,
        rows: &Rows,
        origin: &Origin,
        meter: &Meter,
    ) -> Result<Loaded, Failure> {
        let table = &load.job.table;
        // Another message may have been denied while this one read Spotify.
        self.denials.check(table)?;
        if standing == Standing::Absent {
            self.create(load).await?;
        }
        let loaded = self.load(load, first, rows, origin, meter).await;
        match loaded {
            Ok(loaded) => {
                self.denials.loaded(table);
                Ok(loaded)
            }
            Err(failure) => {
                let call = match &failure {
                    // Unless the location is configured, the next look asks for the dataset.
                    Failure::DatasetMissing { .. } if !self.location.is_configured() => Call::Look,
                    _ => Call::Load,
                };
                Err(self.denials.remember(table, call, failure))
            }
        }
    }

    async fn load(
        &self,
        load: &Load<'_>,
        first: u32,
        rows: &Rows,
        origin: &Origin,
        meter: &Meter,
    ) -> Result<Loaded, Failure> {
        let table = &load.job.table;
        let mut n = first;
        let attempt = |_| {
            let job_id = load.try_id(n);
            n += 1;
            async move {
                if meter.is_gone() {
                    return Err(jobs::gone(meter).into());
                }
                let (job, earlier) = match self.insert(load, &job_id, rows, origin, meter).await? {
                    Inserted::Accepted(job) => (Ok(*job), false),
                    Inserted::Taken { ours } => (self.job(&job_id).await, !ours),
                };
                let job = job.map_err(|refusal| self.lost(&job_id, refusal))?;
                match self.end_of(&job_id, job, meter).await? {
                    Ended::Done(facts) => Ok(facts.loaded(job_id, earlier)),
                    // An earlier delivery's job failed; this delivery sends its own.
                    Ended::Failed(_) if earlier => Err(retry::Error::Again),
                    Ended::Failed(refusal) if refusal.may_pass_soon() => {
                        let failure = self.failed(refusal, &format!("the load of {table}"));
                        Err(retry::Error::transient(failure))
                    }
                    Ended::Failed(refusal) => {
                        Err(self.job_failed(load, &job_id, refusal).await.into())
                    }
                }
            }
        };
        retry::run(&self.timing.backoff, attempt).await
    }

    /// Returns why a load job failed: what a look at the table finds, or else what the job says.
    async fn job_failed(&self, load: &Load<'_>, job_id: &str, refusal: Refusal) -> Failure {
        let table = &load.job.table;
        let looked = match &refusal {
            Refusal::Rows(_) | Refusal::Refused { .. } => Some(self.look(load).await),
            _ => None,
        };
        match (looked, refusal) {
            (Some(Err(failure)), _) => failure,
            // The table was dropped meanwhile; the next delivery creates it.
            (
                Some(Ok(Standing::Absent)),
                Refusal::Rows(detail) | Refusal::Refused { detail, .. },
            ) => self.unavailable("the load job", format!("{table} is gone: {detail}")),
            (_, Refusal::Rows(detail)) => Failure::InvalidRows {
                table: table.clone(),
                detail: format!("{detail} (job {job_id})"),
            },
            (_, Refusal::NotFound(detail)) => {
                self.forget_location();
                match self.look(load).await {
                    // The dataset exists, so the table was dropped while the job ran.
                    Ok(_) => self.unavailable("the load job", detail),
                    Err(failure) => failure,
                }
            }
            (_, refusal) => self.failed(refusal, &format!("the load of {table}")),
        }
    }

    async fn insert(
        &self,
        load: &Load<'_>,
        job_id: &str,
        rows: &Rows,
        origin: &Origin,
        meter: &Meter,
    ) -> Result<Inserted, Failure> {
        let location = self.location().await?;
        let metadata =
            upload::metadata(&self.project, &self.dataset, location, load, job_id, origin);
        let metadata = &metadata;
        let sent = retry::run(&self.timing.backoff, |attempt| async move {
            match self.upload(metadata, rows).await {
                Ok(job) => Ok(Inserted::Accepted(Box::new(job))),
                Err(Refusal::Duplicate) => Ok(Inserted::Taken { ours: attempt > 1 }),
                Err(refusal) if meter.is_gone() => Err(retry::Error::Permanent(refusal)),
                Err(refusal) => Err(refusal.classified()),
            }
        });
        let refusal = match sent.await {
            Ok(inserted) => return Ok(inserted),
            Err(refusal) => refusal,
        };
        if meter.is_gone() && refusal.may_pass_soon() {
            // BigQuery may have accepted the job all the same.
            meter.follow(Some(JobFacts::default().followed(job_id, SystemTime::now())));
        }
        if matches!(refusal, Refusal::Refused { .. }) {
            // BigQuery refuses some of several concurrent inserts with one id like this.
            match self.job(job_id).await {
                Ok(_) => return Ok(Inserted::Taken { ours: false }),
                Err(Refusal::NotFound(_)) => {}
                Err(refusal) => return Err(self.failed(refusal, "jobs.get")),
            }
            self.look(load).await?;
        }
        Err(self.failed(refusal, &format!("a load job for {}", load.job.table)))
    }

    fn unavailable(&self, what: &str, detail: String) -> Failure {
        Failure::WarehouseUnavailable {
            what: format!("{what} in {}", self.place()),
            detail,
            after: None,
        }
    }
}
