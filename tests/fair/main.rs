//! How the proxy shares the processor. Programs of tests run one after the other, so nothing else runs beside this one:
//! what is measured here is times.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and they look at the real clock"
)]

mod fair;
#[path = "../portway/harness/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;
