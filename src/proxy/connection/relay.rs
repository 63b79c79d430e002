//! Relays a connection, and maps how it ended to an outcome.

use std::future::pending;

use super::client::Client;
use super::connect::Upstream;
use super::cut::CutSignal;
use crate::model::Outcome;
use crate::net::relay::{Ending, RelayRules, Side, relay};
use crate::proxy::route::LiveRoute;

/// Moves bytes until the connection has ended, or is cut.
pub(super) async fn run(
    client: &mut Client,
    live: &LiveRoute,
    upstream: &mut Upstream,
) -> Result<Outcome, Outcome> {
    let policy = &live.route.policy;
    let rules = RelayRules { mode: policy.relay, bandwidth: &policy.bandwidth, timeouts: &policy.timeouts };
    let (streams, cut) = upstream.streams(&client.socket.socket);
    let ending = tokio::select! {
        biased;
        ending = relay(streams, &rules, client.guard.traffic()) => ending,
        outcome = is_cut(cut), if cut.is_some() => return Err(outcome),
    };
    if let Ending::Closed(_) = ending {
        client.socket.needs_no_reset();
        upstream.socket.needs_no_reset();
    }
    upstream.note_faults(&mut client.guard);
    Ok(outcome(ending))
}

/// Boxed: few routes use it, and it would make every connection's task larger.
async fn is_cut(cut: &mut Option<Box<CutSignal>>) -> Outcome {
    match cut {
        Some(cut) => Box::pin(cut.wait()).await,
        None => pending().await,
    }
}

fn outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Closed(Side::Client) => Outcome::ClientClosed,
        Ending::Closed(Side::Upstream) => Outcome::UpstreamClosed,
        Ending::Reset(Side::Client) => Outcome::ClientReset,
        Ending::Reset(Side::Upstream) => Outcome::UpstreamReset,
        Ending::Lost(Side::Client) => Outcome::ClientLost,
        Ending::Lost(Side::Upstream) => Outcome::UpstreamLost,
        Ending::Idle => Outcome::Idle,
        Ending::HalfClose => Outcome::HalfCloseTimeout,
    }
}
