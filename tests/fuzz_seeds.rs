//! Runs the seeds of the fuzz targets: the name of each starts with its outcome, and together they reach every
//! reason.

use std::collections::BTreeMap;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

/// Returns the outcome of each seed by its name.
fn run<T>(target: &str, check: fn(&[u8]) -> T) -> BTreeMap<String, T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, check(&std::fs::read(file.path()).unwrap()))
        })
        .collect()
}

#[test]
fn seeds_of_pushes_start_with_their_outcome() {
    for (name, outcome) in run("push_body", checks::push_body) {
        assert!(name.replace('-', "_").starts_with(outcome), "{name}: {outcome}");
    }
}

#[test]
fn seeds_of_spotify_start_with_their_outcome() {
    for (name, outcome) in run("spotify_answer", checks::spotify_answer) {
        assert!(name.starts_with(outcome), "{name}: {outcome}");
    }
}

#[test]
fn seeds_of_bigquery_start_with_their_outcome() {
    for (name, outcome) in run("bigquery_answer", checks::bigquery_answer) {
        assert!(name.replace('-', "_").starts_with(&outcome), "{name}: {outcome}");
    }
}

#[test]
fn seeds_of_pushes_reach_every_outcome() {
    let outcomes: std::collections::BTreeSet<&str> =
        run("push_body", checks::push_body).into_values().collect();
    let expected = ["bad_base64", "bad_json", "fan_out", "load", "no_envelope", "refused"];
    assert!(outcomes.into_iter().eq(expected));
}
