//! Checks each load: its rows must be the complete listing of one version, or lack no more than the tolerance
//! allows, with a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::catalog::{Catalog, TERMS};
use super::run::Simulation;
use crate::support::bigquery::Loaded;
use crate::support::log::Line;

/// Loads of all seeds that used the reading of another table.
pub static SHARED: AtomicUsize = AtomicUsize::new(0);

/// Loads of all seeds that lacked rows within the tolerance.
pub static TOLERATED: AtomicUsize = AtomicUsize::new(0);

/// A load with its log line and the labels of its job.
struct Load<'a> {
    loaded: &'a Loaded,
    kind: &'static str,
    term: usize,
    /// The line with the outcome `loaded`, or `None` if the process ended before it wrote the line.
    line: Option<&'a Line>,
    message: String,
    read_at: SystemTime,
}

/// Returns an error for each wrong load.
pub fn violations(sim: &Simulation) -> Vec<String> {
    let history = sim.world.bigquery.state.lock().unwrap().history.clone().unwrap_or_default();
    let lines = sim.lines.lock().unwrap();
    let lines: BTreeMap<&str, &Line> = lines
        .iter()
        .filter(|line| line["outcome"] == "loaded")
        .filter_map(|line| Some((line.get("job_id")?.as_str(), line)))
        .collect();
    let loads: Vec<Load<'_>> = history
        .iter()
        .map(|loaded| Load::new(sim, loaded, lines.get(loaded.job.as_str()).copied()))
        .collect();
    let mut catalog = sim.catalog.lock().unwrap();
    let mut violations: Vec<String> = loads
        .iter()
        .filter_map(|load| {
            let why = load.check(&mut catalog, sim).err()?;
            Some(format!("{}: {why}; log line: {:?}", load.loaded.job, load.line))
        })
        .collect();
    if sim.plan.instances == 1 {
        violations.extend(reading_violations(&loads, sim.plan.readings_stay_in_order()));
    }
    violations
}

