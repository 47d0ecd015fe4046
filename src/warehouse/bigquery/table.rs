//! Tables: reading what BigQuery says about one, deciding whether it is ours to load, creating it.

use std::time::SystemTime;

use gcp_bigquery_client::model::table::Table;
use serde_json::Value;

use super::BigQuery;
use super::answer::Refusal;
use super::denials::Call;
use super::jobs::{number, string, time};
use super::words;
use crate::failure::Failure;
use crate::names::Kind;
use crate::text;
use crate::warehouse::schema::{FoundColumn, differences, table_description, table_schema};
use crate::warehouse::{Load, TableState};

/// The longest list of differences in an error, in bytes. A foreign table may have 10,000 columns.
const MAX_DIFFERENCES: usize = 1000;

/// The longest table type in an error, in bytes. BigQuery's longest today is `MATERIALIZED_VIEW`.
const MAX_TYPE: usize = 40;

/// The parts of a `tables.get` answer that the service needs. Each may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableInfo {
    /// `TABLE`, `VIEW`, `EXTERNAL`, `SNAPSHOT`, `MATERIALIZED_VIEW` or a newer type; empty if the
    /// answer has none.
    pub(crate) r#type: String,
    /// Empty if the table has no schema.
    pub(crate) columns: Vec<FoundColumn>,
    pub(crate) rows: Option<u64>,
    pub(crate) modified: Option<SystemTime>,
}

impl TableInfo {
    /// Reads a `tables.get` answer.
    pub(crate) fn from_json(table: &Value) -> Self {
        let columns = table["schema"]["fields"].as_array().into_iter().flatten();
        Self {
            r#type: string(&table["type"]),
            columns: columns.map(column).collect(),
            rows: number(&table["numRows"]),
            modified: time(&table["lastModifiedTime"]),
        }
    }

    /// Decides whether the table is ours to load with rows of this kind.
    pub(crate) fn check(&self, kind: Kind, table: &str) -> Result<TableState, Failure> {
        let table = table.to_owned();
        if !matches!(self.r#type.as_str(), "" | "TABLE") {
            let what = text::excerpt(&self.r#type, MAX_TYPE);
            return Err(Failure::NotATable { table, what });
        }
        let differences = differences(kind, &self.columns);
        // A table without columns gets those of its first load.
        if self.columns.is_empty() || differences.is_empty() {
            Ok(TableState::Existing { rows: self.rows })
        } else {
            let differences = text::excerpt(&differences.join("; "), MAX_DIFFERENCES);
            Err(Failure::ForeignColumns { table, differences })
        }
    }
}

fn column(field: &Value) -> FoundColumn {
    let mut r#type = string(&field["type"]);
    let limits: Vec<String> = ["maxLength", "precision", "scale"]
        .iter()
        .filter_map(|key| number(&field[*key]))
        .map(|limit| limit.to_string())
        .collect();
    if !limits.is_empty() {
        r#type = format!("{type}({})", limits.join(", "));
    }
    let mode = field["mode"].as_str().map(str::to_owned);
    FoundColumn { name: string(&field["name"]), r#type, mode }
}

impl BigQuery {
    pub(super) async fn look_once(&self, load: &Load<'_>) -> Result<TableState, Failure> {
        // The load needs the location, and a missing dataset is found out early.
        let (found, location) =
            futures_util::future::join(self.get_table(&load.job.table), self.location()).await;
        location?;
        match found? {
            None => Ok(TableState::Missing),
            Some(facts) => facts.check(load.job.kind, &load.job.table),
        }
    }

    /// Reads a `tables.get` answer. Returns `None` if it does not exist.
    pub(crate) async fn get_table(&self, table: &str) -> Result<Option<TableInfo>, Failure> {
        match self.api.get(&self.tables_url(Some(table))).await {
            Ok(found) => Ok(Some(TableInfo::from_json(&found))),
            Err(Refusal::NotFound(words)) if !words::is_about_dataset(&words) => Ok(None),
            Err(refusal) => Err(self.failed(refusal, "tables.get")),
        }
    }

    /// Creates a table with its description, which a load job cannot give it. Another process may
    /// have been first; then that table must be ours as well.
    pub(super) async fn create(&self, load: &Load<'_>) -> Result<(), Failure> {
        let (kind, name) = (load.job.kind, &load.job.table);
        let table = Table::new(&self.project, &self.dataset, name, table_schema(kind))
            .description(&table_description(kind));
        match self.api.post(&self.tables_url(None), &table).await {
            Ok(_) => {
                self.denials.asked(name);
                Ok(())
            }
            Err(Refusal::Duplicate) => self.check_table(load).await.map(|_| ()),
            Err(refusal) => {
                let failure = self.failed(refusal, "tables.insert");
                Err(self.denials.remember(name, Call::Look, failure))
            }
        }
    }

    fn tables_url(&self, table: Option<&str>) -> url::Url {
        let path = ["bigquery", "v2", "projects", &self.project, "datasets", &self.dataset];
        let path: Vec<&str> = path.into_iter().chain(["tables"]).chain(table).collect();
        self.api.url(&path)
    }
}
