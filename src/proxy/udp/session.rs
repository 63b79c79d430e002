//! One session: which upstream it uses, and the record at its end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::header::Upstream;
use crate::model::{DataPath, OnVanish, Outcome, Peer, Source, UpstreamAddr};
use crate::net::datagram::Segments;
use crate::net::{is_local, plain};
use crate::proxy::record::{Connected, Datagrams, OpenConnection, Record, local_of};
use crate::proxy::route::{
    Astray, Candidate, Candidates, ClientPermit, LEADS_BACK, LiveRoute, SessionPermit,
};
use crate::state::flows::Ended;
use crate::state::meter::End;
use crate::state::moved::MovedSession;
use crate::state::{Attempt, Load, Tally, Walk};

/// How many first datagrams of a session are kept, for a name that is being looked up or for another upstream.
const KEPT: usize = 4;
/// How many bytes of them are kept.
const KEPT_BYTES: usize = 4096;
/// The detail of failed upstreams grows no further once it is longer than this, in bytes.
const DETAIL: usize = 1000;

/// A session, its upstream, and its walk through the candidates.
#[derive(Debug)]
pub(super) struct Session {
    pub live: Arc<LiveRoute>,
    pub upstream: Option<Upstream>,
    /// Whether the last read used all its calls.
    pub busy: bool,
    /// Whether the kernel chooses the address that answers leave from, as it does for ipi_spec_dst: by its route to the client
    /// (fib_compute_spec_dst() in Linux). The client wrote to a broadcast address.
    pub by_route: bool,
    /// The address and port that its client writes to. `None`: not set yet.
    pub wanted: Option<SocketAddr>,
    /// Whether its address has left its name, and its time runs.
    pub leaves: bool,
    /// The first datagrams, until an answer came.
    kept: Vec<Box<[u8]>>,
    walk: Walk,
    /// The candidates that its walk goes through. `None` until there are any.
    candidates: Option<Arc<Candidates>>,
    /// The index of the candidate that was tried last.
    candidate: Option<usize>,
    attempt: Option<Attempt>,
    load: Option<Load>,
    /// Its entry in the open table.
    pub open: Arc<OpenConnection>,
    errors: String,
    permits: Permits,
}

/// What a session holds of the limits.
#[derive(Debug)]
pub(super) struct Permits {
    pub session: SessionPermit,
    pub _client: ClientPermit,
}

/// Which upstream another process has chosen for a session.
pub(super) struct Resumed {
    pub candidates: Arc<Candidates>,
    /// Its index.
    pub candidate: usize,
    /// It has answered.
    pub answered: bool,
}

/// What a session does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Try this address.
    Try(SocketAddr),
    /// Wait until a name has an address.
    Wait,
    /// End, with this outcome: no candidate is left.
    Over(Outcome),
}

impl Session {
    /// A session without an upstream yet.
    pub(super) fn new(
        live: Arc<LiveRoute>,
        client: Option<IpAddr>,
        permits: Permits,
        open: Arc<OpenConnection>,
    ) -> Self {
        Session {
            walk: Walk::new(client, fastrand::u64(..)),
            live,
            upstream: None,
            busy: false,
            by_route: false,
            wanted: None,
            leaves: false,
            kept: Vec::new(),
            candidates: None,
            candidate: None,
            attempt: None,
            load: None,
            open,
            errors: String::new(),
            permits,
        }
    }

    /// Goes on with the upstream that another process has chosen.
    pub(super) fn resume(&mut self, resumed: Resumed, now: Instant) {
        let Resumed { candidates, candidate, answered } = resumed;
        let upstream = candidates.get(candidate).map(|candidate| &candidate.endpoint.state);
        match upstream {
            Some(upstream) if answered => self.load = Some(upstream.resume()),
            Some(upstream) => self.attempt = upstream.begin(None, now),
            None => {}
        }
        (self.candidates, self.candidate) = (Some(candidates), Some(candidate));
    }

    /// Notes what another process has counted, and has said of failed upstreams.
    pub(super) fn note_past(&mut self, moved: &MovedSession) {
        self.errors.clone_from(&moved.detail);
        if moved.counted {
            self.open.known().tally = self.candidate().map(|candidate| candidate.tally.clone());
        }
    }

    /// Whether it has an upstream and goes on, and so can do that in another process.
    pub(super) fn may_move(&self) -> bool {
        let stays = !self.open.is_ended() && !self.open.is_leaving();
        stays && self.upstream.is_some() && self.candidate().is_some()
    }

