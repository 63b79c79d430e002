//! The program from outside: real processes, real sockets, one test per promise.
//!
//! `harness` puts a proxy in front of an upstream; the other modules are one group of promises each. After every test
//! the proxy must have nothing left that it had not at its start: see `harness::proxy`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and they look at the real clock"
)]

#[allow(dead_code, reason = "shared with other programs of tests; each uses what it needs")]
mod harness;

mod connect;
mod failover;
mod gateway;
mod half_close;
mod listen;
mod lost;
mod pressure;
mod records;
mod reset;
mod scripts;
mod stop;
mod urgent;
