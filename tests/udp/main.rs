//! UDP routes from outside: the real program, real sockets, real datagrams.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod edits;
mod flood;
#[path = "../reload/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of reloads; each uses what it needs")]
mod harness;
mod limits;
#[path = "../portway/harness/netns.rs"]
#[allow(dead_code, reason = "shared with the tests of TCP")]
mod netns;
mod peers;
mod programs;
mod proxy_protocol;
mod quic;
mod refusals;
mod sessions;
mod sizes;
