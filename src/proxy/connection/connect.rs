//! From a client to a connected upstream that has what it gets before the relay begins.

use std::mem::take;

use super::attempt::ForClient;
use super::client::Client;
use super::cut::CutSignal;
use super::preamble::Preamble;
use super::reset::ResetOnDrop;
use super::walk::{Dialed, walk};
use super::{header, hold};
use crate::model::{Outcome, WhenDown};
use crate::net::relay::Streams;
use crate::net::tls::Session;
use crate::net::{Socket, StreamRef};
use crate::proxy::record::RecordGuard;
use crate::proxy::route::LiveRoute;
use crate::state::Load;

/// The upstream of a connection.
pub(super) struct Upstream {
    pub socket: ResetOnDrop,
    /// `None`: neither side has TLS.
    sessions: Option<Box<Sessions>>,
    /// What ends the connection from outside.
    cut: Option<Box<CutSignal>>,
    /// Its share of the upstream's load, given back when the connection has ended.
    _load: Load,
}

/// The TLS of each side, where it has any.
struct Sessions {
    client: Option<Box<Session>>,
    upstream: Option<Box<Session>>,
}

impl Upstream {
    /// Both ends of the connection, and what cuts it.
    pub fn streams<'a>(&'a mut self, client: &'a Socket) -> (Streams<'a>, &'a mut Option<Box<CutSignal>>) {
        let (of_client, of_upstream) = match &mut self.sessions {
            None => (None, None),
            Some(sessions) => (sessions.client.as_deref_mut(), sessions.upstream.as_deref_mut()),
        };
        let client = StreamRef { socket: client, session: of_client };
        let upstream = StreamRef { socket: &self.socket.socket, session: of_upstream };
        (Streams { client, upstream }, &mut self.cut)
    }

    /// Notes what went wrong in TLS.
    pub fn note_faults(&self, guard: &mut RecordGuard) {
        let Some(sessions) = &self.sessions else { return };
        for (who, session) in [("client", &sessions.client), ("upstream", &sessions.upstream)] {
            if let Some(fault) = session.as_ref().and_then(|session| session.fault()) {
                guard.failed_attempt(&format!("TLS of the {who}: {fault}"));
            }
        }
    }
}

/// Connects an upstream, and sends it the PROXY header and what was read of the client already.
pub(super) async fn connect(
    client: &mut Client,
    live: &LiveRoute,
    preamble: Option<Box<Preamble>>,
) -> Result<Upstream, Outcome> {
    // In a box: its memory is given back before the relay begins.
    Box::pin(reach(client, live, preamble)).await
}

async fn reach(
    client: &mut Client,
    live: &LiveRoute,
    mut preamble: Option<Box<Preamble>>,
) -> Result<Upstream, Outcome> {
    let (socket, guard) = (&*client.socket.socket, &mut client.guard);
    let mut first = header::of(socket, live, preamble.as_deref(), guard);
    let holds_bytes = !first.is_empty() || preamble.as_ref().is_some_and(|preamble| preamble.holds_bytes());
    let begins_tls = live.route.policy.tls.upstream.is_some();
    // TLS comes after the header.
    let before_tls = if begins_tls { take(&mut first) } else { Vec::new() };
    let wanted = ForClient { socket, holds_bytes, before_tls: &before_tls };
    let Dialed { stream, load, cut } = first_connected(wanted, live, guard).await?;
    let upstream = ResetOnDrop::new(stream.socket);
    guard.set_upstream_socket(&upstream.socket);
    let of_client = preamble.as_mut().and_then(|preamble| preamble.session.take());
    let mut sessions = Sessions { client: of_client, upstream: stream.session };
    let read = preamble.map(|preamble| preamble.first).unwrap_or_default();
    first.extend_from_slice(&read);
    let to = StreamRef { socket: &upstream.socket, session: sessions.upstream.as_deref_mut() };
    header::send(socket, to, &first, live.route.policy.timeouts.connect).await?;
    guard.traffic().sent_before_relay(read.len());
    let has_tls = sessions.client.is_some() || sessions.upstream.is_some();
    Ok(Upstream { socket: upstream, sessions: has_tls.then(|| Box::new(sessions)), cut, _load: load })
}

/// Walks the candidates until one is connected. A client that resets meanwhile ends the search; one that only sends
/// FIN does not: it may well wait for its answer.
async fn first_connected(
    client: ForClient<'_>,
    live: &LiveRoute,
    guard: &mut RecordGuard,
) -> Result<Dialed, Outcome> {
    let connected = async {
        match (walk(client, live, guard).await, live.route.policy.when_down) {
            (Err(failed), WhenDown::Hold(time)) if failed != Outcome::ClientReset => {
                hold::until_back(client, live, time, failed, guard).await
            }
            (connected, _) => connected,
        }
    };
    tokio::select! {
        biased;
        connected = connected => connected,
        () = client.socket.failed() => Err(Outcome::ClientReset),
    }
}
