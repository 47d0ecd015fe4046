//! The tables' columns and descriptions, parsed from the files from which Terraform creates the tables.

use gcp_bigquery_client::model::table_field_schema::TableFieldSchema;
use gcp_bigquery_client::model::table_schema::TableSchema;
use serde::Deserialize;

use crate::names::Kind;

const TABLES_JSON: &str = include_str!("../../terraform/schemas/tables.json");
const PODCASTS_JSON: &str = include_str!("../../terraform/schemas/podcasts.json");
const EPISODES_JSON: &str = include_str!("../../terraform/schemas/episodes.json");

/// A column of the schema files.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The type as BigQuery's API spells it.
    pub r#type: String,
    pub description: String,
}

/// Returns the columns that a table of this kind must have.
pub fn schema(kind: Kind) -> Vec<Column> {
    // The files are compiled in, and a test below parses them.
    serde_json::from_str(columns_json(kind)).unwrap_or_default()
}

pub fn table_description(kind: Kind) -> String {
    let tables: serde_json::Value = serde_json::from_str(TABLES_JSON).unwrap_or_default();
    tables[kind.name()]["description"].as_str().unwrap_or_default().to_owned()
}

/// Returns the columns as the client library's type.
pub(super) fn table_schema(kind: Kind) -> TableSchema {
    let fields: Vec<TableFieldSchema> =
        serde_json::from_str(columns_json(kind)).unwrap_or_default();
    TableSchema { fields: Some(fields) }
}

fn columns_json(kind: Kind) -> &'static str {
    match kind {
        Kind::Podcasts => PODCASTS_JSON,
        Kind::Episodes | Kind::Mentions => EPISODES_JSON,
    }
}

/// A column of an existing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundColumn {
    pub name: String,
    /// The type as the warehouse spells it, with a length if it has one: `STRING(10)`.
    pub r#type: String,
    /// `REQUIRED`, `REPEATED` or `NULLABLE`; the service's own columns are all `NULLABLE`.
    pub mode: Option<String>,
}

/// Returns how the columns of a table differ from the expected ones, column by column.
pub fn differences(kind: Kind, found: &[FoundColumn]) -> Vec<String> {
    let expected = schema(kind);
    let mut differences = Vec::new();
    for Column { name, r#type, .. } in &expected {
        let Some(column) = found.iter().find(|column| column.name.eq_ignore_ascii_case(name))
        else {
            differences.push(format!("{name} is missing"));
            continue;
        };
        if canonical(&column.r#type) != canonical(r#type) {
            differences.push(format!("{name} is {}, expected {type}", column.r#type));
        }
        if let Some(mode) = column.mode.as_ref().filter(|mode| *mode != "NULLABLE") {
            differences.push(format!("{name} is {mode}, expected NULLABLE"));
        }
    }
    for FoundColumn { name, r#type, .. } in found {
        if !expected.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
            differences.push(format!("unexpected column {name} {type}"));
        }
    }
    differences
}

/// Returns one name for a type for which BigQuery has two.
fn canonical(r#type: &str) -> &str {
    match r#type {
        "INT64" => "INTEGER",
        "BOOL" => "BOOLEAN",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(kind: Kind) -> Vec<FoundColumn> {
        let columns = schema(kind).into_iter();
        columns
            .map(|column| FoundColumn { name: column.name, r#type: column.r#type, mode: None })
            .collect()
    }

    #[test]
    fn the_schema_files_can_be_parsed() {
        let tables: serde_json::Value = serde_json::from_str(TABLES_JSON).unwrap();
        for kind in Kind::ALL {
            assert!(!table_description(kind).is_empty());
            let columns = expected(kind);
            let as_table_schema = table_schema(kind).fields.unwrap();
            assert_eq!(columns.len(), as_table_schema.len());
            let file = if kind == Kind::Podcasts { "podcasts.json" } else { "episodes.json" };
            assert_eq!(tables[kind.name()]["schema"], file);
        }
        assert_eq!(expected(Kind::Podcasts).len() + expected(Kind::Episodes).len(), 12);
    }

    #[test]
    fn differences_are_listed_column_by_column() {
        let mut found = expected(Kind::Podcasts);
        assert_eq!(differences(Kind::Podcasts, &found), [""; 0]);
        found[3].r#type = "INT64".to_owned();
        found[3].mode = Some("NULLABLE".to_owned());
        assert_eq!(differences(Kind::Podcasts, &found), [""; 0]);
        found[3].r#type = "RANGE".to_owned();
        found[2].mode = Some("REQUIRED".to_owned());
        found[1].r#type = "STRING(10)".to_owned();
        found[0].name = "nome".to_owned();
        assert_eq!(
            differences(Kind::Podcasts, &found),
            [
                "name is missing",
                "description is STRING(10), expected STRING",
                "id is REQUIRED, expected NULLABLE",
                "total_episodes is RANGE, expected INTEGER",
                "unexpected column nome STRING"
            ]
        );
    }
}
