//! What happens to a connection: it is admitted ([`accept`](super::accept)), heard where that is needed to know who it is
//! (`ingress`), led to an upstream, relayed, and recorded.

use std::mem::take;
use std::sync::Arc;

use super::Lead;
use super::accept::Client;
use super::egress::{self, Asker, Egress};
use super::greeting;
use super::ingress::Heard;
use super::record::Ledger;
use super::severed::Severed;
use super::tie::Tie;
use crate::model::Outcome;
use crate::net::relay::{Ending, Patience, Side, relay, relay_tls};
use crate::net::tls::Session;
use crate::net::{Leg, Socket};
use crate::state::Load;

/// The whole life of one connection. `lead` was loaded once, at its beginning: an edit does not reach into it, except
/// through the scope that owns it.
pub(super) async fn serve(client: Client, lead: Arc<Lead>) {
    let Client { socket: client, stay, mut ledger, heard } = client;
    let policy = &lead.route.policy;
    ledger.counts();

    // In a box: its memory is given back before the relay begins.
    let reached = Box::pin(reach(&client.socket, &lead, heard, &mut ledger)).await;
    let Reached { upstream, mut sessions, load, mut tie } = match reached {
        Ok(reached) => reached,
        Err(outcome) => return ledger.ended(outcome),
    };
    let patience = Patience {
        idle: policy.idle_timeout,
        half_close: policy.half_close_timeout,
        keepalive: policy.keepalive,
    };
    let sockets = (&*client.socket, &*upstream.socket);
    let bandwidth = &policy.clients.bandwidth;
    let relayed = async {
        match &mut sessions {
            None => relay(sockets, (policy.relay, bandwidth), &patience, ledger.traffic()).await,
            Some(sessions) => {
                Box::pin(relay_tls(sessions.legs(sockets), bandwidth, &patience, ledger.traffic())).await
            }
        }
    };
    let ending = tokio::select! {
        biased;
        ending = relayed => Ok(ending),
        outcome = snaps(&mut tie), if tie.is_some() => Err(outcome),
    };
    let ending = match ending {
        Ok(ending) => ending,
        Err(outcome) => return ledger.ended(outcome),
    };
    if let Ending::Closed(_) = ending {
        client.close();
        upstream.close();
    }
    if let Some(sessions) = &sessions {
        sessions.tell(&mut ledger);
    }
    ledger.ended(outcome(ending));
    drop((load, stay));
}

/// The upstream of a connection, when it has what it gets before the relay begins.
struct Reached {
    upstream: Severed,
    /// `None`: neither side has TLS.
    sessions: Option<Box<Sessions>>,
    load: Load,
    tie: Option<Box<Tie>>,
}

/// The TLS of each side, where it has any.
struct Sessions {
    client: Option<Box<Session>>,
    upstream: Option<Box<Session>>,
}

impl Sessions {
    fn legs<'a>(&'a mut self, (client, upstream): (&'a Socket, &'a Socket)) -> (Leg<'a>, Leg<'a>) {
        let client = Leg { socket: client, session: self.client.as_deref_mut() };
        (client, Leg { socket: upstream, session: self.upstream.as_deref_mut() })
    }

    /// Why it came to no good end.
    fn tell(&self, ledger: &mut Ledger) {
        for (who, session) in [("client", &self.client), ("upstream", &self.upstream)] {
            if let Some(fault) = session.as_ref().and_then(|session| session.fault()) {
                ledger.missed(&format!("TLS of the {who}: {fault}"));
            }
        }
    }
}

/// Connects an upstream, and gives it what was heard of the client already.
async fn reach(
    client: &Socket,
    lead: &Lead,
    mut heard: Option<Box<Heard>>,
    ledger: &mut Ledger,
) -> Result<Reached, Outcome> {
    let mut header = greeting::header(client, lead, heard.as_deref(), ledger);
    let holds_bytes = heard.as_ref().is_some_and(|heard| heard.holds_bytes());
    let is_waited_for = holds_bytes || !header.is_empty();
    let begins_tls = lead.route.policy.clients.tls.upstream.is_some();
    // TLS comes after the header.
    let before = if begins_tls { take(&mut header) } else { Vec::new() };
    let asker = Asker { socket: client, is_waited_for, before: &before };
    let Egress { stream, load, tie } = egress::connect(asker, lead, ledger).await?;
    let upstream = Severed::unless_told(stream.socket);
    ledger.leads_to(&upstream.socket);
    let of_client = heard.as_mut().and_then(|heard| heard.session.take());
    let mut sessions = Sessions { client: of_client, upstream: stream.session };
    let first = heard.map(|heard| heard.first).unwrap_or_default();
    let leg = Leg { socket: &upstream.socket, session: sessions.upstream.as_deref_mut() };
    greeting::greet((client, leg), lead, (header, &first), ledger).await?;
    let has_tls = sessions.client.is_some() || sessions.upstream.is_some();
    Ok(Reached { upstream, sessions: has_tls.then(|| Box::new(sessions)), load, tie })
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
