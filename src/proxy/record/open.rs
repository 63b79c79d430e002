//! The table of open connections and UDP sessions. Each pays for one entry in it. What is shown of it is read from
//! where it is kept anyway.

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
    /// The address of the listener that accepted the client.
    pub listener: Arc<ListenAddr>,
    /// Bytes moved so far.
    pub traffic: Traffic,
    killed: AtomicBool,
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
}

/// Wakes the task that serves the sessions of a UDP listener.
#[derive(Debug, Default)]
pub struct SessionSignal {
    /// Notified after an edit, a close or a kill: the task must look at its listener again.
    pub changed: Notify,
    /// Set when sessions were killed by hand. The task clears it.
    pub kills: AtomicBool,
}

/// The upstream of a connection.
#[derive(Clone, Debug)]
pub struct Connected {
    /// As written in the file.
    pub written: Arc<UpstreamAddr>,
    /// The address that was connected.
    pub peer: Peer,
}

/// What is learned about a connection while it is open.
#[derive(Debug)]
pub struct Known {
    /// The route that serves it.
    pub owner: Arc<LiveRoute>,
    /// The peer that connected, or the client that its PROXY header named.
    pub client: Peer,
    /// Its upstream. `None` until one is connected.
    pub upstream: Option<Connected>,
    /// From accept to a connected upstream, in microseconds.
    connect: Option<u32>,
    /// The counters of that upstream. `None` until they include this connection.
    pub(in crate::proxy) tally: Option<Arc<Tally>>,
    /// Whether the counters of its route include it as opened.
    pub(super) counted: bool,
    pub(super) outcome: Outcome,
    /// Boxed: few connections have any.
    pub(super) detail: Option<Box<Detail>>,
    pub(super) quiet: bool,
    /// The sockets of the client and of the upstream. Weak, so that this does not keep them open.
    sockets: [Weak<Socket>; 2],
    task: Option<Task>,
}

/// What a record says beside the outcome.
#[derive(Debug, Default)]
pub(super) struct Detail {
    pub text: String,
    /// How many attempts have failed.
    pub errors: u32,
}

impl Known {
    /// Time from accept to a connected upstream. `None`: none is connected yet, or it is a UDP session.
    pub fn connect(&self) -> Option<Duration> {
        self.connect.map(|micros| Duration::from_micros(micros.into()))
    }

    /// Sets the time from accept to a connected upstream. More than 71 minutes count as 71 minutes.
    pub(super) fn connected_after(&mut self, time: Duration) {
        self.connect = Some(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// The socket of its upstream. `None`: closed, or not connected yet.
    pub(super) fn upstream_socket(&self) -> Option<Arc<Socket>> {
        self.sockets[1].upgrade()
    }

    /// The counters of its upstream. `None` until they include this connection.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }
}

impl OpenConnection {
    /// The entry of a client that was just accepted.
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

    /// The entry of a new UDP session.
    pub fn session(
        id: u64,
        owner: Arc<LiveRoute>,
        listener: &Arc<ListenAddr>,
        client: Peer,
        signal: &Arc<SessionSignal>,
    ) -> Self {
        let session = Session { signal: Mutex::new(Arc::downgrade(signal)), last: AtomicU64::new(0) };
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

    /// Kills it: the connection is reset, and its record says [`Outcome::Killed`].
    pub fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        if let Some(signal) = self.session.as_ref().and_then(|session| lock(&session.signal).upgrade()) {
            signal.kills.store(true, Ordering::SeqCst);
            return signal.changed.notify_one();
        }
        if let Some(task) = &self.known().task {
            task.kill();
        }
    }

    /// Sets whose task serves a UDP session: an edit has moved it to another listener.
    pub fn is_served_by(&self, signal: &Arc<SessionSignal>) {
        if let Some(session) = &self.session {
            *lock(&session.signal) = Arc::downgrade(signal);
        }
        if self.is_killed() {
            self.kill();
        }
    }

    /// Whether [`OpenConnection::kill`] was called.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Sets the task that serves it. Kills the task if the connection was killed before.
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

/// How many shards the table has, each with its own lock.
const SHARDS: usize = 16;

/// How far a sweep has come: the last visited id of each shard.
#[derive(Debug, Default)]
pub(super) struct Swept([u64; SHARDS]);

/// All that is open. Ids grow, so each shard is sorted by age.
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

    /// Adds an entry, under its id.
    pub fn add(&self, open: &Arc<OpenConnection>) {
        self.shard(open.id).insert(open.id, open.clone());
    }

    /// Removes the entry of a connection that has ended.
    pub fn remove(&self, id: u64) {
        self.shard(id).remove(&id);
    }

    /// The open connection with this id, if there is one.
    pub fn get(&self, id: u64) -> Option<Arc<OpenConnection>> {
        self.shard(id).get(&id).cloned()
    }

    /// The id of the newest entry. 0: nothing is open.
    pub fn newest(&self) -> u64 {
        let newest = (0..SHARDS as u64).map(|shard| self.shard(shard).keys().next_back().copied());
        newest.max().flatten().unwrap_or_default()
    }

    /// How many connections and sessions are open.
    pub fn len(&self) -> usize {
        (0..SHARDS as u64).map(|shard| self.shard(shard).len()).sum()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits each entry, shard by shard: a connection that begins or ends waits for one shard at most.
    pub fn each(&self, mut look: impl FnMut(&Arc<OpenConnection>)) {
        for shard in 0..SHARDS as u64 {
            self.shard(shard).values().for_each(&mut look);
        }
    }

    /// Visits each entry that has become older than `age` since the last sweep. Returns whether there are younger ones.
    pub(super) fn each_older(
        &self,
        age: Duration,
        swept: &mut Swept,
        mut look: impl FnMut(&OpenConnection),
    ) -> bool {
        let mut young = false;
        for (shard, last) in swept.0.iter_mut().enumerate() {
            let entries = lock(&self.shards[shard]);
            for (id, open) in entries.range(*last + 1..) {
                if open.age() < age {
                    young = true;
                    break;
                }
                look(open);
                *last = *id;
            }
        }
        young
    }

    /// The first `most` entries after this id that `wanted` accepts, sorted by id, and whether there are more.
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
            // One more than a page, to see whether a next page exists.
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
