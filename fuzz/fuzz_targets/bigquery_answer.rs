//! Any response of BigQuery is parsed, or results in a failure with a short text.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    checks::bigquery_answer(answer);
});
