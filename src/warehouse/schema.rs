//! The tables' columns and descriptions, read from the files that Terraform makes the tables from.

use gcp_bigquery_client::model::table_field_schema::TableFieldSchema;
use gcp_bigquery_client::model::table_schema::TableSchema;
use serde::Deserialize;

use crate::names::Kind;

const TABLES: &str = include_str!("../../terraform/schemas/tables.json");
const PODCASTS: &str = include_str!("../../terraform/schemas/podcasts.json");
const EPISODES: &str = include_str!("../../terraform/schemas/episodes.json");

/// One column, as the schema files write it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as BigQuery's API spells it.
    pub r#type: String,
    /// What it holds.
    pub description: String,
}

/// The columns of a kind's table.
pub fn schema(kind: Kind) -> Vec<Column> {
    let file = match kind {
        Kind::Podcasts => PODCASTS,
        Kind::Episodes | Kind::Mentions => EPISODES,
    };
    // Compiled in, and read by the tests below.
    serde_json::from_str(file).unwrap_or_default()
}

/// The description of a kind's table.
pub fn table_description(kind: Kind) -> String {
    let tables: serde_json::Value = serde_json::from_str(TABLES).unwrap_or_default();
    tables[kind.name()]["description"].as_str().unwrap_or_default().to_owned()
}

/// The columns in BigQuery's own form.
pub(super) fn table_schema(kind: Kind) -> TableSchema {
    let file = match kind {
        Kind::Podcasts => PODCASTS,
        Kind::Episodes | Kind::Mentions => EPISODES,
    };
    let fields: Vec<TableFieldSchema> = serde_json::from_str(file).unwrap_or_default();
    TableSchema { fields: Some(fields) }
}

/// A column as a table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundColumn {
    /// Its name.
    pub name: String,
    /// Its type in the warehouse's own words, with a length where it has one: `STRING(10)`.
    pub r#type: String,
    /// `REQUIRED` or `REPEATED`; all columns of ours are `NULLABLE`.
    pub mode: Option<String>,
}

/// Returns how the columns of a table differ from ours, column by column.
pub fn differences(kind: Kind, found: &[FoundColumn]) -> Vec<String> {
    let ours = schema(kind);
    let mut differences = Vec::new();
    for column in &ours {
        let Some(theirs) = found.iter().find(|found| found.name.eq_ignore_ascii_case(&column.name))
        else {
            differences.push(format!("{} is missing", column.name));
            continue;
        };
        if canonical(&theirs.r#type) != canonical(&column.r#type) {
            let (name, r#type) = (&column.name, &theirs.r#type);
            differences.push(format!("{name} is {type}, expected {}", column.r#type));
        }
        if let Some(mode) = theirs.mode.as_ref().filter(|mode| *mode != "NULLABLE") {
            differences.push(format!("{} is {mode}, expected NULLABLE", column.name));
        }
    }
    for theirs in found {
        if !ours.iter().any(|column| column.name.eq_ignore_ascii_case(&theirs.name)) {
            differences.push(format!("unexpected column {} {}", theirs.name, theirs.r#type));
        }
    }
    differences
}

/// Returns the one name of a type for which BigQuery has two.
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

    fn names(kind: Kind) -> Vec<FoundColumn> {
        let columns = schema(kind).into_iter();
        columns
            .map(|column| FoundColumn { name: column.name, r#type: column.r#type, mode: None })
            .collect()
    }

    #[test]
    fn the_files_are_what_the_code_takes_them_for() {
        let tables: serde_json::Value = serde_json::from_str(TABLES).unwrap();
        for kind in Kind::ALL {
            assert!(!table_description(kind).is_empty());
            let ours = names(kind);
            let in_bigquerys_form = table_schema(kind).fields.unwrap();
            assert_eq!(ours.len(), in_bigquerys_form.len());
            let file = if kind == Kind::Podcasts { "podcasts.json" } else { "episodes.json" };
            assert_eq!(tables[kind.name()]["schema"], file);
        }
        assert_eq!(names(Kind::Podcasts).len() + names(Kind::Episodes).len(), 12);
    }

    #[test]
    fn differences_are_told_column_by_column() {
        let mut found = names(Kind::Podcasts);
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
