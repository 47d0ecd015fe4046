//! Whatever BigQuery answers: it is read, or a failure that says in a few words what was wrong.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    checks::bigquery_answer(answer);
});
