//! The listening socket of a door, and `when_down = "refuse"`: it is closed while no upstream can be had.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::accept;
use super::budget::Episode;
use super::{Door, Lead, Shared};
use crate::model::WhenDown;
use crate::net::dial::DialOptions;
use crate::net::{Acceptor, Listener, bind};
use crate::state::Walk;
use crate::tasks::{Crew, Scope, Worker};

/// How often the upstreams of a closed door are tried, where no check does it.
const PACE: Duration = Duration::from_secs(1);
/// How often an address is asked for again that another program has taken meanwhile.
const AGAIN: Duration = Duration::from_millis(500);

/// The listening socket of a door, and the tasks that take its connections.
#[derive(Debug)]
pub struct Front {
    listener: ArcSwapOption<Listener>,
    /// It is ours alone: closing it makes clients see a closed port. One that systemd holds as well stays open.
    closable: bool,
    tasks: Mutex<Tasks>,
    edited: Notify,
}

/// What works for a door.
#[derive(Debug)]
struct Tasks {
    owner: Scope,
    /// Those who take connections while the socket is open.
    accepting: Scope,
    /// Who closes it and opens it again, once a route has wanted that.
    closing: Option<Scope>,
}

/// Those who will take the connections of a socket: each waits on its own thread.
#[derive(Debug)]
pub struct Posts(Vec<(Arc<Worker>, Acceptor)>);

impl Posts {
    /// At a socket that nobody else accepts from; `listeners`: how many there are. Fails as epoll_ctl(2) does.
    pub fn at(listener: &Listener, crew: &Crew, listeners: usize) -> io::Result<Self> {
        let post = |worker: Arc<Worker>| {
            let acceptor = {
                let _there = worker.enter();
                listener.acceptor()?
            };
            Ok((worker, acceptor))
        };
        crew.acceptors(listeners).map(post).collect::<io::Result<_>>().map(Posts)
    }
}

impl Front {
    /// Of a socket that listens. What works for it belongs to `owner`.
    pub fn new(listener: Listener, closable: bool, owner: &Scope) -> Self {
        let tasks = Tasks { owner: owner.clone(), accepting: owner.child(), closing: None };
        Front {
            listener: ArcSwapOption::from_pointee(listener),
            closable,
            tasks: Mutex::new(tasks),
            edited: Notify::new(),
        }
    }

