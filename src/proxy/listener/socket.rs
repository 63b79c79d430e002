//! The listening socket of a listener. With `when_down = "refuse"` it is closed while no upstream is up.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::accept::{self, Accepts};
use super::leaving::{Leaving, see_off};
use crate::model::{Fault, Protocol, SocketAccess, WhenDown, units};
use crate::net::dial::DialOptions;
use crate::net::{Acceptor, StreamListener, bind, bind_fault};
use crate::proxy::record::Shared;
use crate::proxy::route::{Frontend, Listener, LiveRoute};
use crate::proxy::upstream::OwnHeader;
use crate::state::{Walk, lock};
use crate::tasks::{Scope, Task, Worker, WorkerPool};

/// How often the upstreams of a closed listener are tried, if no check does that.
const TRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often a bind is retried while another program has taken the address.
const BIND_INTERVAL: Duration = Duration::from_millis(500);

/// A listening address, its socket, and the tasks that accept from it.
#[derive(Debug)]
pub struct ListenSocket {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    /// `None` while it is closed.
    socket: ArcSwapOption<StreamListener>,
    /// Whether the socket is ours alone, so that closing it closes the port. One that systemd holds as well stays open.
    closable: bool,
    /// Why it takes no clients. `None`: it does, or it is closed because no upstream is up.
    fault: ArcSwapOption<Fault>,
    /// Who may connect, if it is a Unix socket. `None`: everybody.
    access: Mutex<Option<Arc<SocketAccess>>>,
    tasks: Mutex<Tasks>,
    edited: Notify,
}

/// The tasks of a listener.
#[derive(Debug)]
struct Tasks {
    owner: Scope,
    /// The accept loops, while the socket is open. (A scope for each of ten thousand sockets would take more memory.)
    accepting: Vec<Task>,
    /// Owns the task that closes and reopens the socket. `None` until a route has `when_down = "refuse"`.
    closing: Option<Scope>,
}

/// The acceptors of a socket, each registered with its own worker.
#[derive(Debug)]
pub struct Acceptors(Vec<(Arc<Worker>, Acceptor)>);

impl Acceptors {
    /// Registers with a socket that nobody else accepts from. `listeners`: the number of all listeners. Fails as
    /// epoll_ctl(2) does.
    pub fn at(socket: &StreamListener, workers: &WorkerPool, listeners: usize) -> io::Result<Self> {
        let acceptor = |worker: Arc<Worker>| {
            let acceptor = {
                let _on_its_thread = worker.enter();
                socket.acceptor()?
            };
            Ok((worker, acceptor))
        };
        workers.acceptors(listeners).map(acceptor).collect::<io::Result<_>>().map(Acceptors)
    }
}

impl ListenSocket {
    /// Wraps a socket that listens. Its tasks belong to `owner`.
    pub fn new(
        listener: Listener,
        socket: StreamListener,
        closable: bool,
        owner: &Scope,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let tasks = Tasks { owner: owner.clone(), accepting: Vec::new(), closing: None };
        Arc::new(ListenSocket {
            listener: Arc::new(listener),
            shared: shared.clone(),
            socket: ArcSwapOption::from_pointee(socket),
            closable,
            fault: ArcSwapOption::empty(),
            access: Mutex::default(),
            tasks: Mutex::new(tasks),
            edited: Notify::new(),
        })
    }

    /// The listening address, and its frontend.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The socket. `None` while it is closed.
    pub fn socket(&self) -> Option<Arc<StreamListener>> {
        self.socket.load_full()
    }

    /// Why it takes no clients: the socket, which was closed while no upstream was up, cannot be opened again, or accepting not be
    /// resumed.
    pub fn fault(&self) -> Option<Arc<Fault>> {
        self.fault.load_full()
    }

    /// Accepts from now on, and closes and reopens the socket as the route wants it, until [`ListenSocket::close`].
    pub fn begin(self: &Arc<Self>, acceptors: Acceptors) {
        self.accept(acceptors);
        self.edited();
    }

    /// Sets who may connect to a Unix socket, now and whenever it is opened again. Connections stay.
    pub fn allow(&self, access: &Arc<SocketAccess>) -> io::Result<()> {
        if let Some(socket) = self.socket() {
            socket.allow(access)?;
        }
        *lock(&self.access) = Some(access.clone());
        Ok(())
    }

    /// Serves later connections with another frontend. The socket and its accept queue stay.
    pub fn serve(self: &Arc<Self>, frontend: Frontend) {
        self.listener.serve(frontend);
        self.edited();
    }

