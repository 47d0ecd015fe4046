//! Any body of a push is rejected as not an envelope, or is a load, a fan-out or a dead letter.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    checks::push_body(body);
});
