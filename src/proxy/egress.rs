//! From a client to a connected upstream: the walk through the candidates.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::hold;
use super::lead::{Candidate, Candidates, Lead};
use super::live::Miss;
use super::race::race;
use super::record::Ledger;
use super::tie::Tie;
use crate::model::{Outcome, Peer, WhenDown};
use crate::net::dial::DialOptions;
use crate::net::relay::Side;
use crate::net::{Socket, Stream};
use crate::state::{Load, Step, Walk};

/// How long an upstream that was connected is watched for a reset, where another could be had instead. What takes a
/// connection for one that is not there yet (a container's port, say) resets it at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a client that found no address to connect waits for the next look-up: names are looked up once a second at the
/// most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who wants an upstream.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub socket: &'a Socket,
    /// The upstream waits for bytes that we hold: neither side may stir before it has them.
    pub is_waited_for: bool,
    /// What an upstream with TLS wants before TLS.
    pub before: &'a [u8],
}

/// A connected upstream.
pub(super) struct Egress {
    pub stream: Stream,
    /// Its share of the upstream's load, given back when the connection has ended.
    pub load: Load,
    /// What ends it from outside.
    pub tie: Option<Box<Tie>>,
}

/// A candidate that was connected.
pub(super) struct Connected {
    pub index: usize,
    pub stream: Stream,
    pub peer: Peer,
    pub load: Load,
    /// How often its check had found it down before.
    pub checked: u64,
}

/// Walks the candidates until one is connected. A client that resets meanwhile ends the search; one that only sends
/// FIN does not: it may well wait for its answer.
pub(super) async fn connect(client: Asker<'_>, lead: &Lead, ledger: &mut Ledger) -> Result<Egress, Outcome> {
    tokio::select! {
        biased;
        connected = first_connected(client, lead, ledger) => connected,
        () = client.socket.failed() => Err(Outcome::ClientReset),
    }
}

async fn first_connected(client: Asker<'_>, lead: &Lead, ledger: &mut Ledger) -> Result<Egress, Outcome> {
    match (walk(client, lead, ledger).await, lead.route.policy.when_down) {
        (Err(failed), WhenDown::Hold(time)) if failed != Outcome::ClientReset => {
            hold::until_back((client, lead), time, failed, ledger).await
        }
        (connected, _) => connected,
    }
}

/// Walks through all candidates. Where none connects and names are among them, once more through what their next look-up
/// brings: to its clients a server that has just moved is not gone.
pub(super) async fn walk(client: Asker<'_>, lead: &Lead, ledger: &mut Ledger) -> Result<Egress, Outcome> {
    let candidates = lead.candidates();
    let patience = match candidates.list() {
        // No look-up has ever brought one: the first may be under way.
        [] => lead.route.policy.connect_timeout,
        _ => match walk_once(client, lead, &candidates, ledger).await {
            Err(Outcome::ConnectFailed) if lead.has_names() => PATIENCE,
            ended => return ended,
        },
    };
    let others = lead.others_than(&candidates, patience).await;
    let ended = if Arc::ptr_eq(&others, &candidates) {
        Err(Outcome::ConnectFailed)
    } else {
        walk_once(client, lead, &others, ledger).await
    };
    if ended.is_err() {
        for (written, error) in lead.unresolved() {
            ledger.missed(&format!("{written}: the name does not resolve: {error}"));
        }
    }
    ended
}

/// No byte of the client has been delivered yet: whatever goes wrong here, the next candidate may have it.
async fn walk_once(
    client: Asker<'_>,
    lead: &Lead,
    candidates: &Candidates,
    ledger: &mut Ledger,
) -> Result<Egress, Outcome> {
    let policy = &lead.route.policy;
    let (timeout, keepalive) = (policy.connect_timeout, policy.keepalive);
    let options = DialOptions { timeout, keepalive, before: client.before };
    let mut walk = Walk::new(ip(&ledger.client()), fastrand::u64(..));
    let mut tried = false;
    while let Some(step) = candidates.pool.next(&mut walk, Instant::now().into_std()) {
        tried = true;
        let connected = if candidates.pool.has_others(step.index) {
            Box::pin(race(candidates, &mut walk, step, options, ledger)).await
        } else {
            alone(candidates, step, options, ledger).await
        };
        let Some(Connected { index, stream, peer, load, checked }) = connected else { continue };
        let Some(candidate) = candidates.get(index) else { break };
        // Who speaks TLS is there.
        let is_sure = client.is_waited_for || stream.session.is_some();
        if !is_sure && candidates.pool.has_left(&walk) {
            match early_reset(client.socket, &stream.socket).await {
                None => {}
                Some(Side::Upstream) => {
                    ledger.missed(&format!("{peer}: reset before a byte"));
                    continue;
                }
                Some(Side::Client) => {
                    stream.socket.reset();
                    return Err(Outcome::ClientReset);
                }
            }
        }
        let tie = Tie::of(candidate, policy, &peer, (load.downs(), checked));
        ledger.connected((candidate.written.clone(), peer), &candidate.tally);
        lead.room.is_served();
        return Ok(Egress { stream, load, tie });
    }
    if let Some(candidate) = walk.full().and_then(|index| candidates.get(index)) {
        ledger.missed(&format!("{}: has all the connections that it takes", candidate.live.state.addr()));
    }
    Err(if tried || walk.full().is_none() { Outcome::ConnectFailed } else { Outcome::Limited })
}

async fn alone(
    candidates: &Candidates,
    step: Step,
    options: DialOptions<'_>,
    ledger: &mut Ledger,
) -> Option<Connected> {
    let candidate = candidates.get(step.index)?;
    let (begun, checked) = (Instant::now(), candidate.checked_downs());
    match candidate.live.attempt(step.attempt, options).await {
        Ok((stream, peer, load)) => Some(Connected { index: step.index, stream, peer, load, checked }),
        Err(miss) => {
            missed(candidate, &miss, begun.elapsed(), ledger);
            None
        }
    }
}

/// Who resets before a byte has gone either way. Ends with the first byte or end of either side, so that nobody waits for
/// it.
async fn early_reset(client: &Socket, upstream: &Socket) -> Option<Side> {
    tokio::select! {
        biased;
        seen = upstream.stirs() => seen.is_err().then_some(Side::Upstream),
        seen = client.stirs() => seen.is_err().then_some(Side::Client),
        () = sleep(AT_ONCE) => None,
    }
}

/// The client's address, where it has one.
fn ip(client: &Peer) -> Option<IpAddr> {
    match client {
        Peer::Ip(addr) => Some(addr.ip()),
        Peer::Unix(_) => None,
    }
}

/// Notes what a candidate said, and how long it took; of a name the next look-up comes sooner.
pub(super) fn missed(candidate: &Candidate, miss: &Miss, took: Duration, ledger: &mut Ledger) {
    if let Some(name) = &candidate.name {
        name.ask();
    }
    candidate.tally.failed();
    let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
    ledger.missed(&match miss {
        // The error names the address itself.
        Miss::Dial(error) => format!("{error} ({took})"),
        miss => format!("{}: {miss} ({took})", candidate.live.state.addr()),
    });
}
