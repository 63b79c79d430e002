//! What the steps of an attempt share: the client, the connected candidate, and how a failure is noted.

use std::time::Duration;

use crate::model::Peer;
use crate::net::{OfClient, Socket, Stream};
use crate::proxy::record::RecordGuard;
use crate::proxy::route::Candidate;
use crate::proxy::upstream::AttemptError;
use crate::state::Load;

/// The client that an upstream is connected for.
#[derive(Clone, Copy)]
pub(super) struct ForClient<'a> {
    pub socket: &'a Socket,
    /// We hold bytes that the upstream waits for: perhaps neither side sends before it has them.
    pub holds_bytes: bool,
    /// Its address, and where it wanted to go.
    pub of: OfClient,
    /// The PROXY header that an upstream with TLS gets before TLS. Empty: none, or no TLS.
    pub before_tls: &'a [u8],
}

/// A connected candidate.
pub(super) struct Connection {
    /// Its index among the candidates.
    pub index: usize,
    pub stream: Stream,
    pub peer: Peer,
    /// Counts the connection in the upstream's load until dropped.
    pub load: Load,
    /// How often its check had found it down when the attempt began.
    pub checked_downs: u64,
}

/// Notes why an attempt failed and how long it took, and asks for an earlier look-up of its name.
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
