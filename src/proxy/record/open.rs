//! One open connection or UDP session. What is shown of it is read from where it is kept anyway.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::known::Known;
use super::local::local_of;
use crate::model::{ListenAddr, Outcome, Peer};
use crate::net::Socket;
use crate::net::relay::Traffic;
use crate::proxy::route::LiveRoute;
use crate::state::moved::MovedConnection;
use crate::state::{Bytes, lock};
use crate::tasks::Task;

/// How far [`OpenConnection::ended`] is. A later one counts more.
const OPEN: u8 = 0;
const CUT: u8 = 1;
const KILLED: u8 = 2;
const MOVED: u8 = 3;

/// One open connection or UDP session.
#[derive(Debug)]
pub struct OpenConnection {
    /// Unique in this process.
    pub id: u64,
    pub(in crate::proxy) accepted: Instant,
    /// The address of the listener that accepted the client.
    pub listener: Arc<ListenAddr>,
    /// Bytes moved so far.
    pub traffic: Traffic,
    pub(super) ended: AtomicU8,
    /// Its time runs: an edit drains it.
    pub(super) leaves: AtomicBool,
    /// What only a UDP session has. `None`: a stream connection.
    session: Option<Box<Session>>,
    known: Mutex<Known>,
}

/// The part of an entry that only UDP sessions have.
#[derive(Debug)]
struct Session {
    signal: Mutex<Weak<SessionSignal>>,
    /// When the last datagram moved, in milliseconds since `accepted`.
    last: AtomicU64,
    /// The socket to its upstream. Weak, so that this does not keep it open.
    upstream: Mutex<Weak<OwnedFd>>,
    /// The address of this host that the client writes to.
    local: OnceLock<IpAddr>,
}

/// Wakes the task that serves the sessions of a UDP listener.
#[derive(Debug, Default)]
pub struct SessionSignal {
    /// Notified after an edit, a close, a kill, or when others took places: the task must look at its listener again.
    pub changed: Arc<Notify>,
    /// Set when sessions were ended one by one. The task clears it.
    pub ends: AtomicBool,
}

impl OpenConnection {
    /// The entry of a client that was just accepted.
    pub(super) fn new(id: u64, owner: Arc<LiveRoute>, listener: &Arc<ListenAddr>, client: Peer) -> Self {
        OpenConnection {
            id,
            accepted: Instant::now(),
            listener: listener.clone(),
            traffic: Traffic::default(),
            ended: AtomicU8::new(OPEN),
            leaves: AtomicBool::new(false),
            session: None,
            known: Mutex::new(Known {
                owner,
                client,
                upstream: None,
                connect: None,
                tally: None,
                counted: false,
                outcome: Outcome::Drained,
                rare: None,
                quiet: false,
                relay: None,
                sockets: [Weak::new(), Weak::new()],
                local: None,
                task: None,
            }),
        }
    }

    /// The entry of a new UDP session.
    pub fn session(
        id: u64,
        owner: Arc<LiveRoute>,
        listener: &Arc<ListenAddr>,
        client: Peer,
        signal: &Arc<SessionSignal>,
    ) -> Self {
        let session = Session {
            signal: Mutex::new(Arc::downgrade(signal)),
            last: AtomicU64::new(0),
            upstream: Mutex::default(),
            local: OnceLock::new(),
        };
        OpenConnection {
            session: Some(Box::new(session)),
            ..OpenConnection::new(id, owner, listener, client)
        }
    }

    /// Locks what is known now. Do not hold the guard for long.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// When it was accepted, from its age and the wall clock as it is now.
    pub fn started(&self) -> SystemTime {
        SystemTime::now() - self.age()
    }

    /// How long it has been open.
    pub fn age(&self) -> Duration {
        self.accepted.elapsed()
    }

    /// What another process must know of it. A new field does not compile without that decision.
    pub(super) fn said(&self) -> MovedConnection {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let OpenConnection { id, accepted: _, listener, traffic: _, ended: _, leaves: _, session: _, known } =
            self;
        let known = lock(known);
        // It is counted already, how it ends is not known yet, and its sockets and its task are others.
        #[rustfmt::skip]
        let Known {
            owner, client, upstream, connect, rare,
            tally: _, counted: _, outcome: _, quiet: _, relay: _, sockets: _, local: _, task: _,
        } = &*known;
        let upstream = upstream.as_ref();
        MovedConnection {
            id: *id,
            route: owner.route.name.clone(),
            listener: listener.to_string(),
            client: client.to_string(),
            upstream: upstream.map(|upstream| upstream.written.to_string()).unwrap_or_default(),
            address: upstream.map(|upstream| upstream.peer.to_string()).unwrap_or_default(),
            age: micros(self.age()),
            connect: connect.map(u64::from),
            detail: rare.as_ref().and_then(|rare| rare.detail()),
            ..MovedConnection::default()
        }
    }

