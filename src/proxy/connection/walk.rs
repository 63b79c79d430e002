//! Walks the candidates of a route until one connects.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Connection, ForClient, note_failed};
use super::cut::{CutSignal, DownCount};
use super::race::race;
use crate::model::Outcome;
use crate::net::dial::{DialOptions, FirstAck};
use crate::net::relay::Side;
use crate::net::{Deadline, Socket, Stream};
use crate::proxy::record::{Connected, RecordGuard};
use crate::proxy::route::{Candidates, LEADS_BACK, LiveRoute};
use crate::state::{Load, Step, Walk};

/// How long a connected upstream is watched for a reset, if another candidate is left. A proxy that accepts for a
/// server that is not up yet (a container's port, say) resets the connection at once.
const EARLY: Duration = Duration::from_secs(1);

/// How long a client waits for the next look-up when no address has connected. A name is looked up once a second at
/// most.
const NEXT_LOOK_UP: Duration = Duration::from_secs(2);

/// A connected upstream, and what the connection holds.
pub(super) struct Dialed {
    pub stream: Stream,
    /// Counts the connection in the upstream's load until it ends.
    pub load: Load,
    /// Resolves when the connection must be cut from outside. `None`: the policy cuts nothing.
    pub cut: Option<Box<CutSignal>>,
    /// When that was known.
    pub at: Instant,
}

/// Walks all candidates. If none connects and some come from names, walks once more with the next answers for these
/// names: a server that has just moved is not down for its clients.
pub(super) async fn walk(
    client: ForClient<'_>,
    live: &LiveRoute,
    guard: &mut RecordGuard,
) -> Result<Dialed, Outcome> {
    let candidates = live.candidates();
    let at_most = match candidates.list() {
        // No look-up has returned an address yet. The first one may be in progress.
        [] => live.route.policy.timeouts.connect,
        _ => match walk_once(client, live, &candidates, guard).await {
            Err(Outcome::ConnectFailed) if live.has_names() => NEXT_LOOK_UP,
            ended => return ended,
        },
    };
    let others = live.others_than(&candidates, at_most).await;
    let ended = if Arc::ptr_eq(&others, &candidates) {
        Err(Outcome::ConnectFailed)
    } else {
        walk_once(client, live, &others, guard).await
    };
    if ended.is_err() {
        for (written, error) in live.unresolved() {
            guard.failed_attempt(&format!("{written}: the name does not resolve: {error}"));
        }
    }
    ended
}

/// Walks the candidates once. No byte of the client has been delivered yet, so whatever fails here, the next candidate
/// can take over.
async fn walk_once(
    client: ForClient<'_>,
    live: &LiveRoute,
    candidates: &Candidates,
    guard: &mut RecordGuard,
) -> Result<Dialed, Outcome> {
    let policy = &live.route.policy;
    let options = options(live, client);
    let mut walk = Walk::new(client.of.ip, fastrand::u64(..));
    let mut first = None;
    loop {
        let begun = Instant::now();
        let Some(step) = candidates.pool.next(&mut walk, begun.into_std()) else { break };
        let first = *first.get_or_insert(begun);
        let connected = if candidates.pool.has_others(step.index) {
            Box::pin(race(candidates, &mut walk, step, &options, guard)).await
        } else {
            alone(candidates, step, begun, &options, guard).await
        };
        let Some(Connection { index, stream, peer, load, checked_downs }) = connected else { continue };
        let mut at = Instant::now();
        let took = at - first;
        let Some(candidate) = candidates.get(index) else { break };
        if candidates.is_disabled(index) {
            stream.socket.reset();
            continue;
        }
        // An upstream that speaks TLS is really there.
        let is_sure = client.holds_bytes || stream.session.is_some();
        if !is_sure && candidates.pool.has_left(&walk) {
            match early_reset(client.socket, &stream.socket).await {
                None => at = Instant::now(),
                Some(Side::Upstream) => {
                    guard.failed_attempt(&format!("{peer}: reset before a byte"));
                    continue;
                }
                Some(Side::Client) => {
                    stream.socket.reset();
                    return Err(Outcome::ClientReset);
                }
            }
        }
        let downs = DownCount { connects: load.losses(), checks: checked_downs };
        let cut = CutSignal::of(candidate, policy, &peer, downs);
        guard.connected(Connected { written: candidate.written.clone(), peer }, took, &candidate.tally);
        // Whoever disables an upstream ends the connections that he finds. He has not found this one, or not yet.
        if candidates.is_disabled(index) {
            stream.socket.reset();
            return Err(Outcome::Drained);
        }
        live.wake_held();
        return Ok(Dialed { stream, load, cut, at });
    }
    if let Some(candidate) = walk.full().and_then(|index| candidates.get(index)) {
        let addr = candidate.endpoint.state.addr();
        guard.failed_attempt(&format!("{addr}: has all the connections that it takes"));
    }
    for candidate in candidates.list().iter().filter(|candidate| candidate.leads_back) {
        guard.failed_attempt(&format!("{}: {LEADS_BACK}", candidate.endpoint.state.addr()));
    }
    candidates.closed().for_each(|why| guard.failed_attempt(&why));
    Err(match (first.is_some(), walk.full()) {
        (false, Some(_)) => Outcome::Limited,
        (false, None) if candidates.pool.has_loop() => Outcome::Loop,
        _ => Outcome::ConnectFailed,
    })
}

fn options<'a>(live: &LiveRoute, client: ForClient<'a>) -> DialOptions<'a> {
    let policy = &live.route.policy;
    DialOptions {
        timeout: policy.timeouts.connect,
        first: client.before_tls,
        client: Some(client.of),
        // Every wait that follows the dial acknowledges by itself, or sends.
        ack: FirstAck::WithData,
        buffers: policy.socket_buffers,
    }
}

async fn alone(
    candidates: &Candidates,
    step: Step,
    begun: Instant,
    options: &DialOptions<'_>,
    guard: &mut RecordGuard,
) -> Option<Connection> {
    let candidate = candidates.get(step.index)?;
    let checked_downs = candidate.checked_downs();
    match candidate.endpoint.attempt(step.attempt, options, begun).await {
        Ok((stream, peer, load)) => Some(Connection { index: step.index, stream, peer, load, checked_downs }),
        Err(error) => {
            note_failed(candidate, &error, begun.elapsed(), guard);
            None
        }
    }
}

/// Which side resets before a byte was sent either way. Returns at the first byte or end of either side, so that nobody
/// waits for it.
async fn early_reset(client: &Socket, upstream: &Socket) -> Option<Side> {
    let time = async {
        // The client has sent nothing yet.
        upstream.acknowledge();
        Deadline::at_once(EARLY).await;
    };
    tokio::select! {
        biased;
        seen = upstream.stirs() => seen.is_err().then_some(Side::Upstream),
        seen = client.stirs() => seen.is_err().then_some(Side::Client),
        () = time => None,
    }
}
