#![no_main]
#[path = "../requests.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::requests(bytes));
