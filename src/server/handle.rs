//! How other tasks inspect and change what runs: they send a request, and the one task that owns what runs answers it
//! between two edits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::admin_socket::AdminListener;
use super::by_hand::{NotDone, Obeyed, Order};
use super::descriptors::Shares;
use super::history::{FileView, Reloaded};
use super::memory::MemoryUse;
use super::named_file::NamedFile;
use super::old_process::OldProcess;
use super::pull::SourceView;
use super::upgrade_order::{NotUpgraded, UpgradeOrder, Upgraded};
use crate::config::{Compiled, Plan, Report, RouteFiles};
use crate::model::{
    AdminSettings, EditsSettings, Fault, FleetSettings, ListenAddr, LogSettings, ProcessLimits,
    ProcessSettings, Protocol, Route,
};
use crate::proxy::record::{OpenConnection, Shared};
use crate::proxy::route::{LiveRoute, RouteState};
use crate::proxy::udp::UdpListener;
use crate::proxy::upstream::Connectors;
use crate::state::{ByHand, Totals};
use crate::tasks::Scope;

/// How many requests the channel holds. Beyond that, senders wait.
const QUEUE: usize = 16;

/// A handle to the running proxy, for tasks outside of the server.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    alive: mpsc::Sender<Alive>,
    /// What all connections share. Open connections are read from here, without a request.
    pub shared: Arc<Shared>,
    /// The current admin endpoint. `None`: the file has none, or the process is stopping.
    pub admin: watch::Receiver<Option<Arc<AdminListener>>>,
    /// The owner of the tasks that serve the admin endpoint.
    pub scope: Scope,
}

/// A request to the server, with the sender for its answer. Whoever gives up waiting drops the receiver.
#[derive(Debug)]
pub(super) enum Request {
    View(oneshot::Sender<View>),
    /// Whether to take the files as they are, without probation.
    Reload(bool, oneshot::Sender<Reloaded>),
    /// Drains all routes: then the process ends.
    Drain(oneshot::Sender<Draining>),
    ByHand(Box<Order>, oneshot::Sender<Result<Obeyed, NotDone>>),
    DryRun(Box<Compiled>, Tries, oneshot::Sender<Result<DryRun, Report>>),
    Upgrade(UpgradeOrder, oneshot::Sender<Result<Upgraded, NotUpgraded>>),
}

/// Asks whether the process is stopping. Answered also while an edit is carried out.
pub(super) type Alive = oneshot::Sender<bool>;

/// What a dry run may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// Everything that the edit would do.
    Everything,
    /// Nothing in the file system that the running table does not name: the text is of somebody who could otherwise look at
    /// files of this host through it.
    NoFiles,
}

/// The server's ends of a [`Handle`].
#[derive(Debug)]
pub(super) struct Inbox {
    pub requests: Requests,
    pub alive: mpsc::Receiver<Alive>,
}

/// The requests that wait.
#[derive(Debug)]
pub(super) struct Requests {
    asked: mpsc::Receiver<Request>,
    /// Those that were put off, which come first.
    later: VecDeque<Request>,
}

impl Requests {
    /// The next request. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Request> {
        match self.later.pop_front() {
            Some(request) => Some(request),
            None => self.asked.recv().await,
        }
    }

    /// The next one that was not put off yet. Waits while as many are as the channel holds.
    pub async fn newest(&mut self) -> Option<Request> {
        if self.later.len() < QUEUE { self.asked.recv().await } else { std::future::pending().await }
    }

    /// Keeps a request for later. Where as many as the channel holds wait already, it is forgotten.
    pub fn put_off(&mut self, request: Request) {
        if self.later.len() < QUEUE {
            self.later.push_back(request);
        }
    }
}

/// A drain that has begun.
#[derive(Clone, Debug)]
pub struct Draining {
    /// How many connections were open when it began.
    pub open: usize,
    /// How long they may take to end.
    pub at_most: Duration,
}

