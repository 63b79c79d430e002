//! Attempts at upstream addresses, as the steps that make them share them.

use std::time::Duration;

use crate::model::Peer;
use crate::net::{Socket, Stream};
use crate::proxy::record::RecordGuard;
use crate::proxy::route::Candidate;
use crate::proxy::upstream::AttemptError;
use crate::state::Load;

/// For whom an upstream is connected.
#[derive(Clone, Copy)]
pub(super) struct ForClient<'a> {
    pub socket: &'a Socket,
    /// The upstream waits for bytes that we hold: neither side may send before it has them.
    pub holds_bytes: bool,
    /// What an upstream with TLS wants before TLS.
    pub before_tls: &'a [u8],
}

/// A candidate that was connected.
pub(super) struct Connection {
    /// Its place among the candidates.
    pub index: usize,
    pub stream: Stream,
    pub peer: Peer,
    /// Its share of the upstream's load.
    pub load: Load,
    /// How often its check had found it down before.
    pub checked_downs: u64,
}

/// Notes why an attempt failed, and how long it took. The next look-up of its name comes sooner.
pub(super) fn note_failed(
    candidate: &Candidate,
    error: &AttemptError,
    took: Duration,
    guard: &mut RecordGuard,
) {
    if let Some(name) = &candidate.name {
        name.ask();
    }
    candidate.tally.failed();
    let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
    guard.failed_attempt(&match error {
        // The error names the address itself.
        AttemptError::Dial(error) => format!("{error} ({took})"),
        error => format!("{}: {error} ({took})", candidate.endpoint.state.addr()),
    });
}