/// Returns an error if two messages loaded a table from the same reading, or if an older reading replaced a
/// newer one.
fn reading_violations(loads: &[Load<'_>], in_order: bool) -> Vec<String> {
    let mut violations = Vec::new();
    let mut of_table: BTreeMap<&str, Vec<&Load<'_>>> = BTreeMap::new();
    for load in loads.iter().filter(|load| load.kind != "podcasts") {
        let previous = of_table.entry(&load.loaded.table).or_default();
        let again =
            |known: &&&Load<'_>| known.read_at == load.read_at && known.message != load.message;
        if let Some(known) = previous.iter().find(again) {
            violations.push(format!(
                "{} and {} used the same reading for {}",
                known.loaded.job, load.loaded.job, load.loaded.table
            ));
        }
        if in_order && previous.last().is_some_and(|last| last.read_at > load.read_at) {
            violations.push(format!("{} replaced a newer reading", load.loaded.job));
        }
        previous.push(load);
    }
    violations
}

impl<'a> Load<'a> {
    fn new(sim: &Simulation, loaded: &'a Loaded, line: Option<&'a Line>) -> Self {
        let tables = TERMS.iter().enumerate().flat_map(|(term, of)| {
            let kinds = ["podcasts", "episodes", "mentions"];
            of.tables.into_iter().zip(kinds).map(move |(table, kind)| (table, kind, term))
        });
        let (_, kind, term) =
            tables.into_iter().find(|(table, ..)| *table == loaded.table).unwrap();
        let labels = sim.world.bigquery.job(&loaded.job).configuration["labels"].clone();
        let millis = labels["read_at"].as_str().unwrap().parse().unwrap();
        let message = labels["message"].as_str().unwrap().to_owned();
        let read_at = UNIX_EPOCH + Duration::from_millis(millis);
        Self { loaded, kind, term, line, message, read_at }
    }

    fn check(&self, catalog: &mut Catalog, sim: &Simulation) -> Result<(), String> {
        self.check_age(sim)?;
        let ids: BTreeSet<&str> = self.rows().filter_map(|row| row["id"].as_str()).collect();
        if ids.len() != self.loaded.rows.len() {
            return Err(format!("{} rows have {} ids", self.loaded.rows.len(), ids.len()));
        }
        let since = catalog.version_at(self.read_at);
        let with_page_faults = sim.plan.page_faults > 0;
        match self.kind {
            "podcasts" => self.check_podcasts(catalog, since, with_page_faults),
            _ => self.check_episodes(catalog, since, with_page_faults),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Value> {
        self.loaded.rows.iter()
    }

    /// Checks that the reading is newer than the message, unless it is shared.
    fn check_age(&self, sim: &Simulation) -> Result<(), String> {
        let Some(line) = self.line else { return Ok(()) };
        if line.get("shared_reading").is_some_and(|shared| shared == "true") {
            SHARED.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let messages = sim.settled.iter().map(|(message, _)| message);
        let mut of_it =
            messages.filter(|message| message.push.id.replace(' ', "_") == self.message);
        // The label has whole milliseconds.
        let is_older = |published: SystemTime| self.read_at + Duration::from_millis(1) < published;
        match of_it.next().map(|message| message.published) {
            Some(published) if is_older(published) => {
                Err("it was read before its message was published, and is not shared".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks that the rows are those of one version, except for what the log line allows to lack.
    fn check_episodes(
        &self,
        catalog: &mut Catalog,
        since: u64,
        with_page_faults: bool,
    ) -> Result<(), String> {
        let mut fewest_missing = usize::MAX;
        for version in since..=catalog.version {
            let shown = catalog.rows(self.kind, self.term, version);
            if shown == self.loaded.rows {
                return Ok(());
            }
            let by_id = by_id(&shown);
            let is_listed = |row: &Value| by_id.get(id(row)).is_some_and(|shown| *shown == row);
            if !with_page_faults || !self.rows().all(is_listed) {
                continue;
            }
            let missing = shown.len() - self.loaded.rows.len();
            let (items, nulls) = catalog.item_counts(false, self.term, version);
            if self.line.is_none() || missing <= self.allowed(nulls, (items * 2 / 100).max(2)) {
                return Ok(());
            }
            fewest_missing = fewest_missing.min(missing);
        }
        if with_page_faults && self.is_tolerated_row_by_row(catalog, since) {
            return Ok(());
        }
        let until = catalog.version;
        Err(match fewest_missing {
            usize::MAX => format!(
                "the {1} rows of {0} are not those of one version from {since} to {until}",
                self.loaded.table,
                self.loaded.rows.len()
            ),
            missing => format!("{} lacks {missing} rows without a warning", self.loaded.table),
        })
    }

    /// Returns whether each row is in a version, and the log line allows the missing rows. If a listing has
    /// faults while it changes, the service may mix versions, because it compares IDs and not texts. Without
    /// a log line, it is unknown how many rows may be missing.
    fn is_tolerated_row_by_row(&self, catalog: &mut Catalog, since: u64) -> bool {
        if self.line.is_some_and(|line| !line.contains_key("listed")) {
            return false;
        }
        let versions = since..=catalog.version;
        let shown: Vec<Vec<Value>> =
            versions.map(|version| catalog.rows(self.kind, self.term, version)).collect();
        let shown: Vec<BTreeMap<&str, &Value>> = shown.iter().map(|rows| by_id(rows)).collect();
        let is_listed = |row: &Value| {
            shown.iter().any(|shown| shown.get(id(row)).is_some_and(|shown| *shown == row))
        };
        let (items, nulls) = catalog.item_counts(false, self.term, since);
        // The reading may end before the next change.
        let missing = shown[0].len().saturating_sub(self.loaded.rows.len());
        let is_allowed =
            self.line.is_none() || missing <= self.allowed(nulls, (items * 2 / 100).max(2));
        is_allowed && self.rows().all(is_listed)
    }

    /// Checks that each row is in a version, and that no more are missing than the log line allows.
    fn check_podcasts(
        &self,
        catalog: &mut Catalog,
        since: u64,
        with_page_faults: bool,
    ) -> Result<(), String> {
        let versions = since..=catalog.version;
        let catalog_rows: Vec<Vec<Value>> =
            versions.map(|version| catalog.all_shows(self.term, version)).collect();
        let shown: Vec<BTreeMap<&str, &Value>> =
            catalog_rows.iter().map(|rows| by_id(rows)).collect();
        let is_listed = |row: &Value| {
            shown.iter().any(|shown| shown.get(id(row)).is_some_and(|shown| *shown == row))
        };
        if let Some(row) = self.rows().find(|row| !is_listed(row)) {
            return Err(format!("{} has {row}, which Spotify did not list", self.loaded.table));
        }
        let is_in_order =
            |(n, row): (usize, &Value)| catalog_rows.iter().any(|shown| shown.get(n) == Some(row));
        if !with_page_faults && !self.rows().enumerate().all(is_in_order) {
            return Err(format!("{} is not in Spotify's order", self.loaded.table));
        }
        let (items, nulls) = catalog.item_counts(true, self.term, since);
        let expected = 50.min(shown[0].len());
        let missing = expected.saturating_sub(self.loaded.rows.len());
        if self.line.is_some() && missing > self.allowed(nulls, (items.min(50) / 10).max(2)) {
            return Err(format!("{} lacks {missing} of {expected} shows", self.loaded.table));
        }
        Ok(())
    }

    /// Returns how many rows may be missing according to the log line.
    fn allowed(&self, nulls: usize, tolerated: usize) -> usize {
        let value = |key: &str| self.line.and_then(|line| line.get(key));
        let number = |key: &str| value(key).map_or(0, |number| number.parse::<usize>().unwrap());
        let is_warned = value("level").is_some_and(|level| level.starts_with("WARN"))
            && value("reason")
                .is_some_and(|why| ["within_tolerance", "table_shrank"].contains(&why.as_str()));
        let tolerated = if value("listed").is_some() && is_warned {
            TOLERATED.fetch_add(1, Ordering::Relaxed);
            tolerated
        } else {
            0
        };
        number("skipped_nulls").saturating_sub(nulls) + tolerated
    }
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap_or_default()
}

fn by_id(rows: &[Value]) -> BTreeMap<&str, &Value> {
    rows.iter().map(|row| (id(row), row)).collect()
}
