//! A UDP listener of the running proxy.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::drops::{Drops, Reason};
use super::mailbox::Mailbox;
use super::session::Session;
use crate::model::ListenAddr;
use crate::net::datagram::{DatagramSocket, Poller, Segments};
use crate::proxy::record::SessionSignal;
use crate::proxy::route::{Evicted, LiveRoute};
use crate::state::flows::Flow;
use crate::state::lock;
use crate::tasks::{Scope, Worker};

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
    /// Its sessions whose places were taken.
    pub(super) evicted: Arc<Evicted>,
    pub(super) drops: Drops,
    pub(super) mailbox: Mailbox,
}

#[derive(Debug)]
pub(super) struct Follows {
    /// The route of new sessions. `None`: no new ones are opened.
    live: Option<Arc<LiveRoute>>,
    /// Without a route: the listeners that an edit has put into its place.
    successors: Vec<Arc<UdpListener>>,
    /// Told once the sessions of the successors' addresses are handed over.
    handed_over: Option<oneshot::Sender<()>>,
    /// Its sessions must end as soon as they fall silent.
    pub hurry: bool,
    /// Another process that has the socket too reads what clients send.
    pub paused: bool,
    /// Who wants its sessions.
    wanted: Option<Wanted>,
    /// Whether its task has ended. The next route then needs a new one.
    ended: bool,
    /// Whether it ever had a route.
    served: bool,
    /// Whether it has no session any more, and is about to end.
    winds_up: bool,
}

/// A request for sessions.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Of these owners.
    pub owners: Vec<Scope>,
    pub to: oneshot::Sender<Vec<Flow<Session>>>,
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
        let follows = Follows {
            live: None,
            successors: Vec::new(),
            handed_over: None,
            hurry: false,
            paused: false,
            wanted: None,
            ended: true,
            served: false,
            winds_up: false,
        };
        let signal = Arc::<SessionSignal>::default();
        Ok(UdpListener {
            addr: Arc::new(addr),
            socket,
            worker,
            poller,
            follows: Mutex::new(follows),
            evicted: Evicted::none(signal.changed.clone()),
            signal,
            drops: Drops::default(),
            mailbox: Mailbox::default(),
        })
    }

    /// Sets the route of new sessions. Returns whether a task must be started for the listener.
    pub fn serve(&self, live: Arc<LiveRoute>) -> bool {
        let mut follows = self.follows();
        follows.follow(Some(live));
        follows.successors.clear();
        (follows.served, follows.winds_up) = (true, false);
        // It was bound beside another, or was about to close.
        self.socket.hear();
        self.signal.changed.notify_one();
        std::mem::replace(&mut follows.ended, false)
    }

    /// Opens no new sessions from now on. Those at the addresses of a successor go on there, and so do newcomers. Resolves
    /// once the sessions are handed over, or at once if it has no task.
    pub fn close(&self, successors: Vec<Arc<UdpListener>>) -> oneshot::Receiver<()> {
        let (handed_over, told) = oneshot::channel();
        let mut follows = self.follows();
        follows.follow(None);
        follows.successors = successors;
        follows.handed_over = Some(handed_over).filter(|_| !follows.ended);
        self.signal.changed.notify_one();
        told
    }

    /// Opens no new sessions from now on, and ends each that falls silent: the process stops.
    pub fn drain(&self) {
        let mut follows = self.follows();
        follows.hurry = true;
        follows.follow(None);
        self.signal.changed.notify_one();
    }

    /// Reads no more of what clients send: another process that has the socket too reads it, or [`UdpListener::resume`] comes.
    /// Answers still leave from it.
    pub fn pause(&self) {
        self.follows().paused = true;
        self.signal.changed.notify_one();
    }

    /// Hands out its sessions of these owners, so that they can move. Resolves with an error if it has none.
    pub(super) fn hand_out(&self, owners: Vec<Scope>) -> oneshot::Receiver<Vec<Flow<Session>>> {
        let (to, flows) = oneshot::channel();
        let mut follows = self.follows();
        follows.wanted = Some(Wanted { owners, to }).filter(|_| !follows.ended);
        self.signal.changed.notify_one();
        flows
    }

    /// Who wants its sessions, asked once.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.follows().wanted.take()
    }

    /// Reads again after [`UdpListener::pause`].
    pub fn resume(&self) {
        self.follows().paused = false;
        self.signal.changed.notify_one();
    }

    /// Takes a run of datagrams from another listener, sent to this address. Returns whether there was room for it. The next
    /// edit says whom to hand them to once this one has ended.
    pub fn hand(&self, segments: &Segments<'_>, to: IpAddr) -> bool {
        // Held until it is in the mailbox: the task does not end between.
        let follows = self.follows();
        if follows.ended && follows.served {
            return false;
        }
        let taken = self.mailbox.put(segments, to);
        self.signal.changed.notify_one();
        taken
    }

    /// Makes its task look whether it is over.
    pub fn look_again(&self) {
        self.signal.changed.notify_one();
    }

    /// Whether it ever had a route.
    pub fn was_served(&self) -> bool {
        self.follows().served
    }

    /// Datagrams that were dropped since the start, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.note_overflow();
        self.drops.counts()
    }

    /// Asks the kernel how many datagrams it has dropped.
    pub(super) fn note_overflow(&self) {
        self.drops.set(Reason::Overflow, self.socket.overflowed());
    }

    /// The route of new sessions. `None` while it is closing.
    pub fn live(&self) -> Option<Arc<LiveRoute>> {
        self.follows().live.clone()
    }

    /// The listeners in its place, and whom to tell once they have their sessions.
    pub(super) fn successors(&self) -> (Vec<Arc<UdpListener>>, Option<oneshot::Sender<()>>) {
        let mut follows = self.follows();
        (follows.successors.clone(), follows.handed_over.take())
    }

    /// Whether clients reach it: it has a route, or sessions of an earlier one.
    pub(super) fn hears(&self) -> bool {
        let follows = self.follows();
        follows.live.is_some() || (follows.served && !follows.winds_up)
    }

    /// Whether it is about to end, and so not to be served again.
    pub fn is_winding_up(&self) -> bool {
        self.follows().winds_up
    }

    /// Notes that it has no session any more.
    pub(super) fn begin_to_wind_up(&self) {
        let mut follows = self.follows();
        follows.winds_up = follows.live.is_none();
    }

    /// The listener that has taken over this address.
    pub(super) fn successor(&self, local: IpAddr) -> Option<Arc<UdpListener>> {
        self.follows().successors.iter().find(|other| other.addr.receives(local)).cloned()
    }

    /// Makes its socket deaf, unless it has a route again. Returns whether it is.
    pub(super) fn deafen(&self) -> bool {
        let follows = self.follows();
        let closing = follows.live.is_none();
        if closing && !follows.paused {
            self.socket.deafen();
        }
        closing
    }

    /// Whether the task may end. A later edit starts another.
    pub(super) fn ends(&self) -> bool {
        let mut follows = self.follows();
        follows.ended = follows.live.is_none() && !self.mailbox.has_any();
        if follows.ended {
            follows.successors.clear();
        }
        follows.ended
    }

    pub(super) fn follows(&self) -> MutexGuard<'_, Follows> {
        lock(&self.follows)
    }
}
