//! What is open now: every connection and UDP session, for those who ask. A connection pays for it with one place in a
//! table; what is told of it is read from where it is kept anyway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{DatagramDoor, Gate};
use crate::model::{ListenAddr, Outcome, Peer, Route, UpstreamAddr};
use crate::net::Socket;
use crate::net::relay::Traffic;
use crate::state::Tally;
use crate::tasks::Task;

/// Whose a connection is: a route, as one reading of the file had it.
#[derive(Debug)]
pub struct Account {
    /// The route.
    pub route: Arc<Route>,
    /// What is remembered of it.
    pub gate: Arc<Gate>,
    /// The generation that has this text of it.
    pub generation: u64,
}

/// One open connection or session.
#[derive(Debug)]
pub struct Open {
    /// Unique in this process.
    pub id: u64,
    pub(super) accepted: Instant,
    /// Where it came in.
    pub listener: Arc<ListenAddr>,
    /// Bytes so far.
    pub traffic: Traffic,
    killed: AtomicBool,
    /// Of a session.
    session: Option<Box<SessionPart>>,
    known: Mutex<Known>,
}

/// What only a session has.
#[derive(Debug)]
struct SessionPart {
    door: Weak<DatagramDoor>,
    /// The last datagram, in milliseconds since `accepted`.
    last: AtomicU64,
}

/// What becomes known of a connection as it goes on.
#[derive(Debug)]
pub struct Known {
    /// Whose it is.
    pub account: Arc<Account>,
    /// Who came.
    pub client: Peer,
    /// Where it was led to: as written in the file, and as connected.
    pub upstream: Option<(Arc<UpstreamAddr>, Peer)>,
    /// From accept to a connected upstream, in microseconds.
    connect: Option<u32>,
    /// What is counted of that upstream.
    pub(super) tally: Option<Arc<Tally>>,
    /// It is one of the opened ones of its route.
    pub(super) counted: bool,
    pub(super) outcome: Outcome,
    /// In a box: few have any.
    pub(super) story: Option<Box<Story>>,
    pub(super) quiet: bool,
    /// Its sockets, towards the client and towards the upstream: not held open.
    sockets: [Weak<Socket>; 2],
    task: Option<Task>,
}

/// What else there is to say of a connection.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub text: String,
    /// Candidates that could not be had.
    pub misses: u32,
}

impl Known {
    /// From accept to a connected upstream.
    pub fn connect(&self) -> Option<Duration> {
        self.connect.map(|micros| Duration::from_micros(micros.into()))
    }

    /// An upstream was connected so long after accept. Longer than an hour is told as an hour and some minutes.
    pub(super) fn connected_after(&mut self, time: Duration) {
        self.connect = Some(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// What is counted of its upstream, once it is one of its connections.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }
}

impl Open {
    pub(super) fn connection(
        id: u64,
        account: Arc<Account>,
        (listener, client): (&Arc<ListenAddr>, Peer),
    ) -> Open {
        Open {
            id,
            accepted: Instant::now(),
            listener: listener.clone(),
            traffic: Traffic::default(),
            killed: AtomicBool::new(false),
            session: None,
            known: Mutex::new(Known {
                account,
                client,
                upstream: None,
                connect: None,
                tally: None,
                counted: false,
                outcome: Outcome::Drained,
                story: None,
                quiet: false,
                sockets: [Weak::new(), Weak::new()],
                task: None,
            }),
        }
    }

    pub(super) fn session(id: u64, account: Arc<Account>, door: &Arc<DatagramDoor>, client: Peer) -> Open {
        let session = SessionPart { door: Arc::downgrade(door), last: AtomicU64::new(0) };
        let mut open = Open::connection(id, account, (&door.addr, client));
        open.session = Some(Box::new(session));
        open
    }

    /// What is known of it now. Not to be held.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it was accepted, by the clock on the wall as it is now.
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

    /// Its sockets, towards the client and towards the upstream, while they are open.
    pub fn sockets(&self) -> [Option<Arc<Socket>>; 2] {
        let known = self.known();
        [known.sockets[0].upgrade(), known.sockets[1].upgrade()]
    }

    /// Resets it. What is told of it then is that a person has ended it.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        if let Some(door) = self.session.as_ref().and_then(|session| session.door.upgrade()) {
            return door.kills();
        }
        if let Some(task) = &self.known().task {
            task.kill();
        }
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// The task that serves it from now on.
    pub(super) fn runs_as(&self, task: Task) {
        let mut known = self.known();
        if self.is_killed() {
            task.kill();
        }
        known.task = Some(task);
    }

    /// Its sockets, as far as it has them.
    pub(super) fn has(&self, client: &Arc<Socket>) {
        self.known().sockets[0] = Arc::downgrade(client);
    }

    pub(super) fn leads_to(&self, upstream: &Arc<Socket>) {
        self.known().sockets[1] = Arc::downgrade(upstream);
    }

    /// What a session has moved in all, and when that was.
    pub(super) fn moved(&self, up: u64, down: u64, now: std::time::Instant) {
        self.traffic.up.store(up, Ordering::Relaxed);
        self.traffic.down.store(down, Ordering::Relaxed);
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
    shards: [Mutex<BTreeMap<u64, Arc<Open>>>; SHARDS],
}

impl Default for OpenTable {
    fn default() -> Self {
        OpenTable { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl OpenTable {
    fn shard(&self, id: u64) -> MutexGuard<'_, BTreeMap<u64, Arc<Open>>> {
        // The remainder is below 16.
        let shard = &self.shards[(id % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, open: &Arc<Open>) {
        self.shard(open.id).insert(open.id, open.clone());
    }

    pub(super) fn remove(&self, id: u64) {
        self.shard(id).remove(&id);
    }

    /// The one with this id.
    pub fn get(&self, id: u64) -> Option<Arc<Open>> {
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
    pub fn each(&self, mut look: impl FnMut(&Arc<Open>)) {
        for shard in 0..SHARDS as u64 {
            self.shard(shard).values().for_each(&mut look);
        }
    }

    /// The first `most` after this id of which `wanted` holds, by id, and whether there are more.
    pub fn page(&self, after: u64, most: usize, wanted: impl Fn(&Open) -> bool) -> (Vec<Arc<Open>>, bool) {
        let mut found: Vec<Arc<Open>> = Vec::new();
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
        let bytes = size_of::<Open>();
        assert!(bytes <= 216, "an open connection has {bytes} bytes");
    }
}
