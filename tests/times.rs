//! How the proxy shares the processor. Programs of tests run one after the other, so nothing else runs beside this one:
//! what is measured here is times.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock from outside"
)]

mod fair;
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;
mod hostile;
