//! Portway: a TCP and UDP reverse proxy and port forwarder that takes edits of its file while it runs.
//!
//! # The house
//! Seven floors. A module imports only from lower floors, and rooms of one floor do not know each other;
//! `tests/floors.rs` keeps both.
//!
//! | floor | rooms | what is there |
//! |---|---|---|
//! | 7 | [`cli`] | what a person types |
//! | 6 | [`admin`] | what a person or a scraper reads of a running proxy |
//! | 5 | [`server`] | which listeners exist now: start, reload, drain |
//! | 4 | [`proxy`] | the life of one connection, of one datagram |
//! | 3 | [`net`], [`sink`], [`tasks`] | sockets and the relay; where log lines go; the only place that spawns |
//! | 2 | [`config`], [`state`] | text to table and plan; the memory of the running proxy (pure) |
//! | 1 | [`model`], [`wire`] | validated values; bytes to values and back |
//!
//! # Where to begin reading
//! * one connection: [`proxy::connection`]
//! * one datagram: [`proxy::datagram`]
//! * one edit: [`server::edit`]
//! * one file: [`config`]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")
)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod files;
pub mod model;
pub mod net;
pub mod proxy;
pub mod server;
pub mod sink;
pub mod state;
pub mod tasks;
pub mod wire;
