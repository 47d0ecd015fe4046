//! A SQLite file for a developer's machine. It has the same tables and columns as BigQuery; STRING is TEXT,
//! DATE is text, BOOLEAN is 0 or 1.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};

use super::labels;
use super::load::{CompletedLoad, EarlierLoads, Load, Origin, TableState};
use super::schema::{Column, FoundColumn, differences, schema};
use crate::failure::Failure;
use crate::names::Kind;
use crate::rows::Rows;

/// The table of completed loads. It stores what BigQuery stores about a load job: ID, table, row count, labels.
const LOADS_TABLE: &str = "spotify_bq_loads";

/// How long to wait for a file that another connection has locked. A load takes far less.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
}

impl Sqlite {
    /// The first use creates the file.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    pub(super) fn name(&self) -> String {
        self.file.display().to_string()
    }

    pub(super) async fn find_earlier_loads(&self, load: &Load) -> Result<EarlierLoads, Failure> {
        let id = load.id.clone();
        self.run("the lookup of earlier loads", move |connection| {
            let transaction = connection.transaction()?;
            create_loads_table(&transaction)?;
            let earlier = find_load(&transaction, &id, true)?;
            transaction.commit()?;
            Ok(earlier.map_or(EarlierLoads::NoneSucceeded { next: 0 }, EarlierLoads::Succeeded))
        })
        .await
    }

    pub(super) async fn check_table(&self, load: &Load) -> Result<TableState, Failure> {
        let (kind, table) = (load.job.kind, load.job.table.clone());
        let what = format!("the check of the table {table}");
        self.run(&what, move |connection| table_state(&connection.transaction()?, kind, &table))
            .await
    }

    pub(super) async fn replace_table(
        &self,
        load: &Load,
        n: u32,
        rows: &Rows,
        origin: &Origin,
    ) -> Result<CompletedLoad, Failure> {
        let (id, job_id) = (load.id.clone(), load.job_id(n));
        let labels = serde_json::to_string(&labels::labels(load, origin)).unwrap_or_default();
        let (kind, table, rows) = (load.job.kind, load.job.table.clone(), rows.clone());
        let what = format!("the load of {table}");
        self.run(&what, move |connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            create_loads_table(&transaction)?;
            if let Some(earlier) = find_load(&transaction, &id, true)? {
                return Ok(earlier);
            }
            if table_state(&transaction, kind, &table)? == TableState::Missing {
                create(&transaction, kind, &table)?;
            } else if has_string_columns(&transaction, &table)? {
                recreate(&transaction, kind, &table)?;
            }
            replace_rows(&transaction, kind, &table, &rows)?;
            transaction.execute(
                &format!(
                    "INSERT INTO {LOADS_TABLE} (id, job, table_name, row_count, labels) VALUES (?, ?, ?, ?, ?)"
                ),
                params![id, job_id, table, rows.count() as i64, labels],
            )?;
            let loaded = find_load(&transaction, &id, false)?;
            transaction.commit()?;
            loaded.ok_or(Error::Sql(rusqlite::Error::QueryReturnedNoRows))
        })
        .await
    }

    /// Runs `work` on a new connection, in a thread that may block. `what` names it in errors.
    async fn run<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let file = self.file.clone();
        let unavailable = |detail: String| Failure::WarehouseUnavailable {
            what: format!("{what} in {}", self.file.display()),
            detail,
            after: None,
        };
        let result = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(file)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            work(&mut connection)
        });
        let result = result.await.map_err(|panic| unavailable(panic.to_string()))?;
        result.map_err(|error| match error {
            Error::Sql(error) => unavailable(error.to_string()),
            Error::Table(failure) => failure,
        })
    }
}

fn create_loads_table(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {LOADS_TABLE} (id TEXT PRIMARY KEY, job TEXT NOT NULL, \
         table_name TEXT NOT NULL, row_count INTEGER NOT NULL, \
         loaded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, labels TEXT)"
    ))?;
    // The first versions of the service kept no labels.
    if columns_of(transaction, LOADS_TABLE)?.iter().all(|column| column.name != "labels") {
        transaction.execute_batch(&format!("ALTER TABLE {LOADS_TABLE} ADD COLUMN labels TEXT"))?;
    }
    Ok(())
}

