//! How others look at what runs, and ask for changes of it: they send a request, and the one task that owns the
//! [`Server`](super::Server) answers between two edits.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::edit::History;
use super::trial::Trial;
use crate::config::{Compiled, Report};
use crate::model::{AdminSettings, Route};
use crate::net::{Acceptor, Listener, Socket};
use crate::proxy::{DatagramDoor, Gate, Lead, Shared};
use crate::tasks::Scope;

/// Connections that the admin endpoint has at most. Their descriptors, and that of one more, are kept for it.
pub const ADMIN_CONNECTIONS: usize = 16;

/// Requests that may wait. More wait with those who ask.
const QUEUE: usize = 16;

/// What others have of a running proxy.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    /// What all connections share: what is open is seen here without asking.
    pub shared: Arc<Shared>,
    /// The admin endpoint, as the file has it now.
    pub admin: watch::Receiver<Option<Arc<AdminDoor>>>,
    /// The owner of what serves it.
    pub scope: Scope,
}

/// The admin endpoint of the file.
#[derive(Debug)]
pub struct AdminDoor {
    /// Who may do what there.
    pub settings: AdminSettings,
    /// Its socket, which an edit that leaves `listen` alone does not touch.
    pub socket: Arc<AdminSocket>,
}

/// The listening socket of the endpoint.
#[derive(Debug)]
pub struct AdminSocket {
    acceptor: Acceptor,
    /// Removes the file of a Unix socket at the end.
    _listener: Listener,
}

impl AdminSocket {
    /// The runtime of the caller waits for its connections. Fails as epoll_ctl(2) does.
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        Ok(AdminSocket { acceptor: listener.acceptor()?, _listener: listener })
    }

    /// Takes the next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        Ok(self.acceptor.accept().await?.here()?.0)
    }
}

/// What may be asked. Whoever gives up waiting has dropped the receiver.
#[derive(Debug)]
pub(super) enum Request {
    View(oneshot::Sender<View>),
    /// Whether it was told to stop.
    Alive(oneshot::Sender<bool>),
    Reload(oneshot::Sender<Reloaded>),
    /// Of one route, or of all: then the process ends.
    Drain(Option<String>, oneshot::Sender<Option<Draining>>),
    Try(Box<Compiled>, oneshot::Sender<Result<Trial, Report>>),
}

/// Connections have time to end.
#[derive(Clone, Debug)]
pub struct Draining {
    /// How many they are.
    pub open: usize,
    /// How much time they have.
    pub patience: Duration,
}

/// The process is ending, and answers no more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Portway is stopping")]
pub struct Stopping;

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        admin: watch::Receiver<Option<Arc<AdminDoor>>>,
        scope: Scope,
    ) -> (Handle, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(QUEUE);
        (Handle { requests, shared, admin, scope }, receiver)
    }

    /// What runs.
    pub async fn view(&self) -> Result<View, Stopping> {
        self.ask(Request::View).await
    }

    /// Answers when the server does: whether it was told to stop.
    pub async fn is_alive(&self) -> Result<bool, Stopping> {
        self.ask(Request::Alive).await
    }

    /// Reads the file again, whatever it looks like. Answers once it was carried out or refused.
    pub async fn reload(&self) -> Result<Reloaded, Stopping> {
        self.ask(Request::Reload).await
    }

    /// Takes a route out of what runs, or ends the process, once its connections have ended. `None`: no route is called so.
    pub async fn drain(&self, route: Option<String>) -> Result<Option<Draining>, Stopping> {
        self.ask(|reply| Request::Drain(route, reply)).await
    }

    /// What a file would change.
    pub async fn try_plan(&self, compiled: Compiled) -> Result<Result<Trial, Report>, Stopping> {
        self.ask(|reply| Request::Try(Box::new(compiled), reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}

/// What runs, at one moment. What is counted goes on being counted.
#[derive(Debug)]
pub struct View {
    /// It was told to stop.
    pub draining: bool,
    /// When the process was started.
    pub started: SystemTime,
    /// How many times what runs has changed.
    pub generation: u64,
    /// When it last did.
    pub since: SystemTime,
    /// The file, and what became of its edits.
    pub file: Option<FileView>,
    /// Every route in force, by name.
    pub routes: Vec<RouteView>,
    /// Routes that are no more, and have open connections.
    pub removed: Vec<RouteView>,
    /// Clients that no route serves.
    pub nobody: Option<Arc<Gate>>,
    /// What is counted of all routes that were ever there, but for those above: connections opened and closed, bytes up and
    /// down.
    pub past: [u64; 4],
    /// How many sockets it listens on.
    pub listeners: usize,
    /// Descriptors that it may have.
    pub descriptors: usize,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
}

/// The file of a running proxy.
#[derive(Clone, Debug)]
pub struct FileView {
    /// Its path.
    pub name: String,
    /// What became of its edits.
    pub history: History,
    /// Why it is not what runs.
    pub pending: Option<super::edit::Pending>,
    /// It was replaced where that cannot be seen.
    pub stale: bool,
}

/// One route.
#[derive(Debug)]
pub struct RouteView {
    /// As the file has it, or had it last.
    pub route: Arc<Route>,
    /// What is counted of it.
    pub gate: Arc<Gate>,
    /// Where each of its addresses leads.
    pub leads: Vec<Arc<Lead>>,
    /// Its UDP listeners.
    pub datagrams: Vec<Arc<DatagramDoor>>,
    /// Open connections of earlier texts.
    pub retired: usize,
}

/// What became of a file that was read because somebody asked.
#[derive(Clone, Debug)]
pub enum Reloaded {
    /// It runs; what has changed, in one line. None: it says the same as before.
    Taken(u64, Option<String>),
    /// It does not.
    Refused(u64, Report),
    /// There is none.
    NoFile(u64),
}
