//! Where the tables are: a BigQuery dataset or a SQLite file.

use std::path::PathBuf;

use super::Purpose;
use super::reader::Reader;

/// The demo's default warehouse.
const DEMO_FILE: &str = "spotify-bq-demo.sqlite";

/// Where the tables are.
#[derive(Clone, Debug)]
pub enum Warehouse {
    BigQuery(BigQuery),
    /// A SQLite file, for local use.
    Sqlite(PathBuf),
}

/// A BigQuery dataset.
#[derive(Clone, Debug)]
pub struct BigQuery {
    /// The project of the dataset and the load jobs.
    pub project: String,
    pub dataset: String,
    /// The dataset's location. If `None`, the service reads it from BigQuery.
    pub location: Option<String>,
    /// The API's base URL, without a trailing slash.
    pub url: String,
    /// Whether the URL is that of an emulator, which needs no credentials.
    pub emulator: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, project: Option<&str>, purpose: Purpose) -> Warehouse {
    let warehouse = reader.optional("WAREHOUSE");
    let dataset = reader.identifier("BIGQUERY_DATASET");
    let location = reader.optional("BIGQUERY_LOCATION");
    let emulator = reader.emulator_url("BIGQUERY_EMULATOR_HOST");
    match warehouse.as_deref() {
        None if purpose == Purpose::Demo => Warehouse::Sqlite(PathBuf::from(DEMO_FILE)),
        None | Some("bigquery") => {
            if project.is_none() && purpose != Purpose::Tool {
                reader.problem(
                    "GOOGLE_CLOUD_PROJECT",
                    "is not set, and neither is WAREHOUSE: set the project to use BigQuery, or set \
                     WAREHOUSE=sqlite:FILE to use a local file (`spotify-bq demo` needs neither)",
                );
            }
            Warehouse::BigQuery(BigQuery {
                project: project.unwrap_or_default().to_owned(),
                dataset,
                location,
                emulator: emulator.is_some(),
                url: emulator.unwrap_or_else(|| "https://bigquery.googleapis.com".to_owned()),
            })
        }
        Some(other) => Warehouse::Sqlite(sqlite_file(reader, other)),
    }
}

fn sqlite_file(reader: &mut Reader<'_>, warehouse: &str) -> PathBuf {
    match warehouse.strip_prefix("sqlite:") {
        Some(_) if !cfg!(feature = "local") => reader.problem(
            "WAREHOUSE",
            "is SQLite, but this binary was built without it: build with the cargo feature `local`",
        ),
        Some(file) if !file.is_empty() => return PathBuf::from(file),
        _ => reader.problem("WAREHOUSE", "must be `bigquery` or `sqlite:FILE`"),
    }
    PathBuf::new()
}
