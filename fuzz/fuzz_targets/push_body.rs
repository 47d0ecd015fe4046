//! Whatever is posted: it is no envelope, or a message that is done, fanned out or a dead letter.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    checks::push_body(body);
});
