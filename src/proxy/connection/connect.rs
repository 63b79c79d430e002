//! Connects an upstream, and sends it everything that precedes the relay.

use std::mem::take;
use std::sync::{Arc, Weak};

use super::attempt::ForClient;
use super::client::Client;
use super::cut::CutSignal;
use super::preamble::Preamble;
use super::reset::ResetOnDrop;
use super::walk::{Dialed, walk};
use super::{header, hold};
use crate::model::{Outcome, Peer, WhenDown};
use crate::net::relay::Streams;
use crate::net::tls::Session;
use crate::net::{OfClient, Socket, StreamRef};
use crate::proxy::record::RecordGuard;
use crate::proxy::route::{Astray, LiveRoute};
use crate::state::Load;

/// The connected upstream of a connection.
pub(super) struct Upstream {
    pub socket: ResetOnDrop,
    /// `None`: neither side has TLS.
    sessions: Option<Box<Sessions>>,
    /// Resolves when the connection must be cut from outside. `None`: the policy cuts nothing.
    cut: Option<Box<CutSignal>>,
    /// Counts the connection in the upstream's load until it ends.
    _load: Load,
}

/// The TLS session of each side. `None`: that side has no TLS.
struct Sessions {
    client: Option<Box<Session>>,
    upstream: Option<Box<Session>>,
}

impl Upstream {
    /// The upstream of a connection that another process has begun, without TLS.
    pub fn resume(socket: ResetOnDrop, cut: Option<Box<CutSignal>>, load: Load) -> Upstream {
        Upstream { socket, sessions: None, cut, _load: load }
    }

    /// Whether either side has TLS.
    pub fn has_tls(&self) -> bool {
        self.sessions.is_some()
    }

    /// Both sides of the connection, and the signal that cuts it.
    pub fn streams<'a>(&'a mut self, client: &'a Socket) -> (Streams<'a>, &'a mut Option<Box<CutSignal>>) {
        let (of_client, of_upstream) = match &mut self.sessions {
            None => (None, None),
            Some(sessions) => (sessions.client.as_deref_mut(), sessions.upstream.as_deref_mut()),
        };
        let client = StreamRef { socket: client, session: of_client };
        let upstream = StreamRef { socket: &self.socket.socket, session: of_upstream };
        (Streams { client, upstream }, &mut self.cut)
    }

    /// Adds the TLS faults of both sides to the record.
    pub fn note_faults(&self, guard: &mut RecordGuard) {
        let Some(sessions) = &self.sessions else { return };
        for (who, session) in [("client", &sessions.client), ("upstream", &sessions.upstream)] {
            if let Some(fault) = session.as_ref().and_then(|session| session.fault()) {
                guard.failed_attempt(&format!("TLS of the {who}: {fault}"));
            }
        }
    }
}

/// Connects an upstream, and sends it the PROXY header and the bytes that were read from the client already.
pub(super) async fn connect(
    client: &mut Client,
    live: &LiveRoute,
    preamble: Option<Box<Preamble>>,
) -> Result<Upstream, Outcome> {
    // Boxed: its memory is freed before the relay begins.
    Box::pin(reach(client, live, preamble)).await
}

async fn reach(
    client: &mut Client,
    live: &LiveRoute,
    mut preamble: Option<Box<Preamble>>,
) -> Result<Upstream, Outcome> {
    let (socket, guard) = (&*client.socket.socket, &mut client.guard);
    let of = of_client(socket, live, guard).map_err(|astray| {
        guard.failed_attempt(&astray.why);
        astray.outcome
    })?;
    let original = of.original;
    let to = || original.map(Peer::Ip).or_else(|| socket.local());
    let mut first = header::of(to, live, preamble.as_deref(), guard);
    let holds_bytes = !first.is_empty() || preamble.as_ref().is_some_and(|preamble| preamble.holds_bytes());
    let begins_tls = live.route.policy.tls.upstream.is_some();
    // The header precedes TLS.
    let before_tls = if begins_tls { take(&mut first) } else { Vec::new() };
    let wanted = ForClient { socket, holds_bytes, of, before_tls: &before_tls };
    let Dialed { stream, load, cut, at } = first_connected(wanted, live, guard).await?;
    let upstream = ResetOnDrop::new(stream.socket);
    guard.set_upstream_socket(&upstream.socket, at - guard.opened().accepted);
    if let Some(to) = original {
        let open: Weak<Socket> = Arc::downgrade(&upstream.socket);
        live.dialled(upstream.socket.local(), to, open);
    }
    let session = preamble.as_mut().and_then(|preamble| preamble.session.take());
    let mut sessions = Sessions { client: session, upstream: stream.session };
    let has_tls = sessions.client.is_some() || sessions.upstream.is_some();
    let mut read = preamble.map(|preamble| preamble.first).unwrap_or_default();
    if !first.is_empty() && !has_tls {
        header::take_along(socket, &mut read).await?;
    }
    let of_client = read.len();
    if !first.is_empty() {
        read.reserve_exact(first.len());
        read.splice(..0, first);
    }
    let to = StreamRef { socket: &upstream.socket, session: sessions.upstream.as_deref_mut() };
    header::send(socket, to, &read, live.route.policy.timeouts.connect).await?;
    guard.traffic().sent_before_relay(of_client);
    // The upstream has it.
    client.permits.preread = None;
    Ok(Upstream { socket: upstream, sessions: has_tls.then(|| Box::new(sessions)), cut, _load: load })
}

/// Whom an upstream is connected for, and where the client wanted to go.
fn of_client(socket: &Socket, live: &LiveRoute, guard: &RecordGuard) -> Result<OfClient, Astray> {
    let wanted = || socket.original_destination();
    Ok(OfClient {
        ip: guard.client().ip(),
        original: live.destination(|| guard.client(), wanted)?,
        offset: live.offset(&guard.opened().listener, wanted)?,
    })
}

/// Walks the candidates until one connects. A reset by the client ends the walk. A FIN does not: the client may still
/// wait for its answer.
async fn first_connected(
    client: ForClient<'_>,
    live: &LiveRoute,
    guard: &mut RecordGuard,
) -> Result<Dialed, Outcome> {
    let connected = async {
        match (walk(client, live, guard).await, live.route.policy.when_down) {
            (Err(failed), WhenDown::Hold(time)) if failed != Outcome::ClientReset => {
                // Boxed: a task is as large as its largest branch.
                Box::pin(hold::until_back(client, live, time, failed, guard)).await
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
