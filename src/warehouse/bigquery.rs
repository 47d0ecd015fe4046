//! BigQuery: a table is replaced by one load job with an id of our own, so that BigQuery itself
//! refuses a message's second load. How a job is sent is `upload`'s; what an answer means is
//! `answer`'s.

mod answer;
pub(super) mod history;
pub(super) mod upload;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gcp_bigquery_client::auth::Authenticator;
use gcp_bigquery_client::client_builder::ClientBuilder;
use gcp_bigquery_client::error::BQError;
use gcp_bigquery_client::model::job::Job as BqJob;
use gcp_bigquery_client::model::table::Table;
use gcp_bigquery_client::yup_oauth2;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::schema::{differences, table_description, table_schema};
use super::{Earlier, Load, Loaded};
use crate::config::{self, Timing};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::http;
use crate::names::Kind;
use crate::rows::Rows;
use answer::{Answer, Ended};

/// How many tries of one message are looked for: more than its delivery attempts can have made.
const TRIES: u32 = 1000;

/// How many tables are known to exist before all are forgotten, and looked at again.
const KNOWN: usize = 5000;

/// A dataset, and the way to it.
pub struct BigQuery {
    project: String,
    dataset: String,
    url: String,
    location: OnceCell<Option<String>>,
    api: gcp_bigquery_client::Client,
    // One client for both, so that an upload finds the connection that a question opened.
    client: reqwest_bq::Client,
    credentials: Arc<GoogleCredentials>,
    timing: Timing,
    /// Tables that are known to exist.
    known: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for BigQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BigQuery").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// What a look at a table found.
enum Found {
    Absent,
    Ours,
    Foreign(Failure),
}

/// What came of an insert.
enum Inserted {
    Accepted(Box<BqJob>),
    /// The id is taken. `ours` where an earlier attempt of this very insert may have taken it.
    Taken {
        ours: bool,
    },
}

impl BigQuery {
    pub(super) async fn new(
        config: &config::BigQuery,
        timing: &Timing,
        google: &Arc<GoogleCredentials>,
    ) -> Result<Self, String> {
        let emulator = || Arc::new(GoogleCredentials::None);
        let credentials = if config.emulator { emulator() } else { Arc::clone(google) };
        let client = client(timing)?;
        let api = ClientBuilder::new()
            .with_v2_base_url(format!("{}/bigquery/v2", config.url))
            .with_client(client.clone())
            .build_from_authenticator(Arc::new(Bridge(Arc::clone(&credentials))))
            .await
            .map_err(|error| http::describe(&error))?;
        Ok(Self {
            project: config.project.clone(),
            dataset: config.dataset.clone(),
            url: config.url.clone(),
            location: OnceCell::new_with(config.location.clone().map(Some)),
            api,
            client,
            credentials,
            timing: timing.clone(),
            known: Mutex::default(),
        })
    }

    /// Project and dataset.
    pub(crate) fn place(&self) -> String {
        format!("{}.{}", self.project, self.dataset)
    }

    pub(super) async fn earlier(&self, load: &Load<'_>) -> Result<Earlier, Failure> {
        for n in 0..TRIES {
            match self.job(&load.try_id(n)).await? {
                None => return Ok(Earlier::Next(n)),
                Some(job) => {
                    if matches!(self.end_of(job).await?, Ended::Done) {
                        return Ok(Earlier::Done);
                    }
                }
            }
        }
        Err(self.unavailable("jobs.get", format!("{TRIES} load jobs of this message have failed")))
    }

    pub(super) async fn prepare(&self, load: &Load<'_>) -> Result<(), Failure> {
        self.location().await?;
        let table = &load.job.table;
        if self.is_known(table) {
            return Ok(());
        }
        match self.look_at(load).await? {
            Found::Absent => {}
            Found::Ours => self.learn(table),
            // Before Spotify is read for it. A load might well succeed, and mix two kinds of columns.
            Found::Foreign(failure) => return Err(failure),
        }
        Ok(())
    }