    fn edited(self: &Arc<Self>) {
        self.edited.notify_one();
        let mut tasks = lock(&self.tasks);
        if tasks.closing.is_none() && self.listener.frontend().policy().when_down == WhenDown::Refuse {
            let closing = tasks.owner.child();
            let socket = self.clone();
            closing.keep(move || socket.clone().close_and_open());
            tasks.closing = Some(closing);
        }
    }

    /// Stops accepting: whoever has been accepted is served. [`ListenSocket::close`] and [`ListenSocket::paused`] wait until the
    /// tasks have ended.
    pub fn stop(&self) {
        let tasks = lock(&self.tasks);
        tasks.closing.iter().for_each(Scope::kill);
        tasks.accepting.iter().for_each(Task::kill);
    }

    /// Waits until nothing is accepted any more after [`ListenSocket::stop`]: clients wait in the queue, for
    /// [`ListenSocket::resume`] or for another process that has the socket too.
    pub async fn paused(&self) {
        self.end_closing().await;
        self.accept_loops_end().await;
    }

    /// Leaves the paused socket, its queue and its file to another process that has the socket too.
    pub fn leave(&self) {
        self.socket().iter().for_each(|socket| socket.leave_file(true));
        self.socket.store(None);
        self.listener.close();
    }

    /// Accepts again after [`ListenSocket::paused`]. Fails as epoll_ctl(2) does.
    pub fn resume(self: &Arc<Self>) -> io::Result<()> {
        let acceptors =
            self.socket().map(|socket| Acceptors::at(&socket, &self.shared.workers, 1)).transpose();
        let resumed =
            acceptors.map(|acceptors| acceptors.into_iter().for_each(|acceptors| self.accept(acceptors)));
        let fault = |error| Arc::new(bind_fault(&self.listener.addr, error, Protocol::Tcp, None));
        self.fault.store(resumed.as_ref().err().map(fault));
        self.edited();
        resumed
    }

    /// Ends the task that closes and reopens the socket.
    async fn end_closing(&self) {
        let closing = lock(&self.tasks).closing.take();
        if let Some(closing) = closing {
            closing.kill();
            closing.finished().await;
        }
    }

    /// Closes the socket for good. Connections that wait in its accept queue are reset, unless another process has it too.
    pub async fn close(&self) {
        self.end_closing().await;
        self.shut().await;
        self.listener.close();
    }

    /// Closes the socket for good, in favour of the listeners that an edit has put into its place: they serve the clients that
    /// have reached it. `owner` owns the task that accepts these.
    pub async fn give_way(&self, successors: Vec<Arc<Listener>>, owner: &Scope) {
        let socket = self.socket().filter(|_| self.closable);
        self.close().await;
        let Some(socket) = socket else { return };
        // Without a descriptor for it there is only the close.
        let Ok(Acceptors(acceptors)) = Acceptors::at(&socket, &self.shared.workers, usize::MAX) else {
            return;
        };
        for (worker, acceptor) in acceptors {
            let on_its_thread = worker.clone();
            let _on_its_thread = on_its_thread.enter();
            let leaving = Leaving { socket: socket.clone(), acceptor, worker };
            owner.spawn(see_off(leaving, successors.clone(), self.shared.clone()));
        }
    }

    /// The listening address, and its frontend, to be shared.
    pub fn shared_listener(&self) -> Arc<Listener> {
        self.listener.clone()
    }

    fn accept(&self, acceptors: Acceptors) {
        let mut tasks = lock(&self.tasks);
        tasks.accepting.reserve_exact(acceptors.0.len());
        for (worker, acceptor) in acceptors.0 {
            let on_its_thread = worker.clone();
            let _on_its_thread = on_its_thread.enter();
            let (listener, shared) = (self.listener.clone(), self.shared.clone());
            let accepts = Arc::new(Accepts { acceptor, worker, listener, shared });
            let task = tasks.owner.keep(move || accept::serve(accepts.clone()));
            tasks.accepting.push(task);
        }
    }

