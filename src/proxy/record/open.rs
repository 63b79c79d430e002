//! What is open now: every connection and UDP session, for those who ask. A connection pays for it with one place in a
//! table; what is shown of it is read from where it is kept anyway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::{ListenAddr, Outcome, Peer, UpstreamAddr};
use crate::net::Socket;
use crate::net::relay::Traffic;
use crate::proxy::route::LiveRoute;
use crate::state::{Bytes, Tally, lock};
use crate::tasks::Task;

/// One open connection or UDP session.
#[derive(Debug)]
pub struct OpenConnection {
    /// Unique in this process.
    pub id: u64,
    pub(in crate::proxy) accepted: Instant,
    /// Where the client came in.
    pub listener: Arc<ListenAddr>,
    /// Bytes so far.
    pub traffic: Traffic,
    killed: AtomicBool,
    /// Of a session.
    session: Option<Box<Session>>,
    known: Mutex<Known>,
}

/// What only a session has.
#[derive(Debug)]
struct Session {
    signal: Weak<SessionSignal>,
    /// The last datagram, in milliseconds since `accepted`.
    last: AtomicU64,
}

/// Wakes the task that serves the sessions of a UDP listener.
#[derive(Debug, Default)]
pub struct SessionSignal {
    /// Wakes the task.
    pub changed: Notify,
    /// A person has killed sessions.
    pub kills: AtomicBool,
}

/// The upstream of a connection.
#[derive(Clone, Debug)]
pub struct Connected {
    /// As written in the file.
    pub written: Arc<UpstreamAddr>,
    /// As connected.
    pub peer: Peer,
}

/// What becomes known of a connection as it goes on.
#[derive(Debug)]
pub struct Known {
    /// The route that serves it.
    pub owner: Arc<LiveRoute>,
    /// Who came.
    pub client: Peer,
    /// Its upstream, once there is one.
    pub upstream: Option<Connected>,
    /// From accept to a connected upstream, in microseconds.
    connect: Option<u32>,
    /// The counters of that upstream.
    pub(in crate::proxy) tally: Option<Arc<Tally>>,
    /// The counters of its route have it.
    pub(super) counted: bool,
    pub(super) outcome: Outcome,
    /// In a box: few connections have any.
    pub(super) detail: Option<Box<Detail>>,
    pub(super) quiet: bool,
    /// The sockets towards the client and towards the upstream: not held open.
    sockets: [Weak<Socket>; 2],
    task: Option<Task>,
}

/// What a record says beside the outcome.
#[derive(Debug, Default)]
pub(super) struct Detail {
    pub text: String,
    /// Attempts that have failed.
    pub errors: u32,
}

impl Known {
    /// From accept to a connected upstream.
    pub fn connect(&self) -> Option<Duration> {
        self.connect.map(|micros| Duration::from_micros(micros.into()))
    }

