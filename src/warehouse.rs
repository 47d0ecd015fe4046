//! Where tables live: BigQuery, or a SQLite file on one's own machine. Either replaces a table whole
//! or not at all, and remembers which message's load it was, so that a message that comes again
//! changes nothing.

mod bigquery;
pub(crate) mod labels;
mod schema;
#[cfg(feature = "local")]
mod sqlite;

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::config::{self, Config};
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::job::Job;
use crate::meter::Meter;
use crate::names::ChosenShow;
use crate::rows::Rows;

pub use bigquery::BigQuery;
pub(crate) use bigquery::answer::refusal;
pub(crate) use bigquery::history::Mark;
pub(crate) use bigquery::jobs::JobFacts;
pub(crate) use bigquery::table::TableFacts;
pub use bigquery::upload::multipart;
pub use schema::{Column, FoundColumn, differences, schema, table_description};
#[cfg(feature = "local")]
pub use sqlite::Sqlite;

/// Where tables live.
#[derive(Debug)]
pub enum Warehouse {
    /// BigQuery.
    BigQuery(Box<BigQuery>),
    /// A SQLite file.
    #[cfg(feature = "local")]
    Sqlite(Sqlite),
}

/// One message's load of one table.
#[derive(Debug)]
pub struct Load<'a> {
    /// What is loaded.
    pub job: &'a Job,
    /// The message's id, as Pub/Sub gave it.
    pub message_id: &'a str,
    /// The same for every delivery of the message: the load's id, but for the number of the try.
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

/// A table that may be loaded. If it may not, the failure says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The table does not exist. It is created before the load.
    Absent,
    /// The table has our columns, or no columns yet.
    Ours {
        /// The number of rows, if the warehouse returns it.
        rows: Option<u64>,
    },
}

impl Standing {
    /// Returns the number of rows before the load.
    pub fn rows_before(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Ours { rows } => rows,
        }
    }
}

/// What became of a message's earlier loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// One of them replaced the table.
    Done(Loaded),
    /// None did; this is the number of the next try.
    Next(u32),
}

/// What a load came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The load job's id.
    pub job_id: String,
    /// Whether another delivery of the message had done it already.
    pub earlier: bool,
    /// The number of rows that the load wrote, if the job says so.
    pub rows: Option<u64>,
    /// When the load ended, if the job says so.
    pub ended_at: Option<SystemTime>,
    /// What the job's labels say about the rows.
    pub origin: Option<Origin>,
}

impl<'a> Load<'a> {
    /// The load that a message means. A message's id is unique within its topic only, and an
    /// emulator counts from 1 at each start, so the id takes in where the table is and when the
    /// message was published.
    pub fn new(job: &'a Job, place: &str, message_id: &'a str, publish_time: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [place, &job.table, message_id, publish_time] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hex = labels::hex(&hash.finalize()[..16]);
        Self { job, message_id, id: format!("spotify-bq_{}_{hex}", job.kind) }
    }

    /// The id of try number `n`.
    pub fn try_id(&self, n: u32) -> String {
        format!("{}_{n}", self.id)
    }

    /// Returns whether a job is one of this load's tries.
    pub fn is_try(&self, job_id: &str) -> bool {
        job_id.rsplit_once('_').is_some_and(|(id, _)| id == self.id)
    }
}

impl Warehouse {
    /// The configured warehouse; no call is made.
    pub fn new(config: &Config, google: &Arc<GoogleCredentials>) -> Result<Self, String> {
        match &config.warehouse {
            config::Warehouse::BigQuery(bigquery) => {
                BigQuery::new(bigquery, &config.timing, google)
                    .map(|bigquery| Self::BigQuery(Box::new(bigquery)))
            }
            #[cfg(feature = "local")]
            config::Warehouse::Sqlite(file) => Ok(Self::Sqlite(Sqlite::new(file))),
            #[cfg(not(feature = "local"))]
            config::Warehouse::Sqlite(_) => Err("built without SQLite".to_owned()),
        }
    }

    /// BigQuery, if that is where tables live.
    pub(crate) fn bigquery(&self) -> Option<&BigQuery> {
        match self {
            Self::BigQuery(bigquery) => Some(bigquery),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => None,
        }
    }

    /// Project and dataset, or the file: what tells this warehouse's tables from another's.
    pub fn place(&self) -> String {
        match self {
            Self::BigQuery(bigquery) => bigquery.place(),
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.place(),
        }
    }

    /// What became of the message's earlier loads. Waits for one that is running.
    pub async fn earlier(&self, load: &Load<'_>, meter: &Meter) -> Result<Earlier, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.earlier(load, meter).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.earlier(load).await,
        }
    }

    /// Waits until a load job has ended, whatever fails meanwhile. Returns whether it replaced the table.
    pub async fn follow(&self, job_id: &str) -> bool {
        match self {
            Self::BigQuery(bigquery) => bigquery.follow(job_id).await,
            // A file has no jobs.
            #[cfg(feature = "local")]
            Self::Sqlite(_) => false,
        }
    }

    /// Returns whether [`Self::prepare`] must succeed before Spotify is read, because the warehouse
    /// denied something recently. Fails if a load can't succeed yet.
    pub fn ask_first(&self, load: &Load<'_>) -> Result<bool, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.ask_first(load),
            #[cfg(feature = "local")]
            Self::Sqlite(_) => Ok(false),
        }
    }

    /// Looks at the table, and creates it if it does not exist.
    pub async fn prepare(&self, load: &Load<'_>) -> Result<Standing, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.prepare(load).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.look(load).await,
        }
    }

    /// Looks at the table once, before its load. Fails if it is not ours to load.
    pub async fn look(&self, load: &Load<'_>) -> Result<Standing, Failure> {
        match self {
            Self::BigQuery(bigquery) => bigquery.look(load).await,
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.look(load).await,
        }
    }

    /// Replaces the table by `rows`, as try number `n` unless that was used meanwhile. A table that
    /// the look found absent is created first, with its description.
    pub async fn replace(
        &self,
        load: &Load<'_>,
        n: u32,
        standing: Standing,
        rows: &Rows,
        origin: &Origin,
        meter: &Meter,
    ) -> Result<Loaded, Failure> {
        let _timed = meter.load_ms.timed();
        match self {
            Self::BigQuery(bigquery) => {
                bigquery.replace(load, n, standing, rows, origin, meter).await
            }
            #[cfg(feature = "local")]
            Self::Sqlite(sqlite) => sqlite.replace(load, n, rows, origin).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Kind, Term};

    #[test]
    fn each_part_of_a_loads_identity_counts() {
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
