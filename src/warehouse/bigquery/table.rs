//! Tables: reading, checking and creating one.

use std::time::SystemTime;

use gcp_bigquery_client::model::table::Table;
use serde_json::Value;
use url::Url;

use super::dataset::Dataset;
use super::error::ApiError;
use super::error_text;
use super::json::{number, string, time};
use crate::failure::Failure;
use crate::names::Kind;
use crate::text;
use crate::warehouse::load::TableState;
use crate::warehouse::schema::{FoundColumn, differences, table_description, table_schema};

/// The longest list of differences in an error. Another service's table may have 10,000 columns.
const MAX_DIFFERENCES_BYTES: usize = 1000;

/// The longest table type in an error, whatever the API returns. BigQuery's longest is `MATERIALIZED_VIEW`.
const MAX_TYPE_BYTES: usize = 40;

/// The parts of a `tables.get` response that the service needs. Each may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableInfo {
    /// `TABLE`, `VIEW`, `EXTERNAL`, `SNAPSHOT`, `MATERIALIZED_VIEW` or a newer type; empty if the
    /// response has none.
    pub(crate) r#type: String,
    /// Empty if the table has no schema.
    pub(crate) columns: Vec<FoundColumn>,
    pub(crate) rows: Option<u64>,
    pub(crate) modified: Option<SystemTime>,
}

impl TableInfo {
    pub(crate) fn from_json(table: &Value) -> Self {
        let columns = table["schema"]["fields"].as_array().into_iter().flatten();
        Self {
            r#type: string(&table["type"]),
            columns: columns.map(parse_column).collect(),
            rows: number(&table["numRows"]),
            modified: time(&table["lastModifiedTime"]),
        }
    }

    /// Returns the table's state. Fails if the table must not be loaded with rows of this kind.
    pub(crate) fn check(&self, kind: Kind, table: &str) -> Result<TableState, Failure> {
        let table = table.to_owned();
        if !matches!(self.r#type.as_str(), "" | "TABLE") {
            let what = text::excerpt(&self.r#type, MAX_TYPE_BYTES);
            return Err(Failure::NotATable { table, what });
        }
        let differences = differences(kind, &self.columns);
        // The first load gives a table without columns its columns.
        if self.columns.is_empty() || differences.is_empty() {
            Ok(TableState::Existing { rows: self.rows })
        } else {
            let differences = text::excerpt(&differences.join("; "), MAX_DIFFERENCES_BYTES);
            Err(Failure::ForeignColumns { table, differences })
        }
    }
}

fn parse_column(field: &Value) -> FoundColumn {
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

impl Dataset {
    /// Returns `None` if the table does not exist. Fails if the dataset does not exist.
    pub(crate) async fn get_table(&self, table: &str) -> Result<Option<TableInfo>, Failure> {
        match self.api.get(&self.tables_url(Some(table))).await {
            Ok(found) => Ok(Some(TableInfo::from_json(&found))),
            Err(ApiError::NotFound(detail)) if !error_text::is_about_dataset(&detail) => Ok(None),
            Err(error) => Err(self.failure(error, &format!("tables.get for {table}"))),
        }
    }

    /// Creates a table with its description, which a load job cannot set.
    pub(super) async fn create_table(&self, kind: Kind, table: &str) -> Result<(), ApiError> {
        let table = Table::new(&self.project, &self.name, table, table_schema(kind))
            .description(&table_description(kind));
        self.api.post(&self.tables_url(None), &table).await.map(drop)
    }

    fn tables_url(&self, table: Option<&str>) -> Url {
        let path = ["datasets", &self.name, "tables"];
        self.url(&path.into_iter().chain(table).collect::<Vec<_>>())
    }
}