    /// An upstream was connected so long after accept. More than 71 minutes count as 71 minutes.
    pub(super) fn connected_after(&mut self, time: Duration) {
        self.connect = Some(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// The counters of its upstream, once they have it.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }
}

impl OpenConnection {
    /// Of a client that was just accepted.
    pub(super) fn new(id: u64, owner: Arc<LiveRoute>, listener: &Arc<ListenAddr>, client: Peer) -> Self {
        OpenConnection {
            id,
            accepted: Instant::now(),
            listener: listener.clone(),
            traffic: Traffic::default(),
            killed: AtomicBool::new(false),
            session: None,
            known: Mutex::new(Known {
                owner,
                client,
                upstream: None,
                connect: None,
                tally: None,
                counted: false,
                outcome: Outcome::Drained,
                detail: None,
                quiet: false,
                sockets: [Weak::new(), Weak::new()],
                task: None,
            }),
        }
    }

    /// A UDP session that has just begun.
    pub fn session(
        id: u64,
        owner: Arc<LiveRoute>,
        listener: &Arc<ListenAddr>,
        client: Peer,
        signal: &Arc<SessionSignal>,
    ) -> Self {
        let session = Session { signal: Arc::downgrade(signal), last: AtomicU64::new(0) };
        OpenConnection {
            session: Some(Box::new(session)),
            ..OpenConnection::new(id, owner, listener, client)
        }
    }

    /// What is known of it now. Not to be held.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// When it was accepted, by the wall clock as it is now.
    pub fn started(&self) -> SystemTime {
        SystemTime::now() - self.age()
    }

    /// How long it has been open.
    pub fn age(&self) -> Duration {
        self.accepted.elapsed()
    }

    /// Whether it is a UDP session.
    pub fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// How long a session has been silent.
    pub fn silence(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.session.as_ref()?.last.load(Ordering::Relaxed));
        Some(self.age().saturating_sub(last))
    }

    /// The sockets towards the client and towards the upstream, while they are open.
    pub fn sockets(&self) -> [Option<Arc<Socket>>; 2] {
        let known = self.known();
        [known.sockets[0].upgrade(), known.sockets[1].upgrade()]
    }

    /// Resets it. Its record then says that a person has ended it.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        if let Some(signal) = self.session.as_ref().and_then(|session| session.signal.upgrade()) {
            signal.kills.store(true, Ordering::SeqCst);
            return signal.changed.notify_one();
        }
        if let Some(task) = &self.known().task {
            task.kill();
        }
    }

    /// Whether [`OpenConnection::kill`] was called.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// The task that serves it.
    pub fn runs_as(&self, task: Task) {
        let mut known = self.known();
        if self.is_killed() {
            task.kill();
        }
        known.task = Some(task);
    }

    pub(super) fn set_client_socket(&self, client: &Arc<Socket>) {
        self.known().sockets[0] = Arc::downgrade(client);
    }

    pub(super) fn set_upstream_socket(&self, upstream: &Arc<Socket>) {
        self.known().sockets[1] = Arc::downgrade(upstream);
    }

    /// What a session has moved in all, and when that was.
    pub fn moved(&self, bytes: Bytes, now: std::time::Instant) {
        self.traffic.up.store(bytes.up, Ordering::Relaxed);
        self.traffic.down.store(bytes.down, Ordering::Relaxed);
        if let Some(session) = &self.session {
            let last = now.saturating_duration_since(self.accepted.into_std()).as_millis();
            session.last.store(u64::try_from(last).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;

/// Everything that is open. Ids grow, so each part is in the order of age.
#[derive(Debug)]
pub struct OpenTable {
    shards: [Mutex<BTreeMap<u64, Arc<OpenConnection>>>; SHARDS],
}

impl Default for OpenTable {
    fn default() -> Self {
        OpenTable { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl OpenTable {
    fn shard(&self, id: u64) -> MutexGuard<'_, BTreeMap<u64, Arc<OpenConnection>>> {
        // The remainder is below 16.
        let shard = &self.shards[(id % SHARDS as u64) as usize];
        lock(shard)
    }

    /// One more.
    pub fn add(&self, open: &Arc<OpenConnection>) {
        self.shard(open.id).insert(open.id, open.clone());
    }

    /// It has ended.
    pub fn remove(&self, id: u64) {
        self.shard(id).remove(&id);
    }

    /// The one with this id.
    pub fn get(&self, id: u64) -> Option<Arc<OpenConnection>> {
        self.shard(id).get(&id).cloned()
    }

    /// The id of the newest.
    pub fn newest(&self) -> u64 {
        let newest = (0..SHARDS as u64).map(|shard| self.shard(shard).keys().next_back().copied());
        newest.max().flatten().unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        (0..SHARDS as u64).map(|shard| self.shard(shard).len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at each, part by part: a connection that begins or ends waits for a part at most.
    pub fn each(&self, mut look: impl FnMut(&Arc<OpenConnection>)) {
        for shard in 0..SHARDS as u64 {
            self.shard(shard).values().for_each(&mut look);
        }
    }

    /// The first `most` after this id of which `wanted` holds, by id, and whether there are more.
    pub fn page(
        &self,
        after: u64,
        most: usize,
        wanted: impl Fn(&OpenConnection) -> bool,
    ) -> (Vec<Arc<OpenConnection>>, bool) {
        let mut found: Vec<Arc<OpenConnection>> = Vec::new();
        for shard in 0..SHARDS as u64 {
            let shard = self.shard(shard);
            let later = shard.range(after.saturating_add(1)..).map(|(_, open)| open);
            // One more than a page: it says that there is a next.
            found.extend(later.filter(|open| wanted(open)).take(most + 1).cloned());
        }
        found.sort_by_key(|open| open.id);
        let more = found.len() > most;
        found.truncate(most);
        (found, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_costs_little_memory() {
        let bytes = size_of::<OpenConnection>();
        assert!(bytes <= 216, "an open connection has {bytes} bytes");
    }
}
