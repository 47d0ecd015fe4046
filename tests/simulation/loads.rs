//! What each load may have made of its table, whatever Spotify showed: the whole listing as it was at
//! one moment, or all but what the tolerance allows, said at WARNING.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::catalogue::{Catalogue, TERMS};
use super::world::Sim;
use crate::support::bigquery::Loaded;
use crate::support::log::Line;

/// Loads that used the reading of another table, over all seeds.
pub static SHARED: AtomicUsize = AtomicUsize::new(0);

/// Loads that lacked what the tolerance allows, over all seeds.
pub static TOLERATED: AtomicUsize = AtomicUsize::new(0);

/// A load with what the service and its job say of it.
struct Load<'a> {
    loaded: &'a Loaded,
    kind: &'static str,
    term: usize,
    /// The line with the outcome `loaded`; none if the process ended before it was written.
    line: Option<&'a Line>,
    message: String,
    read_at: SystemTime,
}

/// What is wrong with any load.
pub fn complaints(sim: &Sim) -> Vec<String> {
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
    let mut catalogue = sim.catalogue.lock().unwrap();
    let mut complaints: Vec<String> = loads
        .iter()
        .filter_map(|load| {
            let why = load.check(&mut catalogue, sim).err()?;
            Some(format!("{}: {why}; its line: {:?}", load.loaded.job, load.line))
        })
        .collect();
    if sim.plan.instances == 1 {
        complaints.extend(order(&loads, sim.plan.readings_keep_their_order()));
    }
    complaints
}

