//! `publish --wait`: follows the load jobs that the published messages lead to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

use super::Error;
use super::publish::understand;
use crate::config::Config;
use crate::failure::Failure;
use crate::google::GoogleCredentials;
use crate::job::{Order, Request};
use crate::text;
use crate::warehouse::{JobFacts, Warehouse};

/// Pauses between two looks: the first soon, later ones longer.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_secs(5);
/// Clocks of this machine and Google's may differ by this much.
const SKEW: Duration = Duration::from_secs(5);

/// The warehouse's load jobs, watched from before messages are published.
pub(super) struct Watch {
    warehouse: Warehouse,
    since: u64,
    told: BTreeSet<String>,
}

impl Watch {
    /// Notes the loads that have nothing to do with what will be published.
    pub(super) async fn start(config: &Config) -> Result<Self, Error> {
        let google = Arc::new(GoogleCredentials::new(config));
        let warehouse = Warehouse::new(config, &google)?;
        if warehouse.bigquery().is_none() {
            return Err(Error::usage(
                "--wait follows BigQuery's jobs, and WAREHOUSE is a SQLite file; push with --url \
                 instead",
            ));
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = u64::try_from(now.saturating_sub(SKEW).as_millis()).unwrap_or(u64::MAX);
        let mut watch = Self { warehouse, since, told: BTreeSet::new() };
        let before = watch.loads().await.map_err(|failure| failure.explained())?;
        watch.told.extend(before.into_iter().map(|load| load.id));
        Ok(watch)
    }

    async fn loads(&self) -> Result<Vec<JobFacts>, Failure> {
        let Some(bigquery) = self.warehouse.bigquery() else { return Ok(Vec::new()) };
        bigquery.loads_since(self.since).await
    }

    /// Waits until each table that the messages mean has been loaded, and tells of each load.
    pub(super) async fn follow(mut self, config: &Config, orders: &[Order]) -> Result<bool, Error> {
        let mut waiting = tables(config, orders)?;
        let end = Instant::now() + config.timing.message_deadline;
        let mut pause = FIRST_LOOK;
        while !waiting.is_empty() && Instant::now() < end {
            sleep(pause).await;
            pause = pause.mul_f64(1.5).min(LAST_LOOK);
            let loads = match self.loads().await {
                Ok(loads) => loads,
                // What was published is published; the next look may succeed.
                Err(Failure::WarehouseUnavailable { .. }) => continue,
                Err(failure) => return Err(failure.explained().into()),
            };
            for load in loads.into_iter().filter(JobFacts::is_done) {
                let Some([_, _, table]) = &load.destination else { continue };
                if !waiting.contains(table) || !self.told.insert(load.id.clone()) {
                    continue;
                }
                match &load.error {
                    None => {
                        let rows = load.rows.map_or("its".to_owned(), |rows| rows.to_string());
                        say!("{table}: {rows} rows, job {}", load.id);
                        waiting.remove(table);
                    }
                    Some((_, messages)) => {
                        let error = text::excerpt(&messages.join("; "), 300);
                        say!("{table}: job {} failed, waiting for the next: {error}", load.id);
                    }
                }
            }
        }
        for table in &waiting {
            say!(
                "{table}: no load within {} s. What to do: look at the service's log and the dead letters \
             (spotify-bq redrive --dry-run)",
                config.timing.message_deadline.as_secs()
            );
        }
        Ok(waiting.is_empty())
    }
}

/// The tables that the messages mean, those of fan-outs included.
fn tables(config: &Config, orders: &[Order]) -> Result<BTreeSet<String>, Error> {
    let mut tables = BTreeSet::new();
    for order in orders {
        match understand(config, order)? {
            Request::Load(job) => {
                tables.insert(job.table);
            }
            Request::FanOut(orders) => {
                for order in &orders {
                    if let Request::Load(job) = understand(config, order)? {
                        tables.insert(job.table);
                    }
                }
            }
        }
    }
    Ok(tables)
}
