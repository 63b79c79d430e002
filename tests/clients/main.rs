//! The client's side, from the outside: who may come in, at what rate, from which address, under which name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod access;
mod certificates;
mod daemon;
#[path = "../reload/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of reloads; each uses what it needs")]
mod harness;
mod header;
mod hello;
mod limits;
mod networks;
mod peer;
mod peers;
mod pki;
mod proxy_protocol;
mod slow;
mod sni;
mod terminate;
mod tls;
mod upstream_tls;
