//! The life of the process: start, edits, signals, stop.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::beside::{self, Watchers};
use super::descriptors::{Descriptors, Shares};
use super::edit::Edits;
use super::handle::{Draining, DryRun, Handle, Inbox, Request, Tries, View};
use super::history::Reloaded;
use super::log::Logs;
use super::running::Server;
use super::signals::{SignalMeaning, Signals};
use super::systemd::ServiceManager;
use crate::config::{Compiled, Report};
use crate::files::{FsEventSource, How};
use crate::net::{Inherited, use_low_ports};
use crate::proxy::record::Shared;
use crate::tasks::{Scope, WorkerPool};

/// Where the table comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Given at start, and never changed.
    Fixed(Box<Compiled>),
    /// A file, whose edits are followed.
    File(PathBuf),
}

/// Why the start failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file is wrong.
    #[error("the file is wrong")]
    File(Report),
    /// A socket cannot be opened, or a file that a route names is unusable.
    #[error("cannot open sockets")]
    Sockets(Report),
    /// The system refuses something that no program can do without.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Runs until a signal or a request stops it. That is a success even if connections were cut, or a second signal came.
/// `admin` makes the task that serves the admin endpoint from the handle.
pub fn main<A: Future<Output = ()> + Send + 'static>(
    source: Source,
    admin: impl FnOnce(Handle) -> A,
) -> Result<(), Failure> {
    // Before the first thread: it changes the environment.
    let inherited = Inherited::from_env();
    // Also before the first thread: threads inherit the capability.
    use_low_ports();
    let logs = Logs::start()?;
    // One worker per core serves connections, each a thread with a runtime of its own ([`WorkerPool`]); this thread
    // does the rest: edits, checks, names, the admin endpoint. Measured with tests/bench on two cores, against one
    // runtime whose threads share their work: 7.4 against 8.6 µs of processor time per request, 43 against 49 per
    // connection, 18.8 against 24.3 per request at a given rate; on one core 8.3 against 8.8 per request, and no
    // difference per connection. The cost: a connection stays on its thread, so an accepted one goes to another thread
    // if that has clearly fewer. A listener still has one queue, which several threads take from: with a queue each
    // (SO_REUSEPORT), nobody else would serve what waits in the queue of a busy thread. One thread that accepts and
    // hands every connection on costs more (53 µs).
    // The allocator is the system's: with mimalloc 8,000 held connections took 0.25 KiB less each, and all else 10 MiB
    // more; once they had closed, 30 to 34 MiB were left, against 28.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (workers, threads) = WorkerPool::start()?;
    let started = SystemTime::now();
    let mut life = Process { descriptors: Descriptors::raise(), unused: Vec::new(), logs, started };
    let ended = runtime.block_on(life.serve(source, inherited, workers, admin));
    // A look-up in the system's resolver cannot be cancelled, and must not delay the exit.
    runtime.shutdown_timeout(Duration::ZERO);
    threads.stop();
    life.logs.finish();
    ended
}

/// What the process exchanges with the outside: signals, reports to the service manager, requests.
struct Channels {
    signals: Signals,
    manager: ServiceManager,
    inbox: Inbox,
}

impl Channels {
    /// Those who do not wait for a long step.
    fn watchers(&mut self) -> Watchers<'_> {
        Watchers { manager: &mut self.manager, alive: &mut self.inbox.alive }
    }
}

/// What to do after answering a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextStep {
    GoOn,
    Stop,
}

/// State that lives as long as the process.
struct Process {
    descriptors: Descriptors,
    logs: Logs,
    /// Inherited sockets that were already reported as unused.
    unused: Vec<String>,
    started: SystemTime,
}

