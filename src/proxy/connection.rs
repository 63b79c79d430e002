//! What happens to a connection: it is admitted ([`accept`](super::accept)), heard where that is needed to know who it is
//! (`ingress`), led to an upstream, relayed, and recorded.

use std::sync::Arc;

use super::Lead;
use super::accept::Client;
use super::egress::{self, Asker, Egress};
use super::greeting;
use super::severed::Severed;
use super::tie::Tie;
use crate::model::Outcome;
use crate::net::relay::{Ending, Patience, Side, relay};

/// The whole life of one connection. `lead` was loaded once, at its beginning: an edit does not reach into it, except
/// through the scope that owns it.
pub(super) async fn serve(client: Client, lead: Arc<Lead>) {
    let Client { socket: client, stay, mut ledger, heard } = client;
    let policy = &lead.route.policy;
    ledger.counts();

    let sends = policy.clients.proxy_protocol.send.is_some();
    let asker = Asker { socket: &client.socket, is_waited_for: heard.is_some() || sends };
    // In a box: its memory is given back before the relay begins.
    let Egress { socket, load, mut tie } = match Box::pin(egress::connect(asker, &lead, &mut ledger)).await {
        Ok(egress) => egress,
        Err(outcome) => return ledger.ended(outcome),
    };
    let upstream = Severed::unless_told(socket);
    ledger.leads_to(&upstream.socket);
    if heard.is_some() || sends {
        let sockets = (&*client.socket, &*upstream.socket);
        let greeting = Box::pin(greeting::greet(sockets, &lead, heard, &ledger));
        if let Err(outcome) = greeting.await {
            return ledger.ended(outcome);
        }
    }
    let patience = Patience {
        idle: policy.idle_timeout,
        half_close: policy.half_close_timeout,
        keepalive: policy.keepalive,
    };
    let sockets = (&*client.socket, &*upstream.socket);
    let how = (policy.relay, &policy.clients.bandwidth);
    let relayed = relay(sockets, how, &patience, ledger.traffic());
    let ending = tokio::select! {
        biased;
        ending = relayed => ending,
        outcome = snaps(&mut tie), if tie.is_some() => return ledger.ended(outcome),
    };
    if let Ending::Closed(_) = ending {
        client.close();
        upstream.close();
    }
    ledger.ended(outcome(ending));
    drop((load, stay));
}

/// In a box: few routes want it, and each connection would be larger by it.
async fn snaps(tie: &mut Option<Box<Tie>>) -> Outcome {
    match tie {
        Some(tie) => Box::pin(tie.snaps()).await,
        None => std::future::pending().await,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what an async function returns, without calling it.
    fn future_size<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// A task is as large as the largest branch of its future, idle or not.
    #[test]
    fn an_idle_connection_costs_little_memory() {
        let bytes = future_size(serve);
        assert!(bytes <= 1200, "the task of a connection has {bytes} bytes");
    }
}