    pub(super) async fn replace(
        &self,
        load: &Load<'_>,
        first: u32,
        rows: &Rows,
    ) -> Result<Loaded, Failure> {
        let table = &load.job.table;
        if !self.is_known(table) {
            self.make_table(load.job.kind, table).await?;
        }
        let mut failures = 1;
        let mut n = first;
        loop {
            let job_id = load.try_id(n);
            let (job, earlier) = match self.insert(load, &job_id, rows).await? {
                Inserted::Accepted(job) => (Some(*job), false),
                Inserted::Taken { ours } => (self.job(&job_id).await?, !ours),
            };
            let Some(job) = job else {
                return Err(self.unavailable("jobs.get", format!("{job_id} is taken and absent")));
            };
            n += 1;
            match self.end_of(job).await? {
                Ended::Done => return Ok(Loaded { job_id, earlier }),
                // An earlier delivery's failure is no news; this one has a load of its own.
                _ if earlier => {}
                Ended::Invalid(detail) => {
                    return Err(self.explain(load, &job_id, detail).await?);
                }
                Ended::Gone(detail) => {
                    self.forget(table);
                    return Err(self.unavailable("the load job", detail));
                }
                Ended::Denied(detail) => {
                    return Err(Failure::WarehouseDenied {
                        what: format!("the load of {table}"),
                        detail,
                    });
                }
                Ended::Failed { detail, after } => {
                    failures += 1;
                    let wait =
                        if after.is_some() { None } else { self.timing.backoff.before(failures) };
                    let Some(wait) = wait else {
                        let what = format!("the load of {table}");
                        return Err(Failure::WarehouseUnavailable { what, detail, after });
                    };
                    sleep(wait).await;
                }
            }
        }
    }

    /// Why BigQuery found a load invalid: the table is not ours, or the rows are wrong.
    async fn explain(
        &self,
        load: &Load<'_>,
        job_id: &str,
        detail: String,
    ) -> Result<Failure, Failure> {
        let table = load.job.table.clone();
        Ok(match self.look_at(load).await? {
            Found::Foreign(failure) => failure,
            Found::Ours => {
                Failure::InvalidRows { table, detail: format!("{detail} (job {job_id})") }
            }
            // Dropped meanwhile: the next delivery makes it.
            Found::Absent => self.unavailable("the load job", format!("{table} is gone: {detail}")),
        })
    }

    /// Compares a table's columns with ours.
    async fn look_at(&self, load: &Load<'_>) -> Result<Found, Failure> {
        let table = &load.job.table;
        let Some(columns) = self.columns(table).await? else {
            self.forget(table);
            return Ok(Found::Absent);
        };
        let differences = differences(load.job.kind, &columns);
        // A table without any column takes those of its first load.
        Ok(if columns.is_empty() || differences.is_empty() {
            Found::Ours
        } else {
            let differences = differences.join("; ");
            Found::Foreign(Failure::ForeignColumns { table: table.clone(), differences })
        })
    }

    async fn insert(
        &self,
        load: &Load<'_>,
        job_id: &str,
        rows: &Rows,
    ) -> Result<Inserted, Failure> {
        let location = self.location().await?;
        let metadata = upload::metadata(&self.project, &self.dataset, location, load, job_id);
        let mut attempt = 1;
        loop {
            match self.upload(&metadata, rows).await {
                Ok(job) => return Ok(Inserted::Accepted(Box::new(job))),
                Err(Answer::Duplicate) => return Ok(Inserted::Taken { ours: attempt > 1 }),
                Err(Answer::Passing { detail, after }) => {
                    attempt += 1;
                    let wait =
                        if after.is_some() { None } else { self.timing.backoff.before(attempt) };
                    let Some(wait) = wait else {
                        let what = format!("the upload for {}", load.job.table);
                        return Err(Failure::WarehouseUnavailable { what, detail, after });
                    };
                    sleep(wait).await;
                }
                Err(Answer::Invalid(detail)) => {
                    // Of inserts that race for one id some are refused so.
                    if self.job(job_id).await?.is_some() {
                        return Ok(Inserted::Taken { ours: attempt > 1 });
                    }
                    return Err(match self.look_at(load).await? {
                        Found::Foreign(failure) => failure,
                        Found::Ours | Found::Absent => Failure::WarehouseDenied {
                            what: format!("the load job for {}", load.job.table),
                            detail,
                        },
                    });
                }
                Err(Answer::NotFound(_)) => return Err(Failure::DatasetMissing(self.place())),
                Err(Answer::Denied(detail)) => {
                    return Err(Failure::WarehouseDenied {
                        what: format!("a load job for {}", load.job.table),
                        detail,
                    });
                }
                Err(Answer::Failed(failure)) => return Err(failure),
            }
        }
    }

    /// Waits for a job's end.
    async fn end_of(&self, mut job: BqJob) -> Result<Ended, Failure> {
        let id = job.job_reference.as_ref().and_then(|job| job.job_id.clone()).unwrap_or_default();
        let mut wait = self.timing.first_look;
        loop {
            if let Some(ended) = answer::ended(&job) {
                return Ok(ended);
            }
            sleep(wait).await;
            wait = wait.mul_f64(1.5).min(self.timing.last_look);
            job = match self.job(&id).await? {
                Some(job) => job,
                None => return Err(self.unavailable("jobs.get", format!("{id} has vanished"))),
            };
        }
    }

