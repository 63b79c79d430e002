//! Sessions move from one process to another: a listener hands them out in the old one, and takes them in in the new one.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::header::Upstream;
use super::listener::{UdpListener, Wanted};
use super::opening::{header, terms};
use super::session::{Permits, Resumed, Session};
use super::sessions::{UdpSessions, now};
use crate::model::{Peer, UpstreamAddr};
use crate::net::within;
use crate::proxy::record::{OpenConnection, Shared};
use crate::proxy::route::{Candidate, ClientPermit, SessionPermit};
use crate::state::flows::{Ends, Flow};
use crate::state::moved::MovedSession;
use crate::tasks::Scope;

/// How long a listener has to hand its sessions out: it may be in the middle of a flood.
const HAND_OUT: Duration = Duration::from_secs(1);

/// A session that has left its listener. Dropping it gives it back.
#[derive(Debug)]
pub struct SessionOffer {
    flow: Option<Flow<Session>>,
    listener: Arc<UdpListener>,
    shared: Arc<Shared>,
}

impl SessionOffer {
    /// What another process must know of it, beside its socket. `None`: it has no upstream.
    pub fn said(&self) -> Option<MovedSession> {
        let flow = self.flow.as_ref()?;
        let (session, now) = (flow.state(), now());
        let mut moved = session.said()?;
        moved.client = flow.ends().client.to_string();
        moved.local = flow.ends().local.to_string();
        flow.say(now, &mut moved);
        Some(moved)
    }

    /// Its socket to the upstream.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.flow.as_ref()?.state().upstream.as_ref()?.socket.as_fd())
    }

    /// It has moved.
    pub fn moved(mut self) {
        if let Some(flow) = self.flow.take() {
            let open = &flow.state().open;
            open.has_moved();
            self.shared.open.remove(open.id);
        }
    }
}

impl Drop for SessionOffer {
    fn drop(&mut self) {
        if let Some(flow) = self.flow.take() {
            self.listener.take_in(flow);
        }
    }
}

impl UdpSessions {
    /// Hands out every session that has an upstream, if somebody has asked for them.
    pub(super) fn hand_out(&mut self) {
        let Some(Wanted { owners, to }) = self.listener.wanted() else { return };
        let goes_on = |session: &Session| owners.iter().any(|owner| owner.is(&session.live.connections));
        let ids = self.flows.of(|session| session.may_move() && goes_on(session));
        let flows: Vec<_> = ids.into_iter().filter_map(|id| self.flows.take(id)).collect();
        let sockets = flows.iter().filter_map(|flow| flow.state().upstream.as_ref());
        sockets.for_each(|upstream| self.listener.poller.remove(&upstream.socket));
        // If nobody waits any more they come back.
        if let Err(flows) = to.send(flows) {
            self.listener.mailbox.put_sessions(flows);
            self.take_over();
        }
    }
}

/// Takes out the sessions of a listener that can move, if one of these owns them.
pub async fn hand_out(
    listener: &Arc<UdpListener>,
    owners: Vec<Scope>,
    shared: &Arc<Shared>,
) -> Vec<SessionOffer> {
    let mut flows = listener.hand_out(owners);
    // An error says that it has no task, and so no session.
    let handed = match within(HAND_OUT, &mut flows).await {
        Ok(handed) => handed.unwrap_or_default(),
        Err(_) => {
            flows.close();
            flows.try_recv().unwrap_or_default()
        }
    };
    let offer = |flow| SessionOffer { flow: Some(flow), listener: listener.clone(), shared: shared.clone() };
    handed.into_iter().map(offer).collect()
}

/// Goes on with a session that another process has begun. Returns whether that is possible: its route still has this upstream,
/// and there is room.
pub fn resume(
    moved: &MovedSession,
    socket: OwnedFd,
    listener: &Arc<UdpListener>,
    shared: &Arc<Shared>,
) -> bool {
    try_resume(moved, socket, listener, shared).is_some()
}