    /// Notes that it goes on in another process, which counts it from now on.
    pub fn has_moved(&self) {
        self.ended.fetch_max(MOVED, Ordering::SeqCst);
    }

    /// Whether it goes on in another process.
    pub fn is_moved(&self) -> bool {
        self.ended.load(Ordering::SeqCst) == MOVED
    }

    /// Whether it is a UDP session.
    pub fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// How long a UDP session has been silent. `None`: not a UDP session.
    pub fn silence(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.session.as_ref()?.last.load(Ordering::Relaxed));
        Some(self.age().saturating_sub(last))
    }

    /// The sockets of the client and of the upstream. `None`: closed, or not connected yet.
    pub fn sockets(&self) -> [Option<Arc<Socket>>; 2] {
        let known = self.known();
        [known.sockets[0].upgrade(), known.upstream_socket()]
    }

    /// Our own end towards the upstream: what the upstream sees as its client. Asks the kernel. `None`: it is not connected, or
    /// through a Unix socket.
    pub fn local(&self) -> Option<Peer> {
        match &self.session {
            Some(session) => local_of(&*lock(&session.upstream).upgrade()?),
            None => local_of(&*self.known().upstream_socket()?),
        }
    }

    /// Sets the address of this host that the client of a UDP session writes to.
    pub fn set_session_local(&self, local: IpAddr) {
        if let Some(session) = &self.session {
            // Set once.
            let _ = session.local.set(local);
        }
    }

    /// The address of this host that the client has connected to. `None`: a Unix socket, or it is closed.
    pub fn reached(&self) -> Option<IpAddr> {
        match &self.session {
            Some(session) => session.local.get().copied(),
            None => self.sockets()[0].as_ref()?.local_ip(),
        }
    }

    /// Sets the socket of a UDP session to its upstream.
    pub fn set_session_socket(&self, upstream: &Arc<OwnedFd>) {
        if let Some(session) = &self.session {
            *lock(&session.upstream) = Arc::downgrade(upstream);
        }
    }

    /// Kills it: the connection is reset, and its record says [`Outcome::Killed`].
    pub fn kill(&self) {
        self.end_by(KILLED);
    }

    /// Cuts it: the connection is reset, and its record says [`Outcome::Drained`].
    pub fn cut(&self) {
        self.end_by(CUT);
    }

    fn end_by(&self, how: u8) {
        self.ended.fetch_max(how, Ordering::SeqCst);
        if let Some(signal) = self.session.as_ref().and_then(|session| lock(&session.signal).upgrade()) {
            signal.ends.store(true, Ordering::SeqCst);
            return signal.changed.notify_one();
        }
        if let Some(task) = &self.known().task {
            task.kill();
        }
    }

    /// Ends it with this outcome: the connection is reset. Not for a UDP session.
    pub(super) fn end(&self, outcome: Outcome) {
        let mut known = self.known();
        known.outcome = outcome;
        if let Some(task) = &known.task {
            task.kill();
        }
    }

    /// Sets whose task serves a UDP session: an edit has moved it to another listener.
    pub fn is_served_by(&self, signal: &Arc<SessionSignal>) {
        if let Some(session) = &self.session {
            *lock(&session.signal) = Arc::downgrade(signal);
        }
        if self.is_ended() {
            self.end_by(CUT);
        }
    }

    /// Whether [`OpenConnection::kill`] was called.
    pub fn is_killed(&self) -> bool {
        self.ended.load(Ordering::SeqCst) == KILLED
    }

    /// Whether [`OpenConnection::kill`] or [`OpenConnection::cut`] was called.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst) >= CUT
    }

    /// Sets the task that serves it. Kills the task if the connection was killed or ended before.
    pub fn runs_as(&self, task: Task) {
        let mut known = self.known();
        if self.is_ended() || known.outcome == Outcome::Evicted {
            task.kill();
        }
        known.task = Some(task);
    }

    pub(super) fn set_client_socket(&self, client: &Arc<Socket>) {
        self.known().sockets[0] = Arc::downgrade(client);
    }

    /// Sets how many bytes a session has moved in all, and when it moved the last datagram.
    pub fn moved(&self, bytes: Bytes, now: std::time::Instant) {
        self.traffic.up.store(bytes.up, Ordering::Relaxed);
        self.traffic.down.store(bytes.down, Ordering::Relaxed);
        if let Some(session) = &self.session {
            let last = now.saturating_duration_since(self.accepted.into_std()).as_millis();
            session.last.store(u64::try_from(last).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_costs_little_memory() {
        let bytes = size_of::<OpenConnection>();
        assert!(bytes <= 248, "an open connection has {bytes} bytes");
    }
}
