//! What a person sees of a running proxy: the screen of `top`, the page, the dashboard. Real terminals, a real browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod browser;
mod dashboard;
#[path = "../reload/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of reloads; each uses what it needs")]
mod harness;
mod page;
mod top;