    /// Waits until the accept loops, which were killed, have ended.
    async fn accept_loops_end(&self) {
        poll_fn(|cx| {
            let mut tasks = lock(&self.tasks);
            tasks.accepting.retain_mut(|task| !task.poll_ended(cx));
            if tasks.accepting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Ends the accept loops, and closes the socket with the last of them.
    async fn shut(&self) {
        lock(&self.tasks).accepting.iter().for_each(Task::kill);
        self.accept_loops_end().await;
        self.socket.store(None);
    }

    async fn close_and_open(self: Arc<Self>) {
        let mut told = false;
        loop {
            // It is closed if the task was started again meanwhile.
            if self.socket().is_some() {
                self.must_close(&mut told).await;
            }
            self.stay_closed().await;
        }
    }

    /// Closes the socket until an upstream is back.
    async fn stay_closed(&self) {
        self.shut().await;
        self.fault.store(None);
        let listener = &*self.listener.addr;
        warn!(%listener, "no upstream is available: the listening socket is closed until one is back");
        let closed = Instant::now();
        self.may_open().await;
        let (socket, acceptors) = self.open().await;
        self.socket.store(Some(Arc::new(socket)));
        self.accept(acceptors);
        info!(%listener, closed_for = %units::show_millis(closed.elapsed()), "listening again");
    }

    /// Resolves when the route has `when_down = "refuse"` and no upstream is up.
    async fn must_close(&self, told: &mut bool) {
        loop {
            let frontend = self.listener.frontend();
            if frontend.policy().when_down != WhenDown::Refuse {
                // Do not keep it alive while waiting for another frontend.
                drop(frontend);
                self.edited.notified().await;
            } else if self.is_deserted(frontend.first(), told).await {
                return;
            }
        }
    }

    /// Resolves with `true` when no upstream is up, or with `false` when an edit may have changed the frontend.
    async fn is_deserted(&self, live: &LiveRoute, told: &mut bool) -> bool {
        let mut news = live.news();
        loop {
            if !live.is_any_up() {
                if self.closable {
                    return true;
                }
                if !std::mem::replace(told, true) {
                    warn!(
                        listener = %self.listener.addr,
                        "no upstream is available, but this socket is inherited and stays open: clients are reset"
                    );
                }
            }
            tokio::select! {
                _ = news.changed() => {}
                () = self.edited.notified() => return false,
            }
        }
    }

    /// Resolves when an upstream is back, or an edit has removed `when_down = "refuse"`.
    async fn may_open(&self) {
        loop {
            let frontend = self.listener.frontend();
            let live = frontend.first();
            let mut news = live.news();
            if live.route.policy.when_down != WhenDown::Refuse || live.is_any_up() {
                return;
            }
            let tried = async {
                if live.route.policy.health.is_some() {
                    // The checks notice when it is back.
                    pending::<()>().await;
                }
                sleep(TRY_INTERVAL).await;
                try_all(live).await;
            };
            // News of other upstreams does not break off an attempt: the upstream would see a client that vanishes.
            let is_back = async { while news.changed().await.is_ok() && !live.is_any_up() {} };
            tokio::select! {
                () = is_back => {}
                () = self.edited.notified() => {}
                () = tried => {}
            }
        }
    }

    /// Reopens the socket. Retries until it works: another program may have taken the address meanwhile.
    async fn open(&self) -> (StreamListener, Acceptors) {
        let listener = &*self.listener.addr;
        loop {
            let error = match self.try_open() {
                Ok(open) => {
                    self.fault.store(None);
                    return open;
                }
                Err(error) => error,
            };
            let fault = bind_fault(listener, &error, Protocol::Tcp, None);
            if self.fault.load().as_deref() != Some(&fault) {
                warn!(%listener, %fault, help = fault.help, "cannot listen again: trying until it works");
                self.fault.store(Some(Arc::new(fault)));
            }
            sleep(BIND_INTERVAL).await;
        }
    }

    fn try_open(&self) -> io::Result<(StreamListener, Acceptors)> {
        let options = self.listener.frontend().policy().socket_options();
        let access = lock(&self.access).clone();
        let access = access.as_deref().unwrap_or(&SocketAccess::EVERYBODY);
        let socket = bind(&self.listener.addr, false, access)?.listen(options)?;
        let acceptors = Acceptors::at(&socket, &self.shared.workers, 1)?;
        Ok((socket, acceptors))
    }
}

/// Connects to each candidate once, as a client would, and closes again. Stops at the first that answers.
async fn try_all(live: &LiveRoute) {
    let candidates = live.candidates();
    let policy = &live.route.policy;
    let header = OwnHeader::of(&policy.proxy_protocol).bytes(policy.protocol);
    let options = DialOptions::for_no_client(policy.timeouts.connect, &header);
    let mut walk = Walk::new(None, fastrand::u64(..));
    while let Some(step) = candidates.pool.next(&mut walk, Instant::now().into_std()) {
        let Some(candidate) = candidates.get(step.index) else { return };
        if candidate.endpoint.try_out(step.attempt, &options).await {
            return;
        }
    }
}
