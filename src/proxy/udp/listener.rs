//! A UDP address of the running proxy.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::drops::Drops;
use crate::model::ListenAddr;
use crate::net::datagram::{DatagramSocket, Poller};
use crate::proxy::record::SessionSignal;
use crate::proxy::route::LiveRoute;
use crate::state::lock;
use crate::tasks::Worker;

/// The poller's number of the listener's own socket; no session has it before four billion others had its place.
pub(super) const LISTENER: u64 = u64::MAX;

/// One UDP address of the running proxy. It stays while edits change what it leads to, and, when none leads on, for as
/// long as it has sessions: their answers must leave from here.
#[derive(Debug)]
pub struct UdpListener {
    /// The address that it listens on.
    pub addr: Arc<ListenAddr>,
    /// Its socket.
    pub socket: DatagramSocket,
    /// The thread of its task.
    pub worker: Arc<Worker>,
    /// Watches it, and the sockets of its sessions.
    pub(super) poller: Poller,
    follows: Mutex<Follows>,
    /// Wakes its task.
    pub(super) signal: Arc<SessionSignal>,
    pub(super) drops: Drops,
}

#[derive(Debug)]
pub(super) struct Follows {
    /// What new sessions follow. `None`: there are to be no new ones.
    live: Option<Arc<LiveRoute>>,
    /// Its sessions are to end as well.
    pub cut: bool,
    /// Its sessions are to end soon.
    pub hurry: bool,
    /// Its task has ended.
    ended: bool,
}

impl Follows {
    fn follow(&mut self, live: Option<Arc<LiveRoute>>) {
        if let Some(old) = std::mem::replace(&mut self.live, live) {
            old.retire();
        }
    }
}

impl UdpListener {
    /// A listener that nobody serves yet. Fails where the system has no descriptor left.
    pub fn new(addr: ListenAddr, socket: DatagramSocket, worker: Arc<Worker>) -> io::Result<Self> {
        let poller = {
            let _there = worker.enter();
            Poller::new()?
        };
        poller.add(&socket, LISTENER)?;
        let follows = Mutex::new(Follows { live: None, cut: false, hurry: false, ended: true });
        Ok(UdpListener {
            addr: Arc::new(addr),
            socket,
            worker,
            poller,
            follows,
            signal: Arc::default(),
            drops: Drops::default(),
        })
    }

    /// From now on new sessions are led there. Whether a task must be started for the listener.
    pub fn serve(&self, live: Arc<LiveRoute>) -> bool {
        let mut follows = self.follows();
        follows.follow(Some(live));
        follows.cut = false;
        self.signal.changed.notify_one();
        std::mem::replace(&mut follows.ended, false)
    }

    /// No new sessions from now on.
    pub fn close(&self) {
        self.follows().follow(None);
        self.signal.changed.notify_one();
    }

    /// No new sessions from now on, and an end for each that falls silent: the process stops.
    pub fn drain(&self) {
        self.follows().hurry = true;
        self.close();
    }

    /// No new sessions, and an end for those that are there: another socket is to have their datagrams.
    pub fn cut(&self) {
        self.follows().cut = true;
        self.close();
    }

    /// Datagrams that were dropped, by reason, since the start.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.drops.counts()
    }

    /// What new sessions follow; none while it is going away.
    pub fn live(&self) -> Option<Arc<LiveRoute>> {
        self.follows().live.clone()
    }

    /// Whether the task may end: an edit that comes later starts another.
    pub(super) fn ends(&self) -> bool {
        let mut follows = self.follows();
        follows.ended = follows.live.is_none();
        follows.ended
    }

    pub(super) fn follows(&self) -> MutexGuard<'_, Follows> {
        lock(&self.follows)
    }
}