    async fn job(&self, id: &str) -> Result<Option<BqJob>, Failure> {
        let location = self.location().await?;
        self.ask("jobs.get", || self.api.job().get_job(&self.project, id, location)).await
    }

    /// The location of dataset and jobs, where BigQuery tells one.
    pub(crate) async fn location(&self) -> Result<Option<&str>, Failure> {
        let known = self.location.get_or_try_init(|| async {
            let get = || self.api.dataset().get(&self.project, &self.dataset);
            match self.ask("datasets.get", get).await? {
                Some(dataset) => Ok(dataset.location),
                None => Err(Failure::DatasetMissing(self.place())),
            }
        });
        Ok(known.await?.as_deref())
    }

    /// The names and types of a table's columns; nothing where there is no such table.
    pub(crate) async fn columns(
        &self,
        table: &str,
    ) -> Result<Option<Vec<(String, String)>>, Failure> {
        let get = || self.api.table().get(&self.project, &self.dataset, table, None);
        let found = self.ask("tables.get", get).await?;
        Ok(found.map(|table| {
            let fields = table.schema.fields.unwrap_or_default();
            fields
                .into_iter()
                .map(|field| {
                    let r#type = serde_json::to_value(&field.r#type).unwrap_or_default();
                    (field.name, r#type.as_str().unwrap_or_default().to_owned())
                })
                .collect()
        }))
    }

    /// Makes a table with its description, which a load job cannot give it.
    async fn make_table(&self, kind: Kind, table: &str) -> Result<(), Failure> {
        let made = Table::new(&self.project, &self.dataset, table, table_schema(kind))
            .description(&table_description(kind));
        let create = || self.api.table().create(made.clone());
        match self.try_often(create).await {
            Ok(_) | Err(Answer::Duplicate) => {
                self.learn(table);
                Ok(())
            }
            Err(Answer::NotFound(_)) => Err(Failure::DatasetMissing(self.place())),
            Err(answer) => Err(answer.into_failure("tables.insert")),
        }
    }

    fn is_known(&self, table: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(table)
    }

    fn forget(&self, table: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }

    fn learn(&self, table: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(table.to_owned());
    }

    /// A question: its answer, or nothing where what is asked for does not exist.
    async fn ask<T, F>(&self, what: &str, question: impl Fn() -> F) -> Result<Option<T>, Failure>
    where
        F: Future<Output = Result<T, BQError>>,
    {
        match self.try_often(question).await {
            Ok(found) => Ok(Some(found)),
            Err(Answer::NotFound(_)) => Ok(None),
            Err(answer) => Err(answer.into_failure(what)),
        }
    }

    async fn try_often<T, F>(&self, question: impl Fn() -> F) -> Result<T, Answer>
    where
        F: Future<Output = Result<T, BQError>>,
    {
        let mut attempt = 1;
        loop {
            let answer = match question().await {
                Ok(found) => return Ok(found),
                Err(error) => Answer::of(error),
            };
            attempt += 1;
            match (&answer, self.timing.backoff.before(attempt)) {
                (Answer::Passing { after: None, .. }, Some(wait)) => sleep(wait).await,
                _ => return Err(answer),
            }
        }
    }

    fn unavailable(&self, what: &str, detail: String) -> Failure {
        Failure::WarehouseUnavailable {
            what: format!("{what} in {}", self.place()),
            detail,
            after: None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the other reqwest, with the same rules")]
fn client(timing: &Timing) -> Result<reqwest_bq::Client, String> {
    reqwest_bq::Client::builder()
        .use_preconfigured_tls(http::tls_for_http().map_err(|error| error.to_string())?)
        .redirect(reqwest_bq::redirect::Policy::none())
        .connect_timeout(timing.connect)
        .timeout(timing.google_call)
        .http2_keep_alive_interval(http::PING_INTERVAL)
        .http2_keep_alive_timeout(http::PING_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(concat!("spotify-bq/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| http::describe(&error))
}

/// Gives gcp-bigquery-client our tokens.
#[derive(Clone)]
struct Bridge(Arc<GoogleCredentials>);

#[async_trait::async_trait]
impl Authenticator for Bridge {
    async fn access_token(&self) -> Result<String, BQError> {
        match self.0.token().await {
            // An emulator asks for none, and takes any.
            Ok(token) => {
                Ok(token.map_or("emulator".to_owned(), |token| token.expose_secret().to_owned()))
            }
            Err(failure) => {
                let error = yup_oauth2::Error::LowLevelError(std::io::Error::other(failure));
                Err(BQError::YupAuthError(error))
            }
        }
    }
}

/// `quotaExceeded` is worth another try after ten minutes or more
/// (<https://cloud.google.com/bigquery/docs/error-messages>).
const QUOTA_WAIT: Duration = Duration::from_secs(600);
