//! The warehouse: BigQuery, or a SQLite file on a developer's machine. Each replaces a table completely or
//! not at all, and records which message the load was for, so that a redelivered message changes nothing.

mod bigquery;
pub(crate) mod labels;
mod load;
mod schema;
#[cfg(feature = "local")]
mod sqlite;

use std::sync::Arc;

use crate::config::{self, Config};
use crate::context::Context;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::rows::Rows;

pub use bigquery::BigQuery;
pub(crate) use bigquery::Dataset;
pub(crate) use bigquery::error::failure_of_response;
pub(crate) use bigquery::jobs::{JobError, JobInfo};
pub(crate) use bigquery::table::TableInfo;
pub use bigquery::upload::multipart_body;
pub use load::{CompletedLoad, EarlierLoads, Load, Origin, TableState};
pub use schema::{Column, FoundColumn, differences, schema, table_description};
#[cfg(feature = "local")]
pub use sqlite::Sqlite;

/// The warehouse that holds the tables.
#[derive(Debug)]
pub enum Warehouse {
    BigQuery(Box<BigQuery>),
    #[cfg(feature = "local")]
    Sqlite(Sqlite),
}

impl Warehouse {
    /// Makes no call.
    pub fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Result<Self, String> {
        match &config.warehouse {
            config::Warehouse::BigQuery(settings) => BigQuery::new(settings, config, google)
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
            Self::BigQuery(bigquery) => Some(&bigquery.dataset),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => None,
        }
    }

    /// Returns `project.dataset`, or the path of the SQLite file.
    pub fn name(&self) -> String {
        match self {
            Self::BigQuery(bigquery) => bigquery.dataset.id(),
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.name(),
        }
    }

    /// Looks up the loads of the message's earlier deliveries. Waits for one that has not ended.
    pub async fn find_earlier_loads(
        &self,
        load: &Load,
        context: &Context,
    ) -> Result<EarlierLoads, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.find_earlier_loads(load, context).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.find_earlier_loads(load).await,
        }
    }

    /// Waits until a load job has ended, and ignores errors meanwhile. Gives up if the job does not exist or
    /// takes longer than six hours. Returns whether the job replaced the table.
    pub async fn wait_for_job(&self, job_id: &str) -> bool {
        match self {
            Self::BigQuery(bigquery) => bigquery.dataset.wait_for_job(job_id).await,
            // A SQLite file has no jobs.
            #[cfg(feature = "local")]
            Self::Sqlite(_) => false,
        }
    }

    /// Fails if the warehouse recently denied a load of this table, and only another load job could show
    /// whether it still does.
    pub fn fail_if_denied(&self, load: &Load) -> Result<(), Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.denials.fail_if_denied(&load.job.table),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Returns whether [`Self::check_or_create_table`] must succeed before Spotify is read, because the
    /// warehouse denied checking or creating the table recently.
    pub fn must_check_first(&self, load: &Load) -> bool {
        match self {
            Self::BigQuery(bigquery) => bigquery.denials.must_check_first(&load.job.table),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => false,
        }
    }

    /// Checks the table, and creates it if it does not exist.
    pub async fn check_or_create_table(&self, load: &Load) -> Result<TableState, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.check_or_create_table(load).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.check_table(load).await,
        }
    }

    /// Checks the table before its load. Fails if the name belongs to a view, a table with other columns or
    /// anything else that the service must not replace.
    pub async fn check_table(&self, load: &Load) -> Result<TableState, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.check_table(load).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.check_table(load).await,
        }
    }

    /// Replaces the table's rows. The first load job has number `n`; if another delivery has sent it, its
    /// result counts. Creates a missing table first, with its description.
    pub async fn replace_table(
        &self,
        load: &Load,
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
