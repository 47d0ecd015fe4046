//! Whatever Spotify answers: rows that BigQuery takes, one for each item with an id, or a failure that
//! says what is wrong.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    checks::spotify_answer(answer);
});
