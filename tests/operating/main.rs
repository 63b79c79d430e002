//! Portway as a service: its logs, its signals, its service manager, its descriptors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod access_lines;
mod deploy;
mod descriptors;
mod harness;
mod logs;
mod stop;
mod systemd;