/// Returns the load with this ID, if the file has it.
fn find_load(
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
            "SELECT job, row_count, CAST(strftime('%s', loaded_at) AS INTEGER), labels FROM {LOADS_TABLE} WHERE id = ?"
        ))?
        .query_row([id], loaded)
        .optional()
}

/// Why a transaction is rolled back.
enum Error {
    Sql(rusqlite::Error),
    /// The service must not replace the table.
    Table(Failure),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn table_state(
    transaction: &Transaction<'_>,
    kind: Kind,
    table: &str,
) -> Result<TableState, Error> {
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
            return Err(Error::Table(Failure::NotATable { table, what }));
        }
        Some(_) => {}
    }
    let differences = differences(kind, &columns_of(transaction, table)?);
    if !differences.is_empty() {
        let (table, differences) = (table.to_owned(), differences.join("; "));
        return Err(Error::Table(Failure::ForeignColumns { table, differences }));
    }
    let count: i64 =
        transaction
            .query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
    Ok(TableState::Existing { rows: u64::try_from(count).ok() })
}

fn create(transaction: &Transaction<'_>, kind: Kind, table: &str) -> rusqlite::Result<()> {
    let columns: Vec<String> = schema(kind)
        .iter()
        .map(|column| format!("{} {}", column.name, sqlite_type(&column.r#type)))
        .collect();
    transaction.execute_batch(&format!("CREATE TABLE \"{table}\" ({})", columns.join(", ")))
}

/// Returns the SQLite type for a BigQuery type. SQLite does not know STRING and would turn a text of digits
/// into a number, `007` into 7 (<https://sqlite.org/datatype3.html#determination_of_column_affinity>).
fn sqlite_type(r#type: &str) -> &str {
    if r#type == "STRING" { "TEXT" } else { r#type }
}

/// Returns whether a table has columns of the type STRING, as the first versions of the service created them.
fn has_string_columns(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<bool> {
    let is_string = "SELECT 1 FROM pragma_table_info(?) WHERE type = 'STRING' COLLATE NOCASE";
    transaction.prepare(is_string)?.exists([table])
}

/// Drops a table and creates it without rows. Keeps the user's indexes and triggers.
fn recreate(transaction: &Transaction<'_>, kind: Kind, table: &str) -> rusqlite::Result<()> {
    let indexes_and_triggers: Vec<String> = transaction
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE \
             AND type IN ('index', 'trigger') AND sql IS NOT NULL",
        )?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.execute_batch(&format!("DROP TABLE \"{table}\""))?;
    create(transaction, kind, table)?;
    indexes_and_triggers.iter().try_for_each(|sql| transaction.execute_batch(sql))
}

fn replace_rows(
    transaction: &Transaction<'_>,
    kind: Kind,
    table: &str,
    rows: &Rows,
) -> rusqlite::Result<()> {
    let columns = schema(kind);
    transaction.execute_batch(&format!("DELETE FROM \"{table}\""))?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let placeholders = vec!["?"; columns.len()].join(", ");
    let mut insert = transaction.prepare(&format!(
        "INSERT INTO \"{table}\" ({}) VALUES ({placeholders})",
        names.join(", ")
    ))?;
    for line in rows.lines() {
        let row: serde_json::Value = serde_json::from_slice(line)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        insert.execute(params_from_iter(columns.iter().map(|column| value(&row, column))))?;
    }
    Ok(())
}

fn columns_of(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<Vec<FoundColumn>> {
    let column = |row: &rusqlite::Row<'_>| {
        let is_required: bool = row.get(2)?;
        let mode = is_required.then(|| "REQUIRED".to_owned());
        let found: String = row.get(1)?;
        // The reverse of `sqlite_type`.
        let is_string = found.eq_ignore_ascii_case(sqlite_type("STRING"));
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
