//! The fast path of the relay: its tails, its pipes, and what it does when the kernel says no.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and they look at the real clock"
)]

mod faults;
#[path = "../portway/harness/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;
mod pipes;
mod tails;
