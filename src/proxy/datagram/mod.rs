//! The life of a UDP listener. One task serves it with all its sessions, and waits for none of them: `desk` tells what
//! happens to a datagram.

mod desk;
mod drops;
mod greeting;
mod permits;
mod session;

use std::future::{pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

pub use permits::Sessions;

use self::desk::Desk;
use self::drops::Drops;
use super::{Lead, Open, Shared};
use crate::model::ListenAddr;
use crate::net::datagram::{DatagramSocket, Poller, Ready};
use crate::tasks::Worker;

/// Sessions end at most this much late: so many timers are one.
const GRAIN: Duration = Duration::from_millis(50);
/// At a stop a session need not be silent for longer than this: its client has nothing under way.
const SILENCE: Duration = Duration::from_secs(2);
/// How long serving pauses when the system has no more to give.
const PAUSE: Duration = Duration::from_millis(200);

/// One UDP address of the running proxy. It stays while edits change what it leads to, and, when none leads on, for as
/// long as it has sessions: their answers must leave from here.
#[derive(Debug)]
pub struct DatagramDoor {
    /// The address that it listens on.
    pub addr: Arc<ListenAddr>,
    /// Its socket.
    pub socket: DatagramSocket,
    /// The thread of its task.
    pub worker: Arc<Worker>,
    /// Watches it, and the sockets of its sessions.
    poller: Poller,
    leading: Mutex<Leading>,
    changed: Notify,
    /// Somebody has killed sessions.
    kills: AtomicBool,
    drops: Drops,
}

#[derive(Debug)]
struct Leading {
    /// What new sessions follow. `None`: there are to be no new ones.
    lead: Option<Arc<Lead>>,
    /// Its sessions are to end as well.
    cut: bool,
    /// Its sessions are to end soon.
    hurry: bool,
    /// Its task has ended.
    ended: bool,
}

impl Leading {
    fn follow(&mut self, lead: Option<Arc<Lead>>) {
        if let Some(old) = std::mem::replace(&mut self.lead, lead) {
            old.retire();
        }
    }
}

impl DatagramDoor {
    /// A door that nobody serves yet. Fails where the system has no descriptor left.
    pub fn new(addr: ListenAddr, socket: DatagramSocket, worker: Arc<Worker>) -> io::Result<Self> {
        let poller = {
            let _there = worker.enter();
            Poller::new()?
        };
        poller.add(&socket, desk::LISTENER)?;
        let leading = Mutex::new(Leading { lead: None, cut: false, hurry: false, ended: true });
        Ok(DatagramDoor {
            addr: Arc::new(addr),
            socket,
            worker,
            poller,
            leading,
            changed: Notify::new(),
            kills: AtomicBool::new(false),
            drops: Drops::default(),
        })
    }

    /// From now on new sessions are led there. Whether a task must be started for the door.
    pub fn lead_to(&self, lead: Arc<Lead>) -> bool {
        let mut leading = self.leading();
        leading.follow(Some(lead));
        leading.cut = false;
        self.changed.notify_one();
        std::mem::replace(&mut leading.ended, false)
    }

    /// No new sessions from now on.
    pub fn close(&self) {
        self.leading().follow(None);
        self.changed.notify_one();
    }

    /// No new sessions from now on, and an end for each that falls silent: the process stops.
    pub fn drain(&self) {
        self.leading().hurry = true;
        self.close();
    }

    /// No new sessions, and an end for those that are there: another socket is to have their datagrams.
    pub fn cut(&self) {
        self.leading().cut = true;
        self.close();
    }

    /// Sessions were killed: they are to end.
    pub(super) fn kills(&self) {
        self.kills.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Datagrams that were dropped, by reason, since the start.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.drops.counts()
    }

    /// What new sessions follow; none while it is going away.
    pub fn lead(&self) -> Option<Arc<Lead>> {
        self.leading().lead.clone()
    }

    /// Whether the task may end: an edit that comes later starts another.
    fn ends(&self) -> bool {
        let mut leading = self.leading();
        leading.ended = leading.lead.is_none();
        leading.ended
    }

    fn leading(&self) -> std::sync::MutexGuard<'_, Leading> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a door until it is closed and its last session has ended.
pub async fn serve(door: Arc<DatagramDoor>, shared: Arc<Shared>) {
    let mut desk = Desk::new(door.clone(), shared);
    let mut news = None;
    let mut ready = Ready::default();
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut orders: Vec<Order> = Vec::new();
    let mut changed = true;
    loop {
        if std::mem::take(&mut changed) {
            let lead = door.lead();
            // One channel for all leads: to subscribe anew would miss what was told meanwhile.
            news = news.or_else(|| lead.as_ref().map(|lead| lead.news()));
            desk.follow(lead, &mut orders);
            let Leading { cut, hurry, .. } = *door.leading();
            if door.kills.swap(false, Ordering::SeqCst) {
                desk.cut_killed();
            }
            if cut {
                desk.cut_all();
            }
            if hurry {
                desk.hurry(SILENCE);
            }
        }
        if desk.is_over() && door.ends() {
            return;
        }
        if let Some(next) = desk.next_deadline().map(Instant::from_std) {
            let soonest = Instant::now() + GRAIN;
            if timer.is_elapsed() || next + GRAIN < timer.deadline() {
                timer.as_mut().reset(next.max(soonest));
            }
        }
        let waits = !timer.is_elapsed();
        tokio::select! {
            biased;
            () = door.changed.notified() => changed = true,
            at = ended(&mut orders) => desk.cut(&orders.swap_remove(at).lead),
            () = heard(&mut news) => desk.look_again(),
            () = timer.as_mut(), if waits => desk.expire(),
            event = door.poller.wait(&mut ready) => match event {
                Ok(()) => desk.turn(&ready),
                Err(_) => sleep(PAUSE).await,
            },
            () = yield_now(), if desk.has_more() => desk.go_on(),
        }
        orders.retain(|order| order.is_of_use());
    }
}

/// Resolves when there is news of upstreams.
async fn heard(news: &mut Option<watch::Receiver<()>>) {
    let Some(news) = news else { return pending().await };
    if news.changed().await.is_err() {
        // Nobody is left to tell.
        pending().await
    }
}

/// What a lead's owner may say: its sessions are to end.
struct Order {
    lead: Arc<Lead>,
    killed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Order {
    fn of(lead: Arc<Lead>) -> Order {
        let killed = Box::pin(lead.connections.killed());
        Order { lead, killed }
    }

    /// Whether anybody but this order knows the lead.
    fn is_of_use(&self) -> bool {
        Arc::strong_count(&self.lead) > 1
    }
}

/// Resolves when sessions are to end; the place of the order.
async fn ended(orders: &mut [Order]) -> usize {
    poll_fn(|cx| {
        let told = orders.iter_mut().position(|order| order.killed.as_mut().poll(cx).is_ready());
        told.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
