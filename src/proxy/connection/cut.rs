//! What ends a connection from outside of it: its upstream went down, or its address left its name.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::model::{OnDown, OnVanish, Outcome, Peer, Policy};
use crate::proxy::route::Candidate;

/// What a connection hangs on.
#[derive(Debug)]
pub(super) struct CutSignal {
    /// By failed connects, and by the check: how often each went down before, and how often by now.
    downs: [Option<(watch::Receiver<u64>, u64)>; 2],
    address: Option<Address>,
}

/// How often an upstream had gone down when it was chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Downs {
    /// By failed connects.
    pub connects: u64,
    /// By its check.
    pub checks: u64,
}

/// The address of a connection.
#[derive(Debug)]
struct Address {
    ip: IpAddr,
    /// Those of its name.
    of_name: watch::Receiver<Arc<[IpAddr]>>,
    /// How long the connection may go on without it.
    after: Duration,
}

impl CutSignal {
    /// Of a connection to this candidate, where the policy has one.
    pub(super) fn of(
        candidate: &Candidate,
        policy: &Policy,
        peer: &Peer,
        before: Downs,
    ) -> Option<Box<CutSignal>> {
        let downs = match policy.on_down {
            OnDown::Keep => [None, None],
            OnDown::Cut => [
                Some((candidate.endpoint.downs(), before.connects)),
                candidate.check.as_ref().map(|check| (check.downs(), before.checks)),
            ],
        };
        let after = match policy.on_vanish {
            OnVanish::Keep => None,
            OnVanish::Drain => Some(policy.timeouts.drain),
            OnVanish::Cut => Some(Duration::ZERO),
        };
        let address = match (after, &candidate.name, peer) {
            (Some(after), Some(name), Peer::Ip(addr)) => {
                Some(Address { ip: addr.ip(), of_name: name.subscribe(), after })
            }
            _ => None,
        };
        let signal = CutSignal { downs, address };
        (signal.downs[0].is_some() || signal.address.is_some()).then(|| Box::new(signal))
    }

    /// Resolves when the connection is to be reset.
    pub(super) async fn wait(&mut self) -> Outcome {
        let [connects, check] = &mut self.downs;
        tokio::select! {
            () = goes_down(connects) => Outcome::UpstreamDown,
            () = goes_down(check) => Outcome::UpstreamDown,
            () = vanishes(&mut self.address) => Outcome::UpstreamGone,
        }
    }
}

async fn goes_down(downs: &mut Option<(watch::Receiver<u64>, u64)>) {
    let Some((downs, before)) = downs else { return pending().await };
    if downs.wait_for(|now| now > before).await.is_err() {
        // Nobody looks after it any more.
        pending().await
    }
}

async fn vanishes(address: &mut Option<Address>) {
    let Some(Address { ip, of_name, after }) = address else { return pending().await };
    // The answers have it as the resolver gave it, the peer as a person reads it.
    let gone = |addrs: &Arc<[IpAddr]>| !addrs.iter().any(|addr| addr.to_canonical() == *ip);
    if of_name.wait_for(gone).await.is_err() {
        return pending().await;
    }
    sleep(*after).await;
}
