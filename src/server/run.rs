//! The life of the process: start, edits, signals, stop.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Server;
use super::edit::Edits;
use super::limits::Limits;
use super::log::Logs;
use super::signals::{Signals, Told};
use super::systemd::Manager;
use crate::config::{Compiled, Report};
use crate::net::Inherited;
use crate::proxy::Shared;

/// Where the table comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Given at start, and never changed.
    Fixed(Box<Compiled>),
    /// A file, and its edits.
    File(PathBuf),
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file is wrong.
    #[error("the file is wrong")]
    File(Report),
    /// Sockets cannot be had.
    #[error("sockets cannot be had")]
    Sockets(Report),
    /// The system denies what no program can do without.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Runs until it is told to stop. That is a success also when connections were cut, or it was told twice.
pub fn main(source: Source) -> Result<(), Failure> {
    // Before the first thread: it changes the environment.
    let inherited = Inherited::from_env();
    let logs = Logs::start()?;
    // One runtime whose threads share the work. Measured against a runtime of one thread, on one core (tests/bench): 7.61
    // and 7.32 µs of processor time per request, 38.2 and 37.2 per connection. A runtime for each core would gain these 3
    // to 4 %, and lose that long connections move from a busy core to an idle one, and that a listener has one queue, of
    // which a removal or a new listener loses nothing. The allocator is the system's: mimalloc gained 2 % per connection
    // and 0.1 KiB each, and lost as much in memory held in all.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut life = Life { limits: Limits::raise(), unused: Vec::new(), logs };
    let ended = runtime.block_on(life.serve(source, inherited));
    // A look-up in the system's resolver cannot be called off, and must not hold up the end.
    runtime.shutdown_timeout(Duration::ZERO);
    life.logs.finish();
    ended
}

/// What lives as long as the process.
struct Life {
    limits: Limits,
    logs: Logs,
    /// The inherited sockets that were named as unused.
    unused: Vec<String>,
}

impl Life {
    async fn serve(&mut self, source: Source, inherited: Inherited) -> Result<(), Failure> {
        // First of all: a signal that comes during the start is carried out after it.
        let mut signals = Signals::listen(matches!(source, Source::File(_)))?;
        let mut manager = Manager::from_env();
        let (mut edits, compiled) = match source {
            Source::Fixed(compiled) => (None, *compiled),
            Source::File(path) => {
                let (edits, compiled) = Edits::open(&path).await.map_err(Failure::File)?;
                (Some(edits), compiled)
            }
        };
        for socket in inherited.unusable() {
            warn!(socket, "a descriptor from outside cannot be used");
        }
        // Before the first connection.
        self.logs.apply(&compiled.table.log);
        let listeners = compiled.table.sockets();
        self.limits.warn_if_few(listeners);
        let (connections, sessions) = self.limits.shares(&compiled.table, listeners);
        let shared = Arc::new(Shared::new(self.logs.access(), connections));
        shared.sessions.resize(sessions);
        self.limits.make_room(sessions);
        let mut server = Server::new(shared, inherited);
        server.apply(&compiled).await.map_err(Failure::Sockets)?;
        self.applied(&server);
        edits.iter_mut().for_each(Edits::begin);
        manager.ready(status(&server));
        let (generation, routes) = (server.generation(), server.table().routes.len());
        info!(generation, routes, listeners, "ready");
        self.serve_edits(&mut server, edits.as_mut(), &mut signals, &mut manager).await;
        self.stop(server, signals, manager).await;
        Ok(())
    }

    /// Serves and takes edits in until it is told to stop.
    async fn serve_edits(
        &mut self,
        server: &mut Server,
        mut edits: Option<&mut Edits>,
        signals: &mut Signals,
        manager: &mut Manager,
    ) {
        loop {
            let reading = async {
                match &mut edits {
                    Some(edits) => edits.next().await,
                    None => std::future::pending().await,
                }
            };
            let reading = tokio::select! {
                biased;
                told = signals.next() => {
                    match told {
                        Told::Stop => return,
                        Told::Reload => {
                            server.ask_lists();
                            edits.iter_mut().for_each(|edits| edits.ask());
                        }
                        Told::ReopenLogs => self.reopen_logs(),
                    }
                    continue;
                }
                () = manager.watched() => continue,
                reading = reading => reading,
            };
            let Some(edits) = &mut edits else { continue };
            let news = edits.is_news(&reading);
            if news {
                manager.reloading();
            }
            if edits.take_in(reading, server).await {
                self.applied(server);
            }
            if news {
                manager.ready(status(server));
            }
        }
    }

    /// What follows every edit that was carried out, and the start.
    fn applied(&mut self, server: &Server) {
        self.logs.apply(&server.table().log);
        let (connections, sessions) = self.limits.shares(server.table(), server.listeners());
        server.shared.budget.resize(connections, server.table().limits);
        server.shared.sessions.resize(sessions);
        self.limits.make_room(sessions);
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

    /// Closes the listeners at once, and lets connections end; a second signal ends them.
    async fn stop(&self, mut server: Server, mut signals: Signals, mut manager: Manager) {
        server.close_listeners().await;
        server.sum_up();
        let (connections, patience) = (server.connections(), server.longest_drain());
        manager.stopping(patience, format_args!("draining {connections} connections"));
        if connections > 0 {
            info!(connections, at_most = %humantime::format_duration(patience), "draining");
        }
        if let Some(cut) = self.drain(&mut server, &mut signals, &mut manager).await {
            info!(finished = connections.saturating_sub(cut), cut, "stopped");
        } else {
            let killed = server.kill().await;
            warn!(killed, "stopped at once");
        }
    }

    /// How many connections were cut. `None`: told again to stop.
    async fn drain(
        &self,
        server: &mut Server,
        signals: &mut Signals,
        manager: &mut Manager,
    ) -> Option<usize> {
        let mut drain = pin!(server.drain());
        loop {
            tokio::select! {
                biased;
                cut = &mut drain => return Some(cut),
                told = signals.next() => match told {
                    Told::Stop => return None,
                    Told::Reload => info!("not reloaded: it is stopping"),
                    Told::ReopenLogs => self.reopen_logs(),
                },
                () = manager.watched() => {}
            }
        }
    }
}

/// One line for the service manager.
fn status(server: &Server) -> String {
    format!("{} routes, {} listeners", server.table().routes.len(), server.listeners())
}
