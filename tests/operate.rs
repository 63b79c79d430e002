//! What the person who runs Portway does and sees: edits, the admin endpoint, the screen, the service, the tools.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock from outside"
)]

mod admin;
mod edits;
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;
mod seen;
mod service;
mod store;
mod tools;
mod upgrade;
