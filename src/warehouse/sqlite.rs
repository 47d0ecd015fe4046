//! A SQLite file with the tables that BigQuery would have: same names and columns; STRING as TEXT, DATE
//! as text, BOOLEAN as 0 or 1. For one's own machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};

use super::schema::{Column, FoundColumn, differences, schema};
use super::{CompletedLoad, EarlierLoads, Load, Origin, TableState, labels};
use crate::failure::Failure;
use crate::names::Kind;
use crate::rows::Rows;

/// The loads that were done, and nothing of what they held: for each, what BigQuery keeps of a job.
const LOADS: &str = "spotify_bq_loads";

/// A SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
}

impl Sqlite {
    /// A file that is made at the first load.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    pub(super) fn name(&self) -> String {
        self.file.display().to_string()
    }

    pub(super) async fn find_earlier_loads(
        &self,
        load: &Load<'_>,
    ) -> Result<EarlierLoads, Failure> {
        let id = load.id.clone();
        self.work("the ids of loads", move |connection| {
            let transaction = connection.transaction()?;
            make_loads(&transaction)?;
            let done = done(&transaction, &id, true)?;
            transaction.commit()?;
            Ok(done.map_or(EarlierLoads::NoneSucceeded { next: 0 }, EarlierLoads::Succeeded))
        })
        .await
    }

    pub(super) async fn check_table(&self, load: &Load<'_>) -> Result<TableState, Failure> {
        let (kind, table) = (load.job.kind, load.job.table.clone());
        let looked = self.work("the look at a table", move |connection| {
            let transaction = connection.transaction()?;
            table_state(&transaction, kind, &table)
        });
        looked.await
    }

    pub(super) async fn replace_table(
        &self,
        load: &Load<'_>,
        n: u32,
        rows: &Rows,
        origin: &Origin,
    ) -> Result<CompletedLoad, Failure> {
        let (id, job_id) = (load.id.clone(), load.job_id(n));
        let labels = serde_json::to_string(&labels::labels(load, origin)).unwrap_or_default();
        let (kind, table, rows) = (load.job.kind, load.job.table.clone(), rows.clone());
        let loaded = self.work("the load", move |connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            make_loads(&transaction)?;
            if let Some(earlier) = done(&transaction, &id, true)? {
                return Ok(earlier);
            }
            if table_state(&transaction, kind, &table)? == TableState::Missing {
                create(&transaction, kind, &table)?;
            } else if is_of_earlier_version(&transaction, &table)? {
                create_again(&transaction, kind, &table)?;
            }
            replace(&transaction, kind, &table, &rows)?;
            transaction.execute(
                &format!(
                    "INSERT INTO {LOADS} (id, job, table_name, row_count, labels) VALUES (?, ?, ?, ?, ?)"
                ),
                params![id, job_id, table, rows.count() as i64, labels],
            )?;
            let loaded = done(&transaction, &id, false)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            transaction.commit()?;
            Ok(loaded)
        });
        loaded.await
    }

    async fn work<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Failure> {
        let file = self.file.clone();
        let failed = |detail: String| Failure::WarehouseUnavailable {
            what: format!("{what} in {}", self.file.display()),
            detail,
            after: None,
        };
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(file)?;
            connection.busy_timeout(Duration::from_secs(30))?;
            work(&mut connection)
        });
        match done.await.map_err(|error| failed(error.to_string()))? {
            Ok(done) => Ok(done),
            Err(Problem::Sql(error)) => Err(failed(error.to_string())),
            Err(Problem::Table(failure)) => Err(failure),
        }
    }
}

fn make_loads(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {LOADS} (id TEXT PRIMARY KEY, job TEXT NOT NULL, \
         table_name TEXT NOT NULL, row_count INTEGER NOT NULL, \
         loaded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, labels TEXT)"
    ))?;
    // Files of the first versions have no labels.
    if columns_of(transaction, LOADS)?.iter().all(|column| column.name != "labels") {
        transaction.execute_batch(&format!("ALTER TABLE {LOADS} ADD COLUMN labels TEXT"))?;
    }
    Ok(())
}

/// Returns what the file records of a load, if it was done. `earlier` is whether another delivery did it.
fn done(
    transaction: &Transaction<'_>,
    id: &str,
    by_earlier_delivery: bool,
) -> rusqlite::Result<Option<CompletedLoad>> {
    let loaded = |row: &rusqlite::Row<'_>| {
        let (rows, seconds): (i64, i64) = (row.get(1)?, row.get(2)?);
        let labels: Option<String> = row.get(3)?;
        let labels: HashMap<String, String> =
            labels.and_then(|labels| serde_json::from_str(&labels).ok()).unwrap_or_default();
        let seconds = u64::try_from(seconds).ok().map(Duration::from_secs);
        Ok(CompletedLoad {
            job_id: row.get(0)?,
            by_earlier_delivery,
            rows: u64::try_from(rows).ok(),
            ended_at: seconds.and_then(|seconds| UNIX_EPOCH.checked_add(seconds)),
            origin: labels::origin(&labels),
        })
    };
    transaction
        .prepare(&format!(
            "SELECT job, row_count, CAST(strftime('%s', loaded_at) AS INTEGER), labels FROM {LOADS} WHERE id = ?"
        ))?
        .query_row([id], loaded)
        .optional()
}

