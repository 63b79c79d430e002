//! Edits of the file of a running Portway, from the outside: the real program, real files, and its log as the phases
//! that a test waits for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod bad;
mod harness;
mod load;
mod namespaces;
mod saves;
mod signals;
mod sockets;
mod start;
mod torn;
mod watching;
