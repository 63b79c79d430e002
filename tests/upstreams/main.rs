//! Several upstreams of one route, from the outside: the real program, servers that come and go, and the log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod balance;
mod failover;
mod front;
#[path = "../reload/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of reloads; each uses what it needs")]
mod harness;
mod health;
mod names;
#[path = "../portway/harness/netns.rs"]
#[allow(dead_code, reason = "shared with the tests of connections; each uses what it needs")]
mod netns;
mod network;
mod resolver;
mod server;
mod storm;
