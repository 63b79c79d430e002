//! How a session is opened, and how it finds its upstream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::drops::Reason;
use super::header::{ProxyHeader, Upstream};
use super::listener::UdpListener;
use super::session::{Next, Permits, Session};
use super::sessions::{UdpSessions, now};
use crate::model::policy::UDP_IDLE;
use crate::model::{Outcome, Peer};
use crate::net::OfClient;
use crate::net::datagram::{self, Segments};
use crate::proxy::record::{OpenConnection, Shared};
use crate::proxy::route::{ClientPermit, LiveRoute, SessionPermit};
use crate::state::flows::{Ends, FlowId, Stage, Terms};

/// How many addresses of this host a listener knows. Few hosts have more.
const ADDRESSES: usize = 64;

impl UdpSessions {
    /// Opens a session, if the limits allow it. Another one may have to make way.
    pub(super) fn open(&mut self, ends: Ends, segments: &Segments<'_>) -> Result<FlowId, Reason> {
        let live = self.live.clone().ok_or(Reason::Closing)?;
        let client = Peer::from_ip(ends.client);
        if !live.admits(&client) {
            return Err(Reason::Denied);
        }
        let permit = ClientPermit::take(&live.state, &live.route.policy.limits, &client);
        let of_client = permit.map_err(|refusal| {
            live.state.refused(refusal, &client);
            Reason::Limited
        })?;
        let permit = SessionPermit::take(&self.shared.sessions, &live, &client, self.now);
        // Before another socket is opened.
        self.end_evicted();
        let permits = Permits { session: permit.ok_or(Reason::Full)?, _client: of_client };
        let terms = terms(&live);
        let mut session = self.session(live, client, permits);
        session.open.set_session_local(ends.local);
        session.wanted = Some(SocketAddr::new(ends.local, self.listener.socket.addr().port()));
        // Where clients wanted to go is one host, or they go nowhere.
        session.by_route = !session.live.route.is_original() && self.is_broadcast(ends.local);
        let id = self.flows.open(ends, terms, self.now, session);
        self.flows.ask(&ends, segments.datagrams, self.now);
        if let Some((session, ..)) = self.flows.get_mut(id) {
            session.permit().is_served_by(&self.listener.evicted, id);
        }
        if self.connect(id) { Ok(id) } else { Err(Reason::NoUpstream) }
    }

    /// Whether clients that write to this address write to many hosts. Asks the kernel once for each address.
    fn is_broadcast(&mut self, local: IpAddr) -> bool {
        let Some(IpAddr::V4(ip)) = self.listener.socket.source(local) else { return false };
        if let Some((_, broadcast)) = self.broadcasts.iter().find(|(known, _)| *known == ip) {
            return *broadcast;
        }
        let broadcast = datagram::is_broadcast(ip);
        if self.broadcasts.len() < ADDRESSES {
            self.broadcasts.push((ip, broadcast));
        }
        broadcast
    }

    /// A new session, listed in the open table.
    fn session(&self, live: Arc<LiveRoute>, client: Peer, permits: Permits) -> Session {
        let id = self.shared.next_id();
        live.state.meter().tally.opened();
        let (addr, signal) = (&self.listener.addr, &self.listener.signal);
        let ip = client.ip();
        let open = Arc::new(OpenConnection::session(id, live.clone(), addr, client, signal));
        self.shared.open.add(&open);
        Session::new(live, ip, permits, open)
    }

    /// Connects a session to its next candidate, and sends what was kept. Returns whether the session goes on.
    fn connect(&mut self, id: FlowId) -> bool {
        loop {
            let Some((session, ends, _)) = self.flows.get_mut(id) else { return false };
            match session.next(self.now) {
                Next::Wait => return true,
                Next::Over(outcome) => {
                    self.end(id, outcome);
                    return false;
                }
                Next::Try(addr) => {
                    let source = session.source().cloned();
                    let connected = datagram::connect(
                        addr,
                        source.as_deref(),
                        OfClient { ip: Some(ends.client.ip()), original: None, offset: 0 },
                    )
                    .and_then(|socket| self.listener.poller.add(&socket, id.into()).map(|()| socket));
                    match connected {
                        Ok(socket) => {
                            let header = header(session, &ends, &self.listener, &self.shared);
                            let dscp = source.and_then(|source| source.dscp);
                            session.set_upstream(Upstream { socket: Arc::new(socket), addr, dscp, header });
                            if session.is_disabled() {
                                session.leave();
                                continue;
                            }
                        }
                        Err(error) => {
                            session.failed(addr, &error);
                            continue;
                        }
                    }
                }
            }
            self.replay(id);
            return true;
        }
    }

    /// Sends what was kept to an upstream that has just been connected.
    fn replay(&mut self, id: FlowId) {
        let Some((session, ends, counts)) = self.flows.get_mut(id) else { return };
        let kept = session.kept();
        let Some(upstream) = &mut session.upstream else { return };
        let mut refusal = None;
        for datagram in &kept {
            let segments = Segments::single(ends.client, None, datagram);
            let sent = upstream.send(&self.listener.socket, &segments, &mut self.headed);
            counts.up += sent.sent;
            let Some((failed, error)) = sent.failed else { continue };
            if error.kind() == io::ErrorKind::ConnectionRefused {
                // The error answers the datagram before. The kernel reports it only once, and nothing may show it
                // again.
                refusal = Some(error);
                break;
            }
            counts.dropped += failed;
            self.listener.drops.add(Reason::of(&error), failed);
        }
        session.open.moved(counts.bytes(), self.now);
        if session.has_others() {
            session.keep_again(kept);
        }
        if let Some(error) = refusal {
            self.refused(id, &error);
        }
    }

    /// Handles a refusal: a session without an answer tries the next candidate, any other ends.
    pub(super) fn refused(&mut self, id: FlowId, error: &io::Error) {
        let stage = self.flows.stage(id);
        let Some((session, ..)) = self.flows.get_mut(id) else { return };
        if stage != Some(Stage::Asking) {
            session.lost(error);
            return self.end(id, Outcome::UpstreamRefused);
        }
        if let Some(addr) = session.upstream.as_ref().map(|upstream| upstream.addr) {
            session.failed(addr, error);
            self.connect(id);
        }
    }

    /// Retries the sessions that wait for an address, after news of upstreams, and ends those whose
    /// address has left its name.
    pub(super) fn look_again(&mut self) {
        self.now = now();
        for id in self.flows.of(Session::waits) {
            self.connect(id);
        }
        self.end_vanished();
    }
}

/// What a route grants its sessions.
pub(super) fn terms(live: &LiveRoute) -> Terms {
    let policy = &live.route.policy;
    Terms { idle: policy.timeouts.idle.unwrap_or(UDP_IDLE), replies: policy.max_replies }
}

/// The header that names the client to the upstream of a session. `None`: the route sends none.
pub(super) fn header(
    session: &Session,
    ends: &Ends,
    listener: &UdpListener,
    shared: &Shared,
) -> Option<ProxyHeader> {
    let server = SocketAddr::new(ends.local, listener.socket.addr().port());
    let proxy_protocol = &session.live.route.policy.proxy_protocol;
    ProxyHeader::new(proxy_protocol, ends.client, server, || shared.unique_id(session.open.id))
}
