//! The seeds of the fuzz targets: each is what its name says, and together they reach every refusal.

use std::collections::BTreeMap;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

/// What came of each seed, by the seed's name.
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
fn pushes_are_what_their_names_say() {
    for (name, outcome) in run("push_body", checks::push_body) {
        assert!(name.replace('-', "_").starts_with(outcome), "{name}: {outcome}");
    }
}

#[test]
fn answers_are_what_their_names_say() {
    for (name, outcome) in run("spotify_answer", checks::spotify_answer) {
        assert!(name.starts_with(outcome), "{name}: {outcome}");
    }
}

#[test]
fn answers_of_bigquery_are_what_their_names_say() {
    for (name, outcome) in run("bigquery_answer", checks::bigquery_answer) {
        assert!(name.replace('-', "_").starts_with(&outcome), "{name}: {outcome}");
    }
}

#[test]
fn every_refusal_is_reached() {
    let outcomes: std::collections::BTreeSet<&str> =
        run("push_body", checks::push_body).into_values().collect();
    let expected = ["bad_base64", "bad_json", "fan_out", "load", "no_envelope", "refused"];
    assert!(outcomes.into_iter().eq(expected));
}
