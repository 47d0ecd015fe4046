//! What the demo's SQLite tables hold, as a person reads it.

use std::path::Path;

use comfy_table::{ContentArrangement, Row, Table, presets};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::full;
use crate::config::Warehouse;
use crate::names::{Kind, Naming, ShowId};
use crate::warehouse::schema;

/// Rows that are shown of each table.
const ROWS: usize = 3;
/// Columns of a terminal that most have.
const WIDTH: u16 = 80;

/// Prints counts and some rows of the three tables.
pub(super) fn print(file: &Path, naming: &Naming) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("{}: {error}", file.display());
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    for kind in Kind::ALL {
        match read(&connection, kind, naming.configured_table(kind)) {
            Ok(text) => say!("{text}\n"),
            Err(error) => say!("{}: {error}\n", naming.configured_table(kind)),
        }
    }
    let file = full(file);
    say!("The tables are in {file}. To look at them:");
    say!("  sqlite3 {file} 'SELECT name FROM {} LIMIT 5'", naming.configured_table(Kind::Mentions));
    say!("  sqlite3 {file} 'SELECT id, name FROM {}'", naming.configured_table(Kind::Podcasts));
    Ok(())
}

/// The name of a show, if the table of podcasts in a file has it.
pub(super) fn name_of(warehouse: &Warehouse, table: &str, id: &ShowId) -> Option<String> {
    let Warehouse::Sqlite(file) = warehouse else { return None };
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let query = format!("SELECT name FROM \"{table}\" WHERE id = ?");
    connection.query_row(&query, [id.as_str()], |row| row.get(0)).ok()
}

fn read(connection: &Connection, kind: Kind, table: &str) -> rusqlite::Result<String> {
    let count: i64 =
        connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
    // Those that tell most and fit a terminal's width; the rest is in the file.
    let shown: Vec<String> = schema(kind)
        .into_iter()
        .map(|column| column.name)
        .filter(|name| !["id", "language", "type", "explicit"].contains(&name.as_str()))
        .collect();
    let mut view = Table::new();
    view.load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_truncation_indicator("…")
        .set_header(&shown);
    let mut statement = connection
        .prepare(&format!("SELECT {} FROM \"{table}\" LIMIT {ROWS}", shown.join(", ")))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut line = Row::from((0..shown.len()).map(|at| value(row, at)));
        view.add_row(line.max_height(1).clone());
    }
    Ok(format!("{table}: {count} rows\n{view}"))
}

fn value(row: &rusqlite::Row<'_>, at: usize) -> String {
    let text = match row.get_ref(at) {
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        Ok(ValueRef::Integer(number)) => number.to_string(),
        _ => String::new(),
    };
    text.replace(['\n', '\u{a0}'], " ")
}
