#![no_main]
#[path = "../flows.rs"]
mod story;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| story::flows(bytes));
