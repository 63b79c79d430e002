//! How others look at what runs, and ask for changes of it: they send a request, and the one task that owns what
//! runs answers between two edits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::admin_socket::AdminListener;
use super::descriptors::Shares;
use super::history::{FileView, Reloaded};
use crate::config::{Compiled, Plan, Report};
use crate::model::{AdminSettings, Fault, ListenAddr, LogSettings, ProcessLimits, Protocol, Route};
use crate::proxy::record::Shared;
use crate::proxy::route::{LiveRoute, RouteState};
use crate::proxy::udp::UdpListener;
use crate::state::Totals;
use crate::tasks::Scope;

/// Requests that may wait. More wait with those who ask.
const QUEUE: usize = 16;

/// What others have of a running proxy.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    /// What all connections share: what is open is seen here without asking.
    pub shared: Arc<Shared>,
    /// The admin endpoint, as the file has it now.
    pub admin: watch::Receiver<Option<Arc<AdminListener>>>,
    /// The owner of what serves it.
    pub scope: Scope,
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
    DryRun(Box<Compiled>, oneshot::Sender<Result<DryRun, Report>>),
}

/// Connections have time to end.
#[derive(Clone, Debug)]
pub struct Draining {
    /// How many they are.
    pub open: usize,
    /// How much time they have.
    pub at_most: Duration,
}

/// The process is ending, and answers no more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Portway is stopping")]
pub struct Stopping;

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        admin: watch::Receiver<Option<Arc<AdminListener>>>,
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
    pub async fn dry_run(&self, compiled: Compiled) -> Result<Result<DryRun, Report>, Stopping> {
        self.ask(|reply| Request::DryRun(Box::new(compiled), reply)).await
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
    pub nobody: Option<Arc<RouteState>>,
    /// What is counted of all routes that were ever there, but for those above.
    pub past: Totals,
    /// How many sockets it listens on.
    pub listeners: usize,
    /// Descriptors that it may have.
    pub descriptors: usize,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
}

/// One route.
#[derive(Debug)]
pub struct RouteView {
    /// As the file has it, or had it last.
    pub route: Arc<Route>,
    /// What is counted of it.
    pub state: Arc<RouteState>,
    /// The route at each of its addresses.
    pub at: Vec<Arc<LiveRoute>>,
    /// Its UDP listeners.
    pub udp: Vec<Arc<UdpListener>>,
    /// Open connections of earlier texts.
    pub retired: usize,
}

/// What an edit would do to what runs.
#[derive(Debug)]
pub struct DryRun {
    /// The generation that it was compared with.
    pub generation: u64,
    /// What would change.
    pub plan: Plan,
    /// As it runs.
    pub log: LogSettings,
    /// As it runs.
    pub limits: ProcessLimits,
    /// As it runs.
    pub admin: Option<AdminSettings>,
    /// Open connections of each route that would be removed or changed.
    pub open: BTreeMap<String, usize>,
    /// Each address that would be listened on anew.
    pub listeners: Vec<TriedListener>,
    /// Descriptors for all but connections.
    pub descriptors_needed: usize,
    /// Descriptors that there may be.
    pub descriptors: usize,
    /// What would fit beside.
    pub fits: Shares,
}

/// An address that a plan would listen on.
#[derive(Debug)]
pub struct TriedListener {
    /// Connections or datagrams.
    pub protocol: Protocol,
    /// The address.
    pub addr: ListenAddr,
    /// Why it cannot be listened on.
    pub fault: Option<Fault>,
}
