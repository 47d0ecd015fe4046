//! A load of a table: its ID, and what the warehouse finds before and after it. Pure.

use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::job::Job;
use crate::names::ChosenShow;

/// The load of a table that a message asks for.
#[derive(Debug)]
pub struct Load {
    pub job: Job,
    pub message_id: String,
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
    /// Whether the rows are from a reading that was made earlier. `None` if the load job's labels lack it.
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

impl Load {
    /// Derives the load's ID from the message, the table and `warehouse`, a `Warehouse::name`. The
    /// message's ID alone is not enough: it is unique only within its topic, and an emulator counts from
    /// 1 at each start.
    pub fn new(job: &Job, warehouse: &str, message_id: &str, publish_time: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [warehouse, &job.table, message_id, publish_time] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hex = hex(&hash.finalize()[..16]);
        let id = format!("spotify-bq_{}_{hex}", job.kind);
        Self { job: job.clone(), message_id: message_id.to_owned(), id }
    }

    /// Returns the ID of load job number `n`, counted from 0.
    pub fn job_id(&self, n: u32) -> String {
        format!("{}_{n}", self.id)
    }

    /// Returns whether this is the ID of one of the load's jobs.
    pub fn has_load_job(&self, job_id: &str) -> bool {
        job_id.rsplit_once('_').is_some_and(|(id, _)| id == self.id)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
