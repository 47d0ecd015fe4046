//! Any response of Spotify results in valid rows, one for each item with an ID, or in a failure with the
//! cause.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    checks::spotify_answer(answer);
});