/// No table gets one reading by two messages, nor an older reading after a newer one.
fn order(loads: &[Load<'_>], in_order: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut of_table: BTreeMap<&str, Vec<&Load<'_>>> = BTreeMap::new();
    for load in loads.iter().filter(|load| load.kind != "podcasts") {
        let earlier = of_table.entry(&load.loaded.table).or_default();
        let again =
            |known: &&&Load<'_>| known.read_at == load.read_at && known.message != load.message;
        if let Some(known) = earlier.iter().find(again) {
            complaints.push(format!(
                "{} and {} use one reading for {}",
                known.loaded.job, load.loaded.job, load.loaded.table
            ));
        }
        if in_order && earlier.last().is_some_and(|last| last.read_at > load.read_at) {
            complaints.push(format!("{} is older than what it replaces", load.loaded.job));
        }
        earlier.push(load);
    }
    complaints
}

impl<'a> Load<'a> {
    fn new(sim: &Sim, loaded: &'a Loaded, line: Option<&'a Line>) -> Self {
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

    fn check(&self, catalogue: &mut Catalogue, sim: &Sim) -> Result<(), String> {
        self.is_as_new_as_its_message(sim)?;
        let ids: BTreeSet<&str> = self.rows().filter_map(|row| row["id"].as_str()).collect();
        if ids.len() != self.loaded.rows.len() {
            return Err(format!("{} rows have {} ids", self.loaded.rows.len(), ids.len()));
        }
        let since = catalogue.version_at(self.read_at);
        let with_lies = sim.plan.lies > 0;
        match self.kind {
            "podcasts" => self.podcasts(catalogue, since, with_lies),
            _ => self.episodes(catalogue, since, with_lies),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Value> {
        self.loaded.rows.iter()
    }

    /// A message reads after it was published, unless it shares a reading.
    fn is_as_new_as_its_message(&self, sim: &Sim) -> Result<(), String> {
        let Some(line) = self.line else { return Ok(()) };
        if line.get("shared_reading").is_some_and(|shared| shared == "true") {
            SHARED.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let messages = sim.settled.iter().map(|(message, _)| message);
        let mut of_it =
            messages.filter(|message| message.push.id.replace(' ', "_") == self.message);
        // What is told in milliseconds is cut off.
        let is_older = |published: SystemTime| self.read_at + Duration::from_millis(1) < published;
        match of_it.next().map(|message| message.published) {
            Some(published) if is_older(published) => {
                Err("it was read before its message was published, and shares no reading"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether the rows are those of one moment, less what the line admits.
    fn episodes(
        &self,
        catalogue: &mut Catalogue,
        since: u64,
        with_lies: bool,
    ) -> Result<(), String> {
        let mut nearest = usize::MAX;
        for version in since..=catalogue.version {
            let shown = catalogue.rows(self.kind, self.term, version);
            if shown == self.loaded.rows {
                return Ok(());
            }
            let by_id = by_id(&shown);
            let is_true = |row: &Value| by_id.get(id(row)).is_some_and(|shown| *shown == row);
            if !with_lies || !self.rows().all(is_true) {
                continue;
            }
            let lacks = shown.len() - self.loaded.rows.len();
            let (places, nulls) = catalogue.places(false, self.term, version);
            if self.line.is_none() || lacks <= self.admitted(nulls, (places * 2 / 100).max(2)) {
                return Ok(());
            }
            nearest = nearest.min(lacks);
        }
        if with_lies && self.is_tolerated_row_by_row(catalogue, since) {
            return Ok(());
        }
        let until = catalogue.version;
        Err(match nearest {
            usize::MAX => format!(
                "{} with {} rows shows no moment of versions {since} to {until}",
                self.loaded.table,
                self.loaded.rows.len()
            ),
            lacks => format!("{} lacks {lacks} rows and does not say so", self.loaded.table),
        })
    }

    /// Whether each row shows a moment, and the line admits what is missing. A listing that
    /// changes and lies at once can come to that: the rule compares ids, not texts.
    fn is_tolerated_row_by_row(&self, catalogue: &mut Catalogue, since: u64) -> bool {
        if self.line.is_none_or(|line| !line.contains_key("listed")) {
            return false;
        }
        let versions = since..=catalogue.version;
        let shown: Vec<Vec<Value>> =
            versions.map(|version| catalogue.rows(self.kind, self.term, version)).collect();
        let shown: Vec<BTreeMap<&str, &Value>> = shown.iter().map(|rows| by_id(rows)).collect();
        let is_true = |row: &Value| {
            shown.iter().any(|shown| shown.get(id(row)).is_some_and(|shown| *shown == row))
        };
        let (places, nulls) = catalogue.places(false, self.term, since);
        // The reading may end before the next change.
        let lacks = shown[0].len().saturating_sub(self.loaded.rows.len());
        self.rows().all(is_true) && lacks <= self.admitted(nulls, (places * 2 / 100).max(2))
    }

    /// Of a search each row shows a moment, and all are enough.
    fn podcasts(
        &self,
        catalogue: &mut Catalogue,
        since: u64,
        with_lies: bool,
    ) -> Result<(), String> {
        let versions = since..=catalogue.version;
        let catalogue_rows: Vec<Vec<Value>> =
            versions.map(|version| catalogue.all_shows(self.term, version)).collect();
        let shown: Vec<BTreeMap<&str, &Value>> =
            catalogue_rows.iter().map(|rows| by_id(rows)).collect();
        let is_true = |row: &Value| {
            shown.iter().any(|shown| shown.get(id(row)).is_some_and(|shown| *shown == row))
        };
        if let Some(row) = self.rows().find(|row| !is_true(row)) {
            return Err(format!("{row} is no show of {}", self.loaded.table));
        }
        let in_place = |(n, row): (usize, &Value)| {
            catalogue_rows.iter().any(|shown| shown.get(n) == Some(row))
        };
        if !with_lies && !self.rows().enumerate().all(in_place) {
            return Err(format!("{} is not in Spotify's order", self.loaded.table));
        }
        let (places, nulls) = catalogue.places(true, self.term, since);
        let wanted = 50.min(shown[0].len());
        let lacks = wanted.saturating_sub(self.loaded.rows.len());
        if self.line.is_some() && lacks > self.admitted(nulls, (places.min(50) / 10).max(2)) {
            return Err(format!("{} lacks {lacks} of {wanted} shows", self.loaded.table));
        }
        Ok(())
    }

    /// How many rows may be missing by what the line says.
    fn admitted(&self, nulls: usize, tolerated: usize) -> usize {
        let told = |key: &str| self.line.and_then(|line| line.get(key));
        let number = |key: &str| told(key).map_or(0, |number| number.parse::<usize>().unwrap());
        let is_warned = told("level").is_some_and(|level| level.starts_with("WARN"))
            && told("reason")
                .is_some_and(|why| ["within_tolerance", "table_shrank"].contains(&why.as_str()));
        let tolerated = if told("listed").is_some() && is_warned {
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