/// What ends a transaction.
enum Problem {
    Sql(rusqlite::Error),
    /// The table is not ours.
    Table(Failure),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn table_state(
    transaction: &Transaction<'_>,
    kind: Kind,
    table: &str,
) -> Result<TableState, Problem> {
    let found: Option<String> = transaction
        .prepare(
            "SELECT type FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type <> 'trigger'",
        )?
        .query_row([table], |row| row.get(0))
        .optional()?;
    match found {
        None => return Ok(TableState::Missing),
        Some(what) if what != "table" => {
            let table = table.to_owned();
            return Err(Problem::Table(Failure::NotATable { table, what }));
        }
        Some(_) => {}
    }
    let differences = differences(kind, &columns_of(transaction, table)?);
    if !differences.is_empty() {
        let (table, differences) = (table.to_owned(), differences.join("; "));
        return Err(Problem::Table(Failure::ForeignColumns { table, differences }));
    }
    let count: i64 =
        transaction
            .query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
    Ok(TableState::Existing { rows: u64::try_from(count).ok() })
}

fn create(transaction: &Transaction<'_>, kind: Kind, table: &str) -> rusqlite::Result<()> {
    let columns: Vec<String> = schema(kind)
        .iter()
        .map(|column| format!("{} {}", column.name, declared(&column.r#type)))
        .collect();
    transaction.execute_batch(&format!("CREATE TABLE \"{table}\" ({})", columns.join(", ")))
}

/// Returns how a column of BigQuery's type is declared. SQLite does not know STRING and would turn a text
/// of digits into a number, `007` into 7 (<https://sqlite.org/datatype3.html#determination_of_column_affinity>).
fn declared(r#type: &str) -> &str {
    if r#type == "STRING" { "TEXT" } else { r#type }
}

/// Returns whether a table has columns declared STRING, as the first versions created them.
fn is_of_earlier_version(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<bool> {
    let is_string = "SELECT 1 FROM pragma_table_info(?) WHERE type = 'STRING' COLLATE NOCASE";
    transaction.prepare(is_string)?.exists([table])
}

/// Replaces a table by a new one without rows. Indexes and triggers of the user's stay.
fn create_again(transaction: &Transaction<'_>, kind: Kind, table: &str) -> rusqlite::Result<()> {
    let theirs: Vec<String> = transaction
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE \
             AND type IN ('index', 'trigger') AND sql IS NOT NULL",
        )?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.execute_batch(&format!("DROP TABLE \"{table}\""))?;
    create(transaction, kind, table)?;
    theirs.iter().try_for_each(|sql| transaction.execute_batch(sql))
}

fn replace(
    transaction: &Transaction<'_>,
    kind: Kind,
    table: &str,
    rows: &Rows,
) -> rusqlite::Result<()> {
    let columns = schema(kind);
    transaction.execute_batch(&format!("DELETE FROM \"{table}\""))?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let mut insert = transaction
        .prepare(&format!("INSERT INTO \"{table}\" ({}) VALUES ({places})", names.join(", ")))?;
    for chunk in rows.chunks() {
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: serde_json::Value = serde_json::from_slice(line)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            insert.execute(params_from_iter(columns.iter().map(|column| value(&row, column))))?;
        }
    }
    Ok(())
}

fn columns_of(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<Vec<FoundColumn>> {
    let column = |row: &rusqlite::Row<'_>| {
        let is_required: bool = row.get(2)?;
        let mode = is_required.then(|| "REQUIRED".to_owned());
        let found: String = row.get(1)?;
        // As our columns of that type are declared.
        let is_string = found.eq_ignore_ascii_case(declared("STRING"));
        let r#type = if is_string { "STRING".to_owned() } else { found };
        Ok(FoundColumn { name: row.get(0)?, r#type, mode })
    };
    transaction
        .prepare("SELECT name, type, \"notnull\" FROM pragma_table_info(?)")?
        .query_map([table], column)?
        .collect()
}

fn value(row: &serde_json::Value, column: &Column) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(match &row[&column.name] {
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Bool(flag) => Value::Integer(i64::from(*flag)),
        serde_json::Value::Number(number) => number.as_i64().map_or(Value::Null, Value::Integer),
        _ => Value::Null,
    })
}
