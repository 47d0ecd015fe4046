//! The configured term and the names of its three tables.

use super::reader::Reader;
use super::settings::{TABLE_SETTINGS, default};
use crate::names::{Kind, Naming, Term, derived_table};

pub(super) fn read(reader: &mut Reader<'_>) -> Naming {
    let term = reader.parsed("SEARCH_TERM", Term::parse);
    let is_default = Term::parse(default("SEARCH_TERM")).is_ok_and(|default| default == term);
    // The default names belong to the default term. Names of another term follow from it.
    let tables = Kind::ALL.map(|kind| {
        let name = TABLE_SETTINGS[kind as usize];
        if is_default || reader.is_set(name) {
            reader.identifier(name)
        } else {
            derived_table(kind, &term)
        }
    });
    for (index, table) in tables.iter().enumerate() {
        let same = tables[..index].iter().position(|other| other.eq_ignore_ascii_case(table));
        let Some(same) = same.map(|same| TABLE_SETTINGS[same]) else { continue };
        // The problem names a setting that is set, since that is the one to change.
        let (name, other) = match TABLE_SETTINGS[index] {
            name if reader.is_set(name) => (name, same),
            name => (same, name),
        };
        reader.problem(name, &format!("must differ from {other}, which is also {table}"));
    }
    Naming { term, tables }
}
