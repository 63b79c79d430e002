//! Portway: a TCP and UDP reverse proxy and port forwarder that takes edits of its file while it runs.
//!
//! # Layers
//! A module imports from lower layers only, modules of one layer do not know each other, and files do not import each
//! other in a circle. `tests/layers.rs` checks it.
//!
//! | layer | modules | what they do |
//! |---|---|---|
//! | 7 | [`cli`] | what a person types |
//! | 6 | [`admin`] | what a person or a scraper reads of a running proxy |
//! | 5 | [`server`] | which listeners exist now: start, reload, drain |
//! | 4 | [`proxy`], [`files`] | connections, datagrams, health checks; files that are followed on disk |
//! | 3 | [`net`], [`sink`], [`tasks`] | sockets and the relay; log output; the only place that spawns |
//! | 2 | [`config`], [`state`] | text to table and plan; the memory of the running proxy (pure) |
//! | 1 | [`model`], [`wire`] | validated values; bytes to values and back (pure) |
//!
//! Pure: no tokio, no socket, no clock, no log. `now` is an argument. So most of the logic is tested with plain
//! `#[test]`, and can be fuzzed.
//!
//! # Where to begin reading
//! * a connection: [`proxy::connection`], the function `serve`
//! * a datagram: [`proxy::udp`], the functions `UdpSessions::take_in` and `ask`
//! * an edit: [`server`], the modules `edit` and `apply`; of an included file `included_file` and `include_edit`; `together`
//! * the text of a file: [`config`]; a file of another proxy: its module `import`
//! * the copy of bytes, half-close and resets: [`net::relay`]
//!
//! # Glossary
//! The words of the code are those of HAProxy's and nginx's manuals (`preread` is nginx's: the time before a preamble or handshake
//! is over). A *scope* owns tasks, as in structured concurrency; a *table* is all that a file says, valid. Ten words are its own:
//!
//! * **plan**: the way from one table to the next.
//! * **live route**: a route as it runs, with the connections that it has; an edit replaces it.
//! * **preamble**: what is read of a client before its route is known (PROXY header, TLS ClientHello).
//! * **record**: what is known of a connection at its end. Access log, metrics and status read this one value.
//! * **blame**: who caused the end: the client, the upstream, the operator or Portway.
//! * **cut**: to reset connections at once, where a drain would wait for them.
//! * **proven**: a client that has shown a right, or that it hears us. Who is not gives way first ([`state::fair_share`]).
//! * **concerned**: of the open connections of a route, those that an edit names. `on_change` acts on them.
//! * **held**: a route that a person took out of what runs, by hand, without the file.
//! * **pending**: a file that has changed and is not in force, with the reason.
//!
//! # Decisions
//! * **The file's types are plain serde structs, with a span index beside them.** `toml::Spanned` fails inside untagged
//!   enums, and `flatten` reports line 1. Each `[[route]]` is read on its own, so one run shows the faults of all.
//! * **One file per family of keys** (`config::keys`): typed form, meaning, text, schema and protocol stand together, so
//!   a new key touches that file, its field in [`model`] and the place where it acts.
//! * **Enums and plain `async fn`.** No tower, no trait objects for closed sets. The only seams are tokio's.
//! * **One spawner** ([`tasks`]). SIGTERM, a removed route and a changed route use the same drain.
//! * **Sockets from outside enter in one place** ([`net::inherit`]): systemd, and tests that pass bound sockets.
//! * **Three ways to relay** ([`net::relay`]): `copy_bidirectional` over wrapped sockets works in every state; a way of
//!   our own for plain sockets has no buffer while a connection is idle; a third is for TLS and bandwidth limits. All share
//!   one set of rules for half-close, resets and time.
//! * **Bulk data goes through kernel pipes** (`splice`), from a bounded pool: an unprivileged user gets 1,024 full-size
//!   pipes. Without a free one the relay copies.
//! * **No eBPF sockmap.** On Linux 6.18 it lost data before a FIN in 5 of 12 runs, and it has no backpressure.
//! * **A pause of the process uses up no time limit** ([`net::deadline`]). When a limit is over, the sockets are looked at once
//!   more: whoever has spoken while a container was frozen or a machine slept has spoken in time.
//! * **Polls find edits, events only make them faster** ([`files`]): network file systems and bind mounts send no events.
//! * **hyper for the admin endpoint.** It is not on the path of a client's bytes, and many people test its parser.
//! * **The log never blocks a connection** ([`sink`]): its queue is bounded, and it counts the lines that it lost.
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
