//! Prints the demo's SQLite tables.

use std::path::Path;

use comfy_table::{ContentArrangement, Row, Table, presets};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::config::Warehouse;
use crate::names::{Kind, Naming, ShowId};
use crate::warehouse::schema;

/// Rows of each table in the output.
const MAX_ROWS: usize = 3;
/// Fits the usual terminal.
const WIDTH: u16 = 80;
/// Columns that say little or do not fit the width.
const HIDDEN_COLUMNS: [&str; 4] = ["id", "language", "type", "explicit"];

/// Prints the row counts and first rows of the three tables.
pub(super) fn print(file: &Path, naming: &Naming) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("{}: {error}", file.display());
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    for kind in Kind::ALL {
        let table = naming.configured_table(kind);
        match format_table(&connection, kind, table) {
            Ok(text) => say!("{text}\n"),
            Err(error) => say!("{table}: {error}\n"),
        }
    }
    // A path that works in any folder.
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let file = file.display();
    say!("The tables are in {file}. To query them:");
    say!("  sqlite3 {file} 'SELECT name FROM {} LIMIT 5'", naming.configured_table(Kind::Mentions));
    say!("  sqlite3 {file} 'SELECT id, name FROM {}'", naming.configured_table(Kind::Podcasts));
    Ok(())
}

/// Returns the name of a show, if the table of podcasts has it.
pub(super) fn show_name(warehouse: &Warehouse, table: &str, id: &ShowId) -> Option<String> {
    let Warehouse::Sqlite(file) = warehouse else { return None };
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let query = format!("SELECT name FROM \"{table}\" WHERE id = ?");
    connection.query_row(&query, [id.as_str()], |row| row.get(0)).ok()
}

fn format_table(connection: &Connection, kind: Kind, table: &str) -> rusqlite::Result<String> {
    let count: i64 =
        connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
    let columns: Vec<String> = schema(kind)
        .into_iter()
        .map(|column| column.name)
        .filter(|name| !HIDDEN_COLUMNS.contains(&name.as_str()))
        .collect();
    let mut output = Table::new();
    output
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_truncation_indicator("…")
        .set_header(&columns);
    let mut statement = connection
        .prepare(&format!("SELECT {} FROM \"{table}\" LIMIT {MAX_ROWS}", columns.join(", ")))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut line = Row::from((0..columns.len()).map(|index| cell(row, index)));
        output.add_row(line.max_height(1).clone());
    }
    Ok(format!("{table}: {count} rows\n{output}"))
}

fn cell(row: &rusqlite::Row<'_>, index: usize) -> String {
    let text = match row.get_ref(index) {
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        Ok(ValueRef::Integer(number)) => number.to_string(),
        _ => String::new(),
    };
    text.replace(['\n', '\u{a0}'], " ")
}
