//! The life of one datagram: it finds its session or opens one, and is sent on or counted as dropped.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::drops::Reason;
use super::header::{ProxyHeader, Upstream};
use super::listener::{LISTENER, UdpListener};
use super::session::{self, Next, Session};
use crate::model::policy::UDP_IDLE;
use crate::model::{Outcome, Peer};
use crate::net::datagram::{self, Batch, Ready, Segments};
use crate::proxy::record::{OpenConnection, Shared};
use crate::proxy::route::{LiveRoute, SessionPermit};
use crate::state::flows::{Answer, Ended, Ends, FlowId, Flows, Placement, Stage, Terms};

/// How many rounds of full reads run before other tasks have their turn.
const ROUNDS: usize = 8;
/// How many calls read from a session while it is quiet: one for a datagram, one to see that there is no other.
const QUIET: usize = 2;

thread_local! {
    /// Per thread rather than per listener, so that its memory stays touched.
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// The sessions of one listener.
pub(super) struct UdpSessions {
    pub(super) listener: Arc<UdpListener>,
    shared: Arc<Shared>,
    live: Option<Arc<LiveRoute>>,
    pub(super) flows: Flows<Session>,
    /// Sockets that may have more than was read from them.
    more: Vec<u64>,
    pub(super) now: Instant,
    /// Since when the end of sessions waits for a flood to be read. `None`: it does not wait.
    pub(super) flooded: Option<Instant>,
    /// Scratch space for datagrams with headers.
    headed: Vec<u8>,
}

impl UdpSessions {
    /// The state of a listener without sessions.
    pub(super) fn new(listener: Arc<UdpListener>, shared: Arc<Shared>) -> UdpSessions {
        // No event reports what arrived before the listener was served, so read it first.
        let (flows, more) = (Flows::default(), vec![LISTENER]);
        UdpSessions {
            listener,
            shared,
            live: None,
            flows,
            more,
            now: now(),
            flooded: None,
            headed: Vec::new(),
        }
    }

    /// Sets the route of new sessions. Returns whether it is another one.
    pub(super) fn follow(&mut self, live: Option<Arc<LiveRoute>>) -> bool {
        let same = match (&self.live, &live) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        self.live = live;
        !same
    }

    /// Whether there is no session, and will be none.
    pub(super) fn is_over(&self) -> bool {
        self.live.is_none() && self.flows.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.flows.next_deadline()
    }

    /// Whether a round of reading has left something to read.
    pub(super) fn has_more(&self) -> bool {
        !self.more.is_empty()
    }

    /// Reads from the sockets that are ready.
    pub(super) fn turn(&mut self, ready: &Ready) {
        let old = self.more.len();
        let known = |more: &[u64], number| more[..old].contains(&number);
        for number in ready.numbers() {
            if !known(&self.more, number) {
                self.more.push(number);
            }
        }
        self.go_on();
    }

    /// Reads on, for [`ROUNDS`] rounds at most.
    pub(super) fn go_on(&mut self) {
        self.now = now();
        BATCH.with_borrow_mut(|batch| {
            for _ in 0..ROUNDS {
                for number in std::mem::take(&mut self.more) {
                    let more = match number {
                        LISTENER => self.take_in(batch),
                        number => self.take_back(FlowId::from(number), batch),
                    };
                    if more {
                        self.more.push(number);
                    }
                }
                if self.more.is_empty() {
                    break;
                }
            }
        });
        self.listener.drops.tell(&self.listener.addr, false);
    }

    /// Reads what clients have sent. Returns whether there may be more.
    fn take_in(&mut self, batch: &mut Batch) -> bool {
        match self.listener.socket.receive(batch, Batch::MOST) {
            Ok(calls) => {
                batch.runs(|segments| self.ask(&segments));
                calls == Batch::MOST
            }
            // The error belongs to an answer that was sent before, and this call has cleared it.
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Handles datagrams of a client: finds their session or opens one, and sends them on.
    fn ask(&mut self, segments: &Segments<'_>) {
        let ends = Ends { client: segments.from, local: self.listener.socket.local(segments) };
        let known = self.flows.ask(&ends, segments.datagrams, self.now);
        let session = known.map_or_else(|| self.open(ends, segments), Ok);
        match session {
            Ok(id) => self.send_on(id, segments),
            Err(reason) => self.listener.drops.add(reason, segments.datagrams),
        }
    }

    /// Opens a session, if the limits allow it or another one can be evicted.
    fn open(&mut self, ends: Ends, segments: &Segments<'_>) -> Result<FlowId, Reason> {
        let live = self.live.clone().ok_or(Reason::Closing)?;
        if !live.admits(&Peer::from_ip(ends.client)) {
            return Err(Reason::Denied);
        }
        let sessions = &self.shared.sessions;
        let mut permit = SessionPermit::take(sessions, &live);
        match self.flows.admit(permit.is_some(), sessions.asking(&live)) {
            Placement::Open(None) => {}
            Placement::Open(Some(ended)) => {
                self.record(ended, Outcome::Evicted);
                permit = permit.or_else(|| SessionPermit::take(&self.shared.sessions, &live));
            }
            Placement::Full => return Err(Reason::Full),
        }
        let permit = permit.ok_or(Reason::Full)?;
        let policy = &live.route.policy;
        let terms = Terms { idle: policy.timeouts.idle.unwrap_or(UDP_IDLE), replies: policy.max_replies };
        let session = self.session(live, ends.client, permit);
        let id = self.flows.open(ends, terms, self.now, session);
        self.flows.ask(&ends, segments.datagrams, self.now);
        if self.connect(id) { Ok(id) } else { Err(Reason::NoUpstream) }
    }

    /// A new session, listed in the open table.
    fn session(&self, live: Arc<LiveRoute>, client: SocketAddr, permit: SessionPermit) -> Session {
        let id = self.shared.next_id();
        live.state.meter().tally.opened();
        let open = Arc::new(OpenConnection::session(
            id,
            live.clone(),
            &self.listener.addr,
            Peer::from_ip(client),
            &self.listener.signal,
        ));
        self.shared.open.add(&open);
        Session::new(live, client, permit, open)
    }

    /// Sends datagrams of a client on, or keeps them until there is an upstream.
    fn send_on(&mut self, id: FlowId, segments: &Segments<'_>) {
        let asking = self.flows.stage(id) == Some(Stage::Asking);
        let Some((session, _, counts)) = self.flows.get_mut(id) else { return };
        let Some(upstream) = &mut session.upstream else {
            let dropped = session.keep(segments);
            counts.dropped += dropped;
            return self.listener.drops.add(Reason::Resolving, dropped);
        };
        let sent = upstream.send(&self.listener.socket, segments, &mut self.headed);
        counts.up += sent.sent;
        session.open.moved(counts.bytes(), self.now);
        if asking && session.has_others() {
            session.keep(segments);
        }
        let Some((failed, error)) = sent.failed else { return };
        if error.kind() == io::ErrorKind::ConnectionRefused && asking {
            // The error answers an earlier datagram. These are among the kept ones if there are other candidates.
            return self.refused(id, &error);
        }
        counts.dropped += failed;
        self.listener.drops.add(Reason::of(&error), failed);
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.refused(id, &error);
        }
    }

    /// Reads what a session's upstream has answered. Returns whether there may be more.
    fn take_back(&mut self, id: FlowId, batch: &mut Batch) -> bool {
        let Some((session, ends, _)) = self.flows.get_mut(id) else { return false };
        let Some(Upstream { socket, .. }) = &session.upstream else { return false };
        let most = if session.busy { Batch::MOST } else { QUIET };
        match self.listener.socket.receive_from(socket, batch, most) {
            Ok(calls) => {
                session.busy = calls == most;
                batch.runs(|segments| self.answer(id, ends, &segments));
                calls == most
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.refused(id, &error);
                true
            }
        }
    }

    /// Handles answers of an upstream: sends them to the client, and ends the session with the last one.
    fn answer(&mut self, id: FlowId, ends: Ends, segments: &Segments<'_>) {
        let Some(answer) = self.flows.answer(id, segments.datagrams, self.now) else { return };
        let sent = self.listener.socket.send(segments, ends.client, ends.local);
        let Some((session, _, counts)) = self.flows.get_mut(id) else { return };
        counts.down += sent.sent;
        session.open.moved(counts.bytes(), self.now);
        if let Some((failed, error)) = sent.failed {
            counts.dropped += failed;
            self.listener.drops.add(Reason::of(&error), failed);
        }
        session.answered();
        if answer == Answer::Last {
            self.end(id, Outcome::Replied);
        }
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
                    let connected = datagram::connect(addr)
                        .and_then(|socket| self.listener.poller.add(&socket, id.into()).map(|()| socket));
                    match connected {
                        Ok(socket) => {
                            let header = header(session, &ends, &self.listener, &self.shared);
                            session.set_upstream(Upstream { socket, addr, header });
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
    fn refused(&mut self, id: FlowId, error: &io::Error) {
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

    /// Retries the sessions that wait for an address, after news of upstreams.
    pub(super) fn look_again(&mut self) {
        self.now = now();
        for id in self.flows.of(Session::waits) {
            self.connect(id);
        }
    }

    /// Ends the sessions of a live route.
    pub(super) fn cut(&mut self, live: &Arc<LiveRoute>) {
        self.now = now();
        for id in self.flows.of(|session| Arc::ptr_eq(&session.live, live)) {
            self.end(id, self.cut_short());
        }
    }

    /// Ends the sessions that were killed by hand.
    pub(super) fn cut_killed(&mut self) {
        self.now = now();
        for id in self.flows.of(|session| session.open.is_killed()) {
            self.end(id, Outcome::Killed);
        }
    }

    /// Ends each session after this much silence.
    pub(super) fn hurry(&mut self, silence: Duration) {
        self.flows.hurry(silence);
    }

    /// Ends all sessions.
    pub(super) fn cut_all(&mut self) {
        self.now = now();
        for id in self.flows.of(|_| true) {
            self.end(id, self.cut_short());
        }
    }

    fn cut_short(&self) -> Outcome {
        match std::thread::panicking() {
            true => Outcome::Internal,
            false if self.shared.is_killed() => Outcome::Killed,
            false => Outcome::Drained,
        }
    }

    fn end(&mut self, id: FlowId, outcome: Outcome) {
        if let Some(ended) = self.flows.end(id) {
            self.record(ended, outcome);
        }
    }

    /// Writes the record. The session belongs to its scope until then: whoever waits for the scope may end the process
    /// next.
    pub(super) fn record(&self, mut ended: Ended<Session>, outcome: Outcome) {
        let record = session::record(&mut ended, &self.listener.addr, outcome, self.now);
        let session = &ended.state;
        self.shared.open.remove(record.id);
        self.shared.file(&record, &session.live.state, session.tally().as_deref());
    }
}

impl Drop for UdpSessions {
    /// However its task ends, each session gets its record.
    fn drop(&mut self) {
        self.cut_all();
        self.listener.drops.tell(&self.listener.addr, true);
    }
}

/// The header that names the client to the upstream of a session. `None`: the route sends none.
fn header(session: &Session, ends: &Ends, listener: &UdpListener, shared: &Shared) -> Option<ProxyHeader> {
    let bound = listener.socket.addr();
    let server = SocketAddr::new(ends.local.unwrap_or(bound.ip()), bound.port());
    let proxy_protocol = &session.live.route.policy.proxy_protocol;
    ProxyHeader::new(proxy_protocol, ends.client, server, || shared.unique_id(session.open.id))
}

/// The time, read once for many datagrams.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
