//! From a client to a connected upstream: the walk through the candidates.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Lead;
use super::record::Ledger;
use super::upstreams::{Live, Miss};
use crate::model::{Outcome, Peer, Policy, UpstreamAddr};
use crate::net::Socket;
use crate::net::dial::DialOptions;
use crate::state::{Load, Walk};

/// A connected upstream.
pub(super) struct Egress<'l> {
    pub socket: Socket,
    /// What is known of it.
    pub live: &'l Live,
    /// Its share of the upstream's load, given back when the connection has ended.
    pub load: Load,
}

/// Walks the candidates until one is connected. A client that resets meanwhile ends the search; one that only sends
/// FIN does not: it may well wait for its answer.
pub(super) async fn connect<'l>(
    client: &Socket,
    lead: &'l Lead,
    ledger: &mut Ledger,
) -> Result<Egress<'l>, Outcome> {
    tokio::select! {
        biased;
        connected = first_connected(lead, ledger) => connected,
        () = client.failed() => Err(Outcome::ClientReset),
    }
}

/// No byte of the client has been delivered yet: whatever goes wrong here, the next candidate may have it.
async fn first_connected<'l>(lead: &'l Lead, ledger: &mut Ledger) -> Result<Egress<'l>, Outcome> {
    let Policy { connect_timeout: timeout, keepalive, .. } = lead.route.policy;
    let mut walk = Walk::new(ip(ledger.client()), fastrand::u64(..));
    let mut tried = false;
    while let Some(step) = lead.pool.next(&mut walk, Instant::now().into_std()) {
        tried = true;
        let Some(live) = lead.upstreams.get(step.index) else { break };
        let begun = Instant::now();
        match live.attempt(step.attempt, DialOptions { timeout, keepalive }).await {
            Ok((socket, peer, load)) => {
                ledger.connected(live.state.addr().clone(), peer);
                return Ok(Egress { socket, live, load });
            }
            Err(miss) => ledger.missed(&why(live.state.addr(), &miss, begun.elapsed())),
        }
    }
    if let Some(live) = walk.full().and_then(|index| lead.upstreams.get(index)) {
        ledger.missed(&format!("{}: has all the connections that it takes", live.state.addr()));
    }
    Err(if tried { Outcome::ConnectFailed } else { Outcome::Limited })
}

/// The client's address, where it has one.
fn ip(client: &Peer) -> Option<IpAddr> {
    match client {
        Peer::Ip(addr) => Some(addr.ip()),
        Peer::Unix(_) => None,
    }
}

/// One line for the record: the candidate, what each of its addresses said, and how long it took.
fn why(candidate: &UpstreamAddr, miss: &Miss, took: Duration) -> String {
    let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
    match (candidate, miss) {
        // The error names the address itself.
        (UpstreamAddr::Ip(_) | UpstreamAddr::Unix(_), Miss::Dial(error)) => format!("{error} ({took})"),
        (candidate, miss) => format!("{candidate}: {miss} ({took})"),
    }
}
