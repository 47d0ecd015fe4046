//! Changes to tables in the fault phase that make loads fail: modes, types, views, partitions and keys. Rows
//! and the number of loads stay for the checks.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::catalog::TERMS;
use super::random::SeededRandom;
use crate::support::bigquery::{ProjectState, Table, schema};

const LOAD_ERRORS: [&str; 3] = [
    "Incompatible table partitioning specification. Expected partitioning specification none",
    "Cloud KMS key projects/p1/locations/x/keyRings/r/cryptoKeys/k is disabled",
    "Write disposition WRITE_TRUNCATE_DATA is not supported for a table with row access policies",
];

/// The key of a column's original type.
const ORIGINAL_TYPE: &str = "own_type";

/// Creates all tables, as Terraform does.
pub fn create(state: &Arc<Mutex<ProjectState>>) {
    for term in TERMS {
        for (name, kind) in term.tables.into_iter().zip(["podcasts", "episodes", "mentions"]) {
            let table = Table { schema: schema(kind), ..Table::default() };
            state.lock().unwrap().tables.insert(name.to_owned(), table);
        }
    }
}

/// Changes a table so that loads fail.
pub fn break_table(random: &mut SeededRandom, state: &Arc<Mutex<ProjectState>>) {
    let mut state = state.lock().unwrap();
    let names: Vec<String> = state.tables.keys().cloned().collect();
    let change = random.number(0..4);
    if names.is_empty() {
        return;
    }
    let table = state.tables.get_mut(random.pick(&names)).unwrap();
    let column = random.number(0..4) as usize;
    match change {
        0 => table.refuses = Some(*random.pick(&LOAD_ERRORS)),
        1 => table.r#type = Some(*random.pick(&["VIEW", "EXTERNAL", "SNAPSHOT"])),
        2 => field(table, column)["mode"] = json!(random.pick(&["REQUIRED", "REPEATED"])),
        _ => {
            let field = field(table, column);
            if field[ORIGINAL_TYPE].is_null() {
                field[ORIGINAL_TYPE] = field["type"].take();
            }
            field["type"] = json!(random.pick(&["RANGE", "JSON", "FOREIGN"]));
        }
    }
}

/// Reverts all changes.
pub fn repair(state: &Arc<Mutex<ProjectState>>) {
    for table in state.lock().unwrap().tables.values_mut() {
        (table.refuses, table.r#type) = (None, None);
        for column in 0..4 {
            let field = field(table, column);
            field["mode"] = json!("NULLABLE");
            let original = field.as_object_mut().unwrap().remove(ORIGINAL_TYPE);
            if let Some(original) = original {
                field["type"] = original;
            }
        }
    }
}

/// Returns a column. Each table has at least four.
fn field(table: &mut Table, column: usize) -> &mut Value {
    &mut table.schema["fields"][column]
}