    /// The socket, while it is open.
    pub fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.load_full()
    }

    /// Takes connections from now on, and closes and opens the socket as the route wants it, until [`Front::close`].
    pub fn serve(self: &Arc<Self>, posts: Posts, door: &Arc<Door>, shared: &Arc<Shared>) {
        self.accept(posts, door, shared);
        self.edited(door, shared);
    }

    /// The door leads elsewhere.
    pub fn edited(self: &Arc<Self>, door: &Arc<Door>, shared: &Arc<Shared>) {
        self.edited.notify_one();
        let mut tasks = self.tasks();
        if tasks.closing.is_none() && door.lead.load().route.policy.when_down == WhenDown::Refuse {
            let closing = tasks.owner.child();
            closing.spawn(self.clone().close_and_open(door.clone(), shared.clone()));
            tasks.closing = Some(closing);
        }
    }

    /// Takes no more connections. [`Front::close`] waits until that is so.
    pub fn stop(&self) {
        let tasks = self.tasks();
        tasks.closing.iter().for_each(Scope::kill);
        tasks.accepting.kill();
    }

    /// Closes the socket for good; what waits in its queue is reset.
    pub async fn close(&self) {
        let closing = self.tasks().closing.take();
        if let Some(closing) = closing {
            closing.drain(Duration::ZERO).await;
        }
        self.shut().await;
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, posts: Posts, door: &Arc<Door>, shared: &Arc<Shared>) {
        let tasks = self.tasks();
        for (worker, acceptor) in posts.0 {
            let there = worker.clone();
            let _there = there.enter();
            tasks.accepting.spawn(accept::serve(acceptor, worker, door.clone(), shared.clone()));
        }
    }

    /// Ends those who take connections, and closes the socket with the last of them.
    async fn shut(&self) {
        let accepting = self.tasks().accepting.clone();
        accepting.kill();
        accepting.finished().await;
        self.listener.store(None);
    }

    async fn close_and_open(self: Arc<Self>, door: Arc<Door>, shared: Arc<Shared>) {
        let mut told = false;
        loop {
            self.must_close(&door, &mut told).await;
            self.stay_closed(&door, &shared).await;
        }
    }

    /// Closes the socket until an upstream is back.
    async fn stay_closed(&self, door: &Arc<Door>, shared: &Arc<Shared>) {
        self.shut().await;
        warn!(listener = %door.addr, "no upstream can be had: the listening socket is closed until one is back");
        let closed = Instant::now();
        self.may_open(door).await;
        let (listener, posts) = open(door, &shared.crew).await;
        {
            let mut tasks = self.tasks();
            tasks.accepting = tasks.owner.child();
        }
        self.listener.store(Some(Arc::new(listener)));
        self.accept(posts, door, shared);
        let time = Duration::from_millis(u64::try_from(closed.elapsed().as_millis()).unwrap_or(u64::MAX));
        info!(listener = %door.addr, closed_for = %humantime::format_duration(time), "listening again");
    }

    /// Resolves when the route says so, and no upstream can be had.
    async fn must_close(&self, door: &Door, told: &mut bool) {
        loop {
            let lead = door.lead.load_full();
            if lead.route.policy.when_down != WhenDown::Refuse {
                // Not to be kept from its end by who waits for another.
                drop(lead);
                self.edited.notified().await;
            } else if self.is_deserted(&lead, door, told).await {
                return;
            }
        }
    }

    /// Resolves when no upstream can be had, or with `false` when the door may lead elsewhere.
    async fn is_deserted(&self, lead: &Lead, door: &Door, told: &mut bool) -> bool {
        let mut news = lead.news();
        loop {
            if !lead.is_any_up() {
                if self.closable {
                    return true;
                }
                if !std::mem::replace(told, true) {
                    warn!(
                        listener = %door.addr,
                        "no upstream can be had, but this socket comes from outside and stays open: clients are reset"
                    );
                }
            }
            tokio::select! {
                _ = news.changed() => {}
                () = self.edited.notified() => return false,
            }
        }
    }

    /// Resolves when an upstream is back, or an edit has the door open whatever happens.
    async fn may_open(&self, door: &Door) {
        loop {
            let lead = door.lead.load_full();
            let mut news = lead.news();
            if lead.route.policy.when_down != WhenDown::Refuse || lead.is_any_up() {
                return;
            }
            let tried = async {
                if lead.route.policy.health.is_some() {
                    // The checks find it out.
                    pending::<()>().await;
                }
                sleep(PACE).await;
                try_all(&lead).await;
            };
            tokio::select! {
                _ = news.changed() => {}
                () = self.edited.notified() => {}
                () = tried => {}
            }
        }
    }
}

/// Connects once to each candidate until one answers, as a client would, and closes again.
async fn try_all(lead: &Lead) {
    let candidates = lead.candidates();
    let policy = &lead.route.policy;
    let options = DialOptions { timeout: policy.connect_timeout, keepalive: None, before: &[] };
    let mut walk = Walk::new(None, fastrand::u64(..));
    while let Some(step) = candidates.pool.next(&mut walk, Instant::now().into_std()) {
        let Some(candidate) = candidates.get(step.index) else { return };
        if candidate
            .live
            .attempt(step.attempt, DialOptions { before: candidate.live.own_header(), ..options })
            .await
            .is_ok()
        {
            return;
        }
    }
}

/// Opens the socket of a door again. Another program may have taken its address meanwhile: then until it gives it back.
async fn open(door: &Door, crew: &Crew) -> (Listener, Posts) {
    let failing = Episode::default();
    loop {
        let keepalive = door.lead.load().route.policy.keepalive;
        let open = || {
            let listener = bind(&door.addr, false)?.listen(keepalive)?;
            let posts = Posts::at(&listener, crew, 1)?;
            Ok::<_, io::Error>((listener, posts))
        };
        match open() {
            Ok(open) => return open,
            Err(error) => {
                if failing.goes_on() {
                    warn!(listener = %door.addr, %error, "cannot listen again: trying until it works");
                }
                sleep(AGAIN).await;
            }
        }
    }
}