/// The process is stopping and answers no requests.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Portway is stopping")]
pub struct Stopping;

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        admin: watch::Receiver<Option<Arc<AdminListener>>>,
        scope: Scope,
    ) -> (Handle, Inbox) {
        let (requests, asked) = mpsc::channel(QUEUE);
        let (alive, probes) = mpsc::channel(QUEUE);
        (
            Handle { requests, alive, shared, admin, scope },
            Inbox { requests: Requests { asked, later: VecDeque::new() }, alive: probes },
        )
    }

    /// A view of what runs.
    pub async fn view(&self) -> Result<View, Stopping> {
        self.ask(Request::View).await
    }

    /// Resolves when the server task answers. `true`: the process is stopping.
    pub async fn is_alive(&self) -> Result<bool, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.alive.send(reply).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }

    /// Reads the file again, even if it looks unchanged. `keep`: takes it as it is, also after it was rolled back. Resolves once
    /// the text is applied or refused.
    pub async fn reload(&self, keep: bool) -> Result<Reloaded, Stopping> {
        self.ask(|reply| Request::Reload(keep, reply)).await
    }

    /// Begins to drain the process, which then ends.
    pub async fn drain(&self) -> Result<Draining, Stopping> {
        self.ask(Request::Drain).await
    }

    /// Steers a route or an upstream by hand.
    pub async fn by_hand(&self, order: Order) -> Result<Result<Obeyed, NotDone>, Stopping> {
        self.ask(|reply| Request::ByHand(Box::new(order), reply)).await
    }

    /// Lets another process take over, and this one end.
    pub async fn upgrade(&self, order: UpgradeOrder) -> Result<Result<Upgraded, NotUpgraded>, Stopping> {
        self.ask(|reply| Request::Upgrade(order, reply)).await
    }

    /// What a file would change.
    pub async fn dry_run(
        &self,
        compiled: Compiled,
        tries: Tries,
    ) -> Result<Result<DryRun, Report>, Stopping> {
        self.ask(|reply| Request::DryRun(Box::new(compiled), tries, reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}

/// What runs, at one moment. The counters in it stay live.
#[derive(Debug)]
pub struct View {
    /// The process is stopping.
    pub draining: bool,
    /// When the process was started.
    pub started: SystemTime,
    /// Generation of the running configuration, from 1.
    pub generation: u64,
    /// When it last changed.
    pub since: SystemTime,
    /// The file, and what became of its edits. `None`: the table was given at the start.
    pub file: Option<FileView>,
    /// The store that the file comes from. `None`: it comes from none.
    pub source: Option<SourceView>,
    /// Every route in force, by name.
    pub routes: Vec<RouteView>,
    /// Removed routes that still have open connections.
    pub removed: Vec<RouteView>,
    /// Routes of the file with `enabled = false`.
    pub disabled: Vec<Arc<Route>>,
    /// Routes of the file that were taken out by hand.
    pub held: Vec<RouteView>,
    /// All that was done by hand.
    pub by_hand: ByHand,
    /// The state of the stand-in route for clients that no route serves. `None`: no listener needs it.
    pub nobody: Option<Arc<RouteState>>,
    /// Totals of every route that ever ran and is not listed above.
    pub past: Totals,
    /// How many sockets it listens on, TCP and UDP.
    pub listeners: usize,
    /// The files that the routes' file names; of those that it includes, the ones that are not what runs.
    pub files: Vec<NamedFile>,
    /// The file with those that it includes, as they run. `None`: it includes none.
    pub included: Option<Arc<RouteFiles>>,
    /// Among how many nodes the checks of upstreams are shared, this one counted.
    pub nodes: u32,
    /// The descriptor limit of the process.
    pub descriptors: usize,
    /// The memory of the process.
    pub memory: MemoryUse,
    /// The process that this one has taken over from. `None`: there is none, or nothing is open there any more.
    pub old: Option<OldProcess>,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
}

/// One route of a [`View`].
#[derive(Debug)]
pub struct RouteView {
    /// The route as the file has it, or had it last.
    pub route: Arc<Route>,
    /// Its counters and limits.
    pub state: Arc<RouteState>,
    /// The route at each of its addresses.
    pub at: Vec<Arc<LiveRoute>>,
    /// Why it does not listen at some of them.
    pub closed: Vec<Arc<Fault>>,
    /// Its UDP listeners.
    pub udp: Vec<Arc<UdpListener>>,
    /// Open connections that follow an earlier text of the route.
    pub retired: usize,
}

/// What an edit would do to what runs.
#[derive(Debug)]
pub struct DryRun {
    /// The generation that it was compared with.
    pub generation: u64,
    /// What would change.
    pub plan: Plan,
    /// How TLS is spoken to the upstreams of the new table.
    pub connectors: Connectors,
    /// The routes of the file that runs with `enabled = false`.
    pub disabled: Vec<Arc<Route>>,
    /// The `[process]` that runs.
    pub process: ProcessSettings,
    /// The `[log]` that runs.
    pub log: LogSettings,
    /// The `[limits]` that runs.
    pub limits: ProcessLimits,
    /// The `[fleet]` that runs.
    pub fleet: FleetSettings,
    /// The `[edits]` that runs.
    pub edits: EditsSettings,
    /// The `[admin]` that runs. `None`: there is none.
    pub admin: Option<AdminSettings>,
    /// The open connections that it concerns, by route.
    pub concerned: BTreeMap<String, Vec<Arc<OpenConnection>>>,
    /// Each address that would be opened, and whether that works.
    pub listeners: Vec<TriedListener>,
    /// Files and Unix sockets that it names, and that were left alone ([`Tries::NoFiles`]).
    pub not_tried: Vec<String>,
    /// Descriptors needed for everything but connections.
    pub descriptors_needed: usize,
    /// The descriptor limit of the process.
    pub descriptors: usize,
    /// Connections and sessions that would fit.
    pub fits: Shares,
}

/// An address that a plan would listen on.
#[derive(Debug)]
pub struct TriedListener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address that was tried.
    pub addr: ListenAddr,
    /// Why it cannot be listened on. `None`: it can.
    pub fault: Option<Fault>,
}
