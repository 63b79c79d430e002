//! The admin endpoint and the commands that talk to it, from the outside: the real program, real traffic, and what is said of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod asker;
mod connections;
mod drain;
mod edits;
mod figures;
#[path = "../reload/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of reloads; each uses what it needs")]
mod harness;
mod hostile;
mod metrics;
mod openapi;
mod plan;
mod rights;
