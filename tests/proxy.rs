//! What becomes of connections and datagrams, from the outside: the real program, real sockets, real bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock from outside"
)]

mod clients;
mod connections;
mod fastpath;
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;
mod import;
mod pauses;
mod udp;
mod upstreams;
mod worse;