    /// What another process must know of it. `None`: it has no upstream.
    pub(super) fn said(&self) -> Option<MovedSession> {
        // Its permits and its place in the walk are taken anew; what was kept for another upstream is forgotten.
        #[rustfmt::skip]
        let Session {
            live, upstream, by_route, open, errors,
            busy: _, wanted: _, leaves: _, kept: _, walk: _, candidates: _, candidate: _, attempt: _, load: _, permits: _,
        } = self;
        let (upstream, candidate) = (upstream.as_ref()?, self.candidate()?);
        Some(MovedSession {
            id: open.id,
            route: live.route.name.clone(),
            listener: self.open.listener.to_string(),
            upstream: candidate.written.to_string(),
            address: upstream.addr.to_string(),
            age: u64::try_from(self.open.age().as_micros()).unwrap_or(u64::MAX),
            counted: self.open.known().tally.is_some(),
            by_route: *by_route,
            headed: upstream.header.is_some(),
            detail: errors.clone(),
            ..MovedSession::default()
        })
    }

    /// Chooses the next address to try. [`Session::failed`] notes one that has failed.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        loop {
            let candidates = self.candidates.get_or_insert_with(|| self.live.candidates()).clone();
            if candidates.list().is_empty() {
                self.candidates = None;
                return self.unresolved();
            }
            let Some(step) = candidates.pool.next(&mut self.walk, now) else {
                candidates.closed().for_each(|why| self.note_error(&why));
                return Next::Over(match (self.candidate, self.walk.full()) {
                    (None, None) if !candidates.pool.takes_new() => Outcome::ConnectFailed,
                    (None, None) if candidates.pool.has_loop() => {
                        self.note_error(&format!("every upstream {LEADS_BACK}"));
                        Outcome::Loop
                    }
                    (None, _) => Outcome::Limited,
                    (Some(_), _) => Outcome::ConnectFailed,
                });
            };
            (self.candidate, self.attempt) = (Some(step.index), Some(step.attempt));
            let addr = self.candidate().map(|candidate| candidate.endpoint.state.addr());
            match addr {
                Some(UpstreamAddr::Ip(addr)) => return Next::Try(*addr),
                Some(UpstreamAddr::Original) => return self.go_to_original(),
                // No UDP route has a Unix socket, and names are resolved to addresses.
                None | Some(UpstreamAddr::Name(..) | UpstreamAddr::Unix(_)) => {}
            }
        }
    }

    /// Its client goes where it wanted to, if it may.
    fn go_to_original(&mut self) -> Next {
        match self.live.destination(|| self.open.known().client.clone(), || self.wanted) {
            Ok(Some(addr)) => Next::Try(addr),
            Ok(None) => Next::Over(Outcome::ConnectFailed),
            Err(Astray { outcome, why }) => {
                self.note_error(&why);
                Next::Over(outcome)
            }
        }
    }

    /// No name has an address: waits for those without an answer yet.
    fn unresolved(&mut self) -> Next {
        let unresolved: Vec<_> = self.live.unresolved().map(|(name, why)| (name.to_string(), why)).collect();
        // Empty: an answer came between the two looks, and its news will follow.
        if unresolved.is_empty() || self.live.awaits_a_name() {
            return Next::Wait;
        }
        for (name, why) in unresolved {
            self.note_error(&format!("{name}: the name does not resolve: {why}"));
        }
        Next::Over(Outcome::ConnectFailed)
    }

    /// Sets the socket to the address that is tried now.
    pub(super) fn set_upstream(&mut self, upstream: Upstream) {
        self.open.set_session_socket(&upstream.socket);
        self.upstream = Some(upstream);
        self.open.known().upstream = self.connected();
        if let Some(upstream) = self.upstream.as_ref().filter(|_| self.live.route.is_original()) {
            let open: Weak<OwnedFd> = Arc::downgrade(&upstream.socket);
            self.live.dialled(self.open.local(), upstream.addr, open);
        }
    }

    /// Whether the upstream that it has just been connected to has become one that nobody may connect to.
    pub(super) fn is_disabled(&self) -> bool {
        let candidates = self.candidates.as_ref().zip(self.candidate);
        candidates.is_some_and(|(candidates, index)| candidates.is_disabled(index))
    }

    /// The counters of its upstream, which include the session from now on. `None`: it has no upstream.
    pub(super) fn tally(&self) -> Option<Arc<Tally>> {
        self.upstream.as_ref()?;
        let mut known = self.open.known();
        if known.tally.is_none() {
            let tally = self.candidate()?.tally.clone();
            tally.opened();
            known.tally = Some(tally);
        }
        known.tally.clone()
    }

    /// From where the candidate that it tries is reached. `None`: as the system says.
    pub(super) fn source(&self) -> Option<&Arc<Source>> {
        self.candidate()?.endpoint.key().source.as_ref()
    }

    /// Its place among all sessions.
    pub(super) fn permit(&self) -> &SessionPermit {
        &self.permits.session
    }

    /// Gives up the upstream that it has just been connected to, without a word against it.
    pub(super) fn leave(&mut self) {
        (self.upstream, self.attempt) = (None, None);
        self.open.known().upstream = None;
    }

    /// Whether it waits for the address of a name.
    pub(super) fn waits(&self) -> bool {
        self.upstream.is_none() && self.candidates.is_none()
    }

    /// Whether a refusal leaves other candidates to try.
    pub(super) fn has_others(&self) -> bool {
        self.candidates.as_ref().is_some_and(|candidates| candidates.list().len() > 1)
    }

    /// Keeps datagrams. Returns how many were dropped, because they did not fit.
    pub(super) fn keep(&mut self, segments: &Segments<'_>) -> u64 {
        let mut bytes: usize = self.kept.iter().map(|kept| kept.len()).sum();
        let mut left = 0;
        for datagram in segments.each() {
            bytes += datagram.len();
            if self.kept.len() < KEPT && bytes <= KEPT_BYTES && left == 0 {
                self.kept.push(datagram.into());
            } else {
                left += 1;
            }
        }
        left
    }

    /// Takes what was kept. [`Session::keep_again`] puts it back if it may be needed again.
    pub(super) fn kept(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.kept)
    }

    /// Puts back what [`Session::kept`] has taken.
    pub(super) fn keep_again(&mut self, kept: Vec<Box<[u8]>>) {
        self.kept = kept;
    }

    /// Notes that an address has failed, and asks for an earlier look-up of its name.
    pub(super) fn failed(&mut self, addr: SocketAddr, error: &io::Error) {
        let why = plain(error);
        self.note_error(&format!("{}: {why}", Peer::from_ip(addr)));
        // A local error says nothing about the upstream.
        if let (Some(attempt), Some(candidate)) =
            (self.attempt.take().filter(|_| !is_local(error)), self.candidate())
        {
            candidate.endpoint.refused(attempt, &why);
            candidate.tally.failed();
        }
        self.ask_name();
        self.upstream = None;
    }

    /// Asks for an earlier look-up of the name of its upstream.
    pub(super) fn ask_name(&self) {
        if let Some(name) = self.candidate().and_then(|candidate| candidate.name.as_ref()) {
            name.ask();
        }
    }

    /// For how long it may go on, if its address is no longer one of its name. `None`: it is, or that changes nothing.
    pub(super) fn vanishes(&self) -> Option<Duration> {
        let policy = &self.live.route.policy;
        let after = match policy.on_vanish.unwrap_or_default() {
            _ if self.leaves => return None,
            OnVanish::Keep => return None,
            OnVanish::Drain => policy.timeouts.drain,
            OnVanish::Cut => Duration::ZERO,
        };
        let own = self.upstream.as_ref()?.addr.ip().to_canonical();
        let name = self.candidate()?.name.as_ref()?;
        (!name.addrs().iter().any(|addr| addr.to_canonical() == own)).then_some(after)
    }

    fn note_error(&mut self, why: &str) {
        if self.errors.len() > DETAIL {
            return;
        }
        let gap = if self.errors.is_empty() { "" } else { "; " };
        self.errors.push_str(gap);
        self.errors.push_str(why);
    }

    /// Notes an answer: the upstream is up.
    pub(super) fn answered(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        self.load = self.candidate().map(|candidate| candidate.endpoint.succeeded(attempt));
        self.kept = Vec::new();
        drop(self.tally());
    }

    /// Notes that the upstream refuses datagrams after it had answered.
    pub(super) fn lost(&self, error: &io::Error) {
        if let Some(candidate) = self.candidate() {
            candidate.endpoint.lost(&plain(error));
        }
    }

    /// The upstream that it has a socket to.
    fn connected(&self) -> Option<Connected> {
        let peer = Peer::from_ip(self.upstream.as_ref()?.addr);
        Some(Connected { written: self.candidate()?.written.clone(), peer })
    }

    /// Whether its upstream is down while another one is up.
    pub(super) fn is_down(&self, now: Instant) -> bool {
        self.candidates.as_ref().zip(self.candidate).is_some_and(|(all, index)| all.pool.is_worse(index, now))
    }

    fn candidate(&self) -> Option<&Candidate> {
        self.candidates.as_ref()?.get(self.candidate?)
    }
}

/// The record of a session that has ended.
pub(super) fn record(ended: &mut Ended<Session>, end: &End) -> Record {
    let Ended { ends, state: session, counts, .. } = ended;
    let upstream = session.connected();
    if counts.dropped > 0 {
        session.note_error(&format!("{} datagrams dropped", counts.dropped));
    }
    Record {
        id: end.id,
        ended: SystemTime::now(),
        route: session.live.route.clone(),
        listener: session.open.listener.clone(),
        client: Peer::from_ip(ends.client),
        path: if upstream.is_some() { DataPath::Datagram } else { DataPath::None },
        upstream,
        local: session.upstream.as_ref().and_then(|upstream| local_of(&*upstream.socket)),
        outcome: end.outcome,
        detail: (!session.errors.is_empty()).then(|| std::mem::take(&mut session.errors)),
        bytes: end.bytes,
        datagrams: Some(Datagrams { up: counts.up.datagrams, down: counts.down.datagrams }),
        connect: end.connect,
        duration: end.duration,
    }
}
