//! The warehouse: BigQuery, or a SQLite file on a developer's machine. Either replaces a table completely or
//! not at all, and records which message's load it was, so that a redelivered message changes nothing.

mod bigquery;
pub(crate) mod labels;
mod schema;
#[cfg(feature = "local")]
mod sqlite;

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::config::{self, Config};
use crate::context::Context;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::job::Job;
use crate::names::ChosenShow;
use crate::rows::Rows;

pub use bigquery::BigQuery;
pub(crate) use bigquery::Dataset;
pub(crate) use bigquery::error::failure_of_response;
pub(crate) use bigquery::jobs::JobInfo;
pub(crate) use bigquery::table::TableInfo;
pub use bigquery::upload::multipart_body;
pub use schema::{Column, FoundColumn, differences, schema, table_description};
#[cfg(feature = "local")]
pub use sqlite::Sqlite;

/// Where tables are.
#[derive(Debug)]
pub enum Warehouse {
    BigQuery(Box<BigQuery>),
    #[cfg(feature = "local")]
    Sqlite(Sqlite),
}

/// The load of a table that a message asks for.
#[derive(Debug)]
pub struct Load<'a> {
    pub job: &'a Job,
    pub message_id: &'a str,
    /// The same for every delivery of the message.
    pub id: String,
}

/// Where a table's rows come from. The load job's labels keep all but the show's name and `listed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The show whose episodes they are, if one is known.
    pub show: Option<ChosenShow>,
    /// When Spotify was read.
    pub read_at: SystemTime,
    /// Whether the message of another table read it. `None` for a load job of an earlier version.
    pub shared: Option<bool>,
    /// How many items Spotify lists, if it did not show all of them.
    pub listed: Option<u64>,
}

/// A table that may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    /// The table does not exist. It is created before the load.
    Missing,
    /// The table has the expected columns, or no columns yet.
    Existing {
        /// The number of rows, if the warehouse returns it.
        rows: Option<u64>,
    },
}

impl TableState {
    /// Returns the number of rows, if the table exists and the warehouse returns it.
    pub fn rows(self) -> Option<u64> {
        match self {
            Self::Missing => None,
            Self::Existing { rows } => rows,
        }
    }
}

/// The loads of a message's earlier deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlierLoads {
    /// One of them replaced the table.
    Succeeded(CompletedLoad),
    /// None replaced the table. `next` is the number of the next load job.
    NoneSucceeded { next: u32 },
}

/// A load that replaced a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedLoad {
    pub job_id: String,
    /// Whether another delivery of the message did it.
    pub by_earlier_delivery: bool,
    /// The number of rows that the load wrote, if the job says so.
    pub rows: Option<u64>,
    /// When the load ended, if the job says so.
    pub ended_at: Option<SystemTime>,
    /// Where the rows come from, if the job's labels say so.
    pub origin: Option<Origin>,
}

impl<'a> Load<'a> {
    /// Derives the load's id from the message, the table and `warehouse`, a [`Warehouse::name`]. The
    /// message's id alone is not enough: it is unique only within its topic, and an emulator counts from
    /// 1 at each start.
    pub fn new(job: &'a Job, warehouse: &str, message_id: &'a str, publish_time: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [warehouse, &job.table, message_id, publish_time] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hex = labels::hex(&hash.finalize()[..16]);
        Self { job, message_id, id: format!("spotify-bq_{}_{hex}", job.kind) }
    }

    /// Returns the id of load job number `n`, counted from 0.
    pub fn job_id(&self, n: u32) -> String {
        format!("{}_{n}", self.id)
    }

    /// Returns whether this is the id of one of the load's jobs.
    pub fn has_job(&self, job_id: &str) -> bool {
        job_id.rsplit_once('_').is_some_and(|(id, _)| id == self.id)
    }
}

