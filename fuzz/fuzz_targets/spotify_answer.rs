//! Whatever Spotify answers: it is no answer, or rows that BigQuery takes.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    checks::spotify_answer(answer);
});