fn try_resume(
    moved: &MovedSession,
    socket: OwnedFd,
    listener: &Arc<UdpListener>,
    shared: &Arc<Shared>,
) -> Option<()> {
    let live = listener.live().filter(|live| live.route.name == moved.route)?;
    let (client, local) = (moved.client.parse::<SocketAddr>().ok()?, moved.local.parse::<IpAddr>().ok()?);
    let (addr, ends) = (moved.address.parse::<SocketAddr>().ok()?, Ends { client, local });
    let candidates = live.candidates();
    let candidate = candidates.list().iter().position(|candidate| leads_to(candidate, moved, addr))?;
    let (now, peer) = (now(), Peer::from_ip(client));
    let session = SessionPermit::take(&shared.sessions, &live, &peer, now)?;
    if moved.proven {
        session.proves(now);
    }
    let client = ClientPermit::resume(&live.state, &live.route.policy.limits, &peer);
    let open = OpenConnection::session_resumed(moved, live.clone(), &listener.addr, peer, &listener.signal);
    let open = Arc::new(open);
    let permits = Permits { session, _client: client };
    let resumed = Resumed { candidates, candidate, answered: moved.answered };
    let mut session = Session::new(live.clone(), Some(ends.client.ip()), permits, open.clone());
    session.resume(resumed, now);
    (session.by_route, session.wanted) =
        (moved.by_route, Some(SocketAddr::new(local, listener.socket.addr().port())));
    session.note_past(moved);
    let dscp = session.source().and_then(|source| source.dscp);
    let header = header(&session, &ends, listener, shared).filter(|_| moved.headed);
    session.set_upstream(Upstream { socket: Arc::new(socket), addr, dscp, header });
    open.set_session_local(local);
    shared.open.add(&open);
    let flow = Flow::heard(moved, ends, terms(&live), now, session);
    listener.take_in(flow);
    Some(())
}

/// Whether a candidate is the upstream of a session, at the address that it writes to.
fn leads_to(candidate: &Candidate, moved: &MovedSession, addr: SocketAddr) -> bool {
    let same = match candidate.endpoint.state.addr() {
        UpstreamAddr::Ip(own) => *own == addr,
        UpstreamAddr::Original => true,
        UpstreamAddr::Unix(_) | UpstreamAddr::Name(..) => false,
    };
    same && candidate.written.to_string() == moved.upstream
}

impl UdpListener {
    /// Takes a session in, which is served from now on.
    fn take_in(&self, flow: Flow<Session>) {
        self.mailbox.put_sessions(vec![flow]);
        self.signal.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ListenAddr;
    use crate::proxy::record::SessionSignal;
    use crate::proxy::route::{LiveRoute, SessionLimit, live_route};

    const DNS: &str = "[[route]]\nlisten = \"53\"\nupstream = \"10.0.0.1:53\"\nprotocol = \"udp\"\n";

    #[tokio::test]
    async fn a_session_goes_on_with_the_upstream_of_its_text_at_its_address() {
        let candidates = live_route(DNS).candidates();
        let leads = |upstream: &str, addr: &str| {
            let moved = MovedSession { upstream: upstream.to_owned(), ..MovedSession::default() };
            leads_to(candidates.get(0).unwrap(), &moved, addr.parse().unwrap())
        };
        assert!(leads("10.0.0.1:53", "10.0.0.1:53"));
        assert!(!leads("dns.test:53", "10.0.0.1:53"), "the new text reaches it by another");
        assert!(!leads("10.0.0.1:53", "10.0.0.2:53"));
    }

    fn session(live: &Arc<LiveRoute>) -> Session {
        let (client, listener) = (Peer::Unix(None), Arc::new(ListenAddr::Any(53)));
        let permit = SessionPermit::take(&Arc::<SessionLimit>::default(), live, &client, now()).unwrap();
        let of_client = ClientPermit::resume(&live.state, &live.route.policy.limits, &client);
        let permits = Permits { session: permit, _client: of_client };
        let signal = Arc::<SessionSignal>::default();
        let open = OpenConnection::session(1, live.clone(), &listener, client, &signal);
        Session::new(live.clone(), None, permits, Arc::new(open))
    }

    fn with_upstream(live: &Arc<LiveRoute>) -> Session {
        let (mut session, socket) = (session(live), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let resumed = Resumed { candidates: live.candidates(), candidate: 0, answered: true };
        session.resume(resumed, now());
        let (socket, addr) = (Arc::new(socket.into()), "10.0.0.1:53".parse().unwrap());
        session.set_upstream(Upstream { socket, addr, dscp: None, header: None });
        session
    }

    #[tokio::test]
    async fn only_a_session_with_an_upstream_moves_that_is_not_about_to_end() {
        let live = live_route(DNS);
        assert!(!session(&live).may_move());
        assert!(with_upstream(&live).may_move());
        let (leaves, ended) = (with_upstream(&live), with_upstream(&live));
        leaves.open.leave();
        ended.open.cut();
        assert!(!leaves.may_move() && !ended.may_move());
    }
}