impl Warehouse {
    /// Makes no call.
    pub fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Result<Self, String> {
        match &config.warehouse {
            config::Warehouse::BigQuery(bigquery) => BigQuery::new(bigquery, config, google)
                .map(|bigquery| Self::BigQuery(Box::new(bigquery))),
            #[cfg(feature = "local")]
            config::Warehouse::Sqlite(file) => Ok(Self::Sqlite(Sqlite::new(file))),
            #[cfg(not(feature = "local"))]
            config::Warehouse::Sqlite(_) => Err("this build of spotify-bq has no SQLite: \
                set WAREHOUSE=bigquery, or build it with the feature `local`"
                .to_owned()),
        }
    }

    /// Returns the BigQuery dataset, or `None` for a SQLite file.
    pub(crate) fn dataset(&self) -> Option<&Dataset> {
        match self {
            Self::BigQuery(bigquery) => Some(bigquery.dataset()),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => None,
        }
    }

    /// Returns `project.dataset`, or the path of the SQLite file.
    pub fn name(&self) -> String {
        match self {
            Self::BigQuery(bigquery) => bigquery.dataset().id(),
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.name(),
        }
    }

    /// Looks up the loads of the message's earlier deliveries. Waits for one that has not ended.
    pub async fn find_earlier_loads(
        &self,
        load: &Load<'_>,
        context: &Context,
    ) -> Result<EarlierLoads, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.find_earlier_loads(load, context).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.find_earlier_loads(load).await,
        }
    }

    /// Waits until the load job of a message that is gone has ended, whatever fails meanwhile. Returns
    /// whether the job replaced the table.
    pub async fn wait_for_job(&self, job_id: &str) -> bool {
        match self {
            Self::BigQuery(bigquery) => bigquery.dataset().wait_for_job(job_id).await,
            // A SQLite file has no jobs.
            #[cfg(feature = "local")]
            Self::Sqlite(_) => false,
        }
    }

    /// Fails if the warehouse denied a load of this table recently and nothing but another load could find
    /// out more.
    pub fn fail_if_denied(&self, load: &Load<'_>) -> Result<(), Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.fail_if_denied(load),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Returns whether [`Self::check_or_create_table`] must succeed before Spotify is read, because the
    /// warehouse denied checking or creating the table recently.
    pub fn must_check_first(&self, load: &Load<'_>) -> bool {
        match self {
            Self::BigQuery(bigquery) => bigquery.must_check_first(load),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => false,
        }
    }

    /// Checks the table, and creates it if it does not exist.
    pub async fn check_or_create_table(&self, load: &Load<'_>) -> Result<TableState, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.check_or_create_table(load).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.check_table(load).await,
        }
    }

    /// Checks the table before its load. Fails if the name belongs to a view, a table with other columns or
    /// anything else that the service must not replace.
    pub async fn check_table(&self, load: &Load<'_>) -> Result<TableState, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.check_table(load).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.check_table(load).await,
        }
    }

    /// Replaces the table's rows, with load job number `n` unless that one exists. Creates a missing table
    /// first, with its description.
    pub async fn replace_table(
        &self,
        load: &Load<'_>,
        n: u32,
        state: TableState,
        rows: &Rows,
        origin: &Origin,
        context: &Context,
    ) -> Result<CompletedLoad, Failure> {
        let _timed = context.meter.load_ms.timed();
        match self {
            Self::BigQuery(bigquery) => {
                bigquery.replace_table(load, n, state, rows, origin, context).await
            }
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.replace_table(load, n, rows, origin).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Kind, Term};

    #[test]
    fn a_loads_id_depends_on_each_part() {
        let job = |table: &str| Job {
            kind: Kind::Podcasts,
            term: Term::parse("x").unwrap(),
            show: None,
            table: table.to_owned(),
            max_missing_percent: 2,
        };
        let (a, b) = (job("a"), job("b"));
        let ids = [
            Load::new(&a, "p.d", "1", "t").id,
            Load::new(&b, "p.d", "1", "t").id,
            Load::new(&a, "p.e", "1", "t").id,
            Load::new(&a, "p.d", "2", "t").id,
            Load::new(&a, "p.d", "1", "u").id,
            Load::new(&a, "p.d", "1t", "").id,
        ];
        let distinct: std::collections::HashSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(ids[0], Load::new(&a, "p.d", "1", "t").id);
        assert!(ids[0].starts_with("spotify-bq_podcasts_"));
    }
}