impl Process {
    async fn serve<A: Future<Output = ()> + Send + 'static>(
        &mut self,
        source: Source,
        inherited: Inherited,
        workers: WorkerPool,
        admin: impl FnOnce(Handle) -> A,
    ) -> Result<(), Failure> {
        // First of all: a signal that arrives during the start takes effect after it.
        let signals = Signals::listen(matches!(source, Source::File(_)))?;
        let manager = ServiceManager::from_env();
        let events = FsEventSource::default();
        let (mut edits, compiled) = match source {
            Source::Fixed(compiled) => (None, *compiled),
            Source::File(path) => {
                let (edits, compiled) = Edits::open(&path, &events).await.map_err(Failure::File)?;
                (Some(edits), compiled)
            }
        };
        for socket in inherited.unusable() {
            warn!(socket, "an inherited descriptor cannot be used");
        }
        // Before the first connection.
        self.logs.apply(&compiled.table.log);
        let listeners = compiled.table.sockets();
        self.descriptors.warn_if_few(listeners, compiled.table.admin.is_some());
        let Shares { connections, sessions } = self.descriptors.shares(&compiled.table, listeners);
        let shared = Arc::new(Shared::new(workers, self.logs.access(), connections));
        shared.sessions.resize(sessions);
        self.descriptors.make_room(sessions);
        let mut server = Server::new(shared, inherited, events);
        server.apply(&compiled).await.map_err(Failure::Sockets)?;
        self.applied(&server);
        edits.iter_mut().for_each(Edits::begin);
        manager.ready(status(&server));
        let (generation, routes) = (server.generation(), server.table().routes.len());
        info!(generation, routes, listeners, "ready");
        let endpoint = Scope::new();
        let (handle, inbox) = Handle::new(server.shared.clone(), server.admin.subscribe(), endpoint.child());
        endpoint.spawn(admin(handle));
        let shared = server.shared.clone();
        endpoint.spawn(async move { shared.keep_alive().await });
        let mut outside = Channels { signals, manager, inbox };
        self.serve_edits(&mut server, &mut edits, &mut outside).await;
        self.stop(&mut server, edits.as_ref(), &mut outside).await;
        server.admin.send_replace(None);
        endpoint.kill();
        endpoint.finished().await;
        Ok(())
    }

    /// Takes edits in and answers requests, until a signal or a request stops the process.
    async fn serve_edits(&mut self, server: &mut Server, edits: &mut Option<Edits>, outside: &mut Channels) {
        // Those who wait for a reading that begins after their request.
        let mut waiting: Vec<oneshot::Sender<Reloaded>> = Vec::new();
        loop {
            let reading = async {
                match edits.as_mut() {
                    Some(edits) => edits.next().await,
                    None => std::future::pending().await,
                }
            };
            let reading = tokio::select! {
                biased;
                told = outside.signals.next() => {
                    match told {
                        SignalMeaning::Stop => return,
                        SignalMeaning::Reload => {
                            server.ask_files();
                            edits.iter_mut().for_each(|edits| edits.ask());
                        }
                        SignalMeaning::ReopenLogs => self.reopen_logs(),
                    }
                    continue;
                }
                Some(request) = outside.inbox.requests.recv() => {
                    let step = self.answer(request, server, edits.as_mut(), &mut waiting);
                    let mut watchers = outside.watchers();
                    if watchers.beside(step).await == NextStep::Stop {
                        return;
                    }
                    continue;
                }
                () = beside::answer(&mut outside.manager, &mut outside.inbox.alive) => continue,
                reading = reading => reading,
            };
            let Some(edits) = edits.as_mut() else { continue };
            let (news, asked) = (edits.is_news(&reading), reading.how == How::Asked);
            if news {
                outside.manager.reloading();
            }
            if outside.watchers().beside(edits.take_in(reading, server)).await {
                self.applied(server);
            }
            if news {
                outside.manager.ready(status(server));
            }
            if asked {
                for waiting in waiting.drain(..) {
                    // Whoever has given up needs no answer.
                    drop(waiting.send(edits.reloaded(server.generation())));
                }
            }
        }
    }

    async fn answer(
        &mut self,
        request: Request,
        server: &mut Server,
        edits: Option<&mut Edits>,
        waiting: &mut Vec<oneshot::Sender<Reloaded>>,
    ) -> NextStep {
        // Whoever has given up needs no answer.
        match (request, edits) {
            (Request::View(reply), edits) => drop(reply.send(self.view(server, edits.as_deref(), false))),
            (Request::Reload(reply), Some(edits)) => {
                server.ask_files();
                edits.ask();
                waiting.push(reply);
            }
            (Request::Reload(reply), None) => drop(reply.send(Reloaded::NoFile(server.generation()))),
            (Request::DryRun(compiled, tries, reply), _) => {
                drop(reply.send(self.dry_run(server, &compiled, tries).await));
            }
            (Request::Drain(None, reply), _) => {
                let (open, at_most) = (server.connections(), server.longest_drain());
                drop(reply.send(Some(Draining { open, at_most })));
                return NextStep::Stop;
            }
            (Request::Drain(Some(route), reply), edits) => {
                let drained = server.drain_route(&route).await;
                if let Some((connections, at_most)) = drained {
                    edits.into_iter().for_each(Edits::diverge);
                    self.applied(server);
                    let at_most = humantime::format_duration(at_most);
                    let generation = server.generation();
                    info!(generation, route, connections, %at_most, "the route was taken out, and drains");
                }
                drop(reply.send(drained.map(|(open, at_most)| Draining { open, at_most })));
            }
        }
        NextStep::GoOn
    }

    /// What a file would change, and whether the descriptors suffice.
    async fn dry_run(&self, server: &Server, compiled: &Compiled, tries: Tries) -> Result<DryRun, Report> {
        let mut dry_run = server.dry_run(compiled, tries).await?;
        let listeners = compiled.table.sockets();
        dry_run.fits = self.descriptors.shares(&compiled.table, listeners);
        let needed = self.descriptors.needed(listeners, compiled.table.admin.is_some());
        dry_run.descriptors_needed = needed;
        dry_run.descriptors = self.descriptors.limit();
        Ok(dry_run)
    }

    fn view(&self, server: &Server, edits: Option<&Edits>, draining: bool) -> View {
        let (routes, removed, nobody) = (server.route_views(), server.removed_views(), server.nobody());
        View {
            draining,
            started: self.started,
            generation: server.generation(),
            since: server.since,
            file: edits.map(Edits::view),
            past: server.past(routes.iter().chain(&removed)),
            routes,
            removed,
            disabled: server.table().disabled.clone(),
            nobody,
            listeners: server.listeners(),
            files: server.named_files(),
            descriptors: self.descriptors.limit(),
            log_lines_lost: self.logs.lost(),
        }
    }

    /// Brings logs and limits in line with the table, after the start and after every edit that was applied.
    fn applied(&mut self, server: &Server) {
        self.logs.apply(&server.table().log);
        let Shares { connections, sessions } = self.descriptors.shares(server.table(), server.listeners());
        server.shared.connections.resize(connections, server.table().limits);
        server.shared.sessions.resize(sessions);
        self.descriptors.make_room(sessions);
        let unused = server.unused_inherited();
        for socket in unused.iter().filter(|socket| !self.unused.contains(socket)) {
            warn!(
                socket,
                "no route listens on this socket, whose clients wait: \
                 add a route, or take it out of the socket unit (ListenStream=, ListenDatagram=)"
            );
        }
        self.unused = unused;
    }

    fn reopen_logs(&self) {
        self.logs.reopen();
        info!("log files are opened again");
    }

    /// Closes the listeners at once, and drains connections; a second signal resets them.
    async fn stop(&self, server: &mut Server, edits: Option<&Edits>, outside: &mut Channels) {
        server.close_listeners().await;
        server.log_turned_away();
        let (connections, at_most) = (server.connections(), server.longest_drain());
        outside.manager.stopping(at_most, format_args!("draining {connections} connections"));
        if connections > 0 {
            info!(connections, at_most = %humantime::format_duration(at_most), "draining");
        }
        if let Some(cut) = self.drain(server, edits, outside).await {
            info!(finished = connections.saturating_sub(cut), cut, "stopped");
        } else {
            let killed = server.kill().await;
            warn!(killed, "stopped at once");
        }
    }

    /// Waits for the drain. Returns how many connections were cut. `None`: a second stop signal came.
    async fn drain(&self, server: &Server, edits: Option<&Edits>, outside: &mut Channels) -> Option<usize> {
        let mut drain = pin!(server.drain());
        loop {
            tokio::select! {
                biased;
                cut = &mut drain => return Some(cut),
                told = outside.signals.next() => match told {
                    SignalMeaning::Stop => return None,
                    SignalMeaning::Reload => info!("not reloaded: it is stopping"),
                    SignalMeaning::ReopenLogs => self.reopen_logs(),
                },
                Some(probe) = outside.inbox.alive.recv() => drop(probe.send(true)),
                Some(request) = outside.inbox.requests.recv() => match request {
                    Request::View(reply) => drop(reply.send(self.view(server, edits, true))),
                    // The dropped sender tells whoever asks that the process is stopping.
                    Request::Reload(_) | Request::Drain(..) | Request::DryRun(..) => {}
                },
                () = outside.manager.watched() => {}
            }
        }
    }
}

/// The status line for the service manager.
fn status(server: &Server) -> String {
    format!("{} routes, {} listeners", server.table().routes.len(), server.listeners())
}
