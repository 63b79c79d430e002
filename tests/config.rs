//! The file, without a proxy: what is taken, what is refused and in which words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock from outside"
)]

mod files;
mod fuzz;
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;
