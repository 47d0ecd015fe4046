//! What operators do to tables while the storm lasts: modes, types, views, partitions and keys that no
//! load fits. Rows and the count of loads stay, so that the verdict can see what was loaded.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::catalogue::TERMS;
use super::dice::Dice;
use crate::support::bigquery::{ProjectState, Table};

const REFUSALS: [&str; 3] = [
    "Incompatible table partitioning specification. Expected partitioning specification none",
    "Cloud KMS key projects/p1/locations/x/keyRings/r/cryptoKeys/k is disabled",
    "Write disposition WRITE_TRUNCATE_DATA is not supported for a table with row access policies",
];

/// Where a column's own type is kept.
const OWN_TYPE: &str = "own_type";

/// Makes all tables, as Terraform would.
pub fn create(state: &Arc<Mutex<ProjectState>>) {
    let podcasts = include_str!("../../terraform/schemas/podcasts.json");
    let episodes = include_str!("../../terraform/schemas/episodes.json");
    for term in TERMS {
        for (name, fields) in term.tables.into_iter().zip([podcasts, episodes, episodes]) {
            let fields: Value = serde_json::from_str(fields).unwrap();
            let table = Table { schema: json!({ "fields": fields }), ..Table::default() };
            state.lock().unwrap().tables.insert(name.to_owned(), table);
        }
    }
}

/// Makes some table one that can't be loaded.
pub fn spoil(dice: &mut Dice, state: &Arc<Mutex<ProjectState>>) {
    let mut state = state.lock().unwrap();
    let names: Vec<String> = state.tables.keys().cloned().collect();
    let way = dice.number(0..4);
    if names.is_empty() {
        return;
    }
    let table = state.tables.get_mut(dice.pick(&names)).unwrap();
    let column = dice.number(0..4) as usize;
    match way {
        0 => table.refuses = Some(*dice.pick(&REFUSALS)),
        1 => table.r#type = Some(*dice.pick(&["VIEW", "EXTERNAL", "SNAPSHOT"])),
        2 => field(table, column)["mode"] = json!(dice.pick(&["REQUIRED", "REPEATED"])),
        _ => {
            let field = field(table, column);
            if field[OWN_TYPE].is_null() {
                field[OWN_TYPE] = field["type"].take();
            }
            field["type"] = json!(dice.pick(&["RANGE", "JSON", "FOREIGN"]));
        }
    }
}

/// Makes all tables what they were.
pub fn repair(state: &Arc<Mutex<ProjectState>>) {
    for table in state.lock().unwrap().tables.values_mut() {
        (table.refuses, table.r#type) = (None, None);
        for column in 0..4 {
            let field = field(table, column);
            field["mode"] = json!("NULLABLE");
            let own = field.as_object_mut().unwrap().remove(OWN_TYPE);
            if let Some(own) = own {
                field["type"] = own;
            }
        }
    }
}

/// Each table has at least four columns.
fn field(table: &mut Table, column: usize) -> &mut Value {
    &mut table.schema["fields"][column]
}
