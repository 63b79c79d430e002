//! A UDP listener of the running proxy.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::drops::Drops;
use crate::model::ListenAddr;
use crate::net::datagram::{DatagramSocket, Poller};
use crate::proxy::record::SessionSignal;
use crate::proxy::route::LiveRoute;
use crate::state::lock;
use crate::tasks::Worker;

/// The poller's number for the listener's own socket. No session gets it before its slot was reused four billion times.
pub(super) const LISTENER: u64 = u64::MAX;

/// A UDP listener of the running proxy. It stays while edits change its route. Without a route it stays as long as it
/// has sessions, whose answers must leave from its address.
#[derive(Debug)]
pub struct UdpListener {
    /// The address that it listens on.
    pub addr: Arc<ListenAddr>,
    /// Receives from clients, and sends them the answers.
    pub socket: DatagramSocket,
    /// The worker that runs its task.
    pub worker: Arc<Worker>,
    /// Polls its socket, and the sockets of its sessions.
    pub(super) poller: Poller,
    follows: Mutex<Follows>,
    /// Wakes its task after an edit, a close or a kill.
    pub(super) signal: Arc<SessionSignal>,
    pub(super) drops: Drops,
}

#[derive(Debug)]
pub(super) struct Follows {
    /// The route of new sessions. `None`: no new ones are opened.
    live: Option<Arc<LiveRoute>>,
    /// Its sessions must end now.
    pub cut: bool,
    /// Its sessions must end as soon as they fall silent.
    pub hurry: bool,
    /// Whether its task has ended. The next route then needs a new one.
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
    /// A listener without a task. Fails if the system has no descriptor left.
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

    /// Sets the route of new sessions. Returns whether a task must be started for the listener.
    pub fn serve(&self, live: Arc<LiveRoute>) -> bool {
        let mut follows = self.follows();
        follows.follow(Some(live));
        follows.cut = false;
        self.signal.changed.notify_one();
        std::mem::replace(&mut follows.ended, false)
    }

    /// Opens no new sessions from now on.
    pub fn close(&self) {
        self.follows().follow(None);
        self.signal.changed.notify_one();
    }

    /// Opens no new sessions from now on, and ends each that falls silent: the process stops.
    pub fn drain(&self) {
        self.follows().hurry = true;
        self.close();
    }

    /// Opens no new sessions from now on, and ends those that are open: another socket takes over their datagrams.
    pub fn cut(&self) {
        self.follows().cut = true;
        self.close();
    }

    /// Datagrams that were dropped since the start, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.drops.counts()
    }

    /// The route of new sessions. `None` while it is closing.
    pub fn live(&self) -> Option<Arc<LiveRoute>> {
        self.follows().live.clone()
    }

    /// Whether the task may end. A later edit starts another.
    pub(super) fn ends(&self) -> bool {
        let mut follows = self.follows();
        follows.ended = follows.live.is_none();
        follows.ended
    }

    pub(super) fn follows(&self) -> MutexGuard<'_, Follows> {
        lock(&self.follows)
    }
}
