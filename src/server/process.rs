//! What the process has besides what it serves: its logs, its limits, its ends to the outside.

use std::path::PathBuf;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::beside::Watchers;
use super::counting_on::{FromOld, ToNew};
use super::descriptors::{Descriptors, Shares};
use super::edit::Edits;
use super::handle::{DryRun, Inbox, Tries, View};
use super::log::Logs;
use super::memory::Memory;
use super::pull::Pulling;
use super::running::Server;
use super::signals::Signals;
use super::successor::Start;
use super::systemd::ServiceManager;
use super::user;
use crate::config::{Compiled, Report};
use crate::model::User;
use crate::net::carrier::Carrier;

/// What the process exchanges with the outside: signals, reports to the service manager, requests.
pub(super) struct Channels {
    pub signals: Signals,
    pub manager: ServiceManager,
    pub inbox: Inbox,
    /// The process that this one has taken over from, as long as it drains.
    pub old: Option<FromOld>,
    /// The process that has taken over from this one.
    pub new: Option<ToNew>,
    /// Processes that want to take over from this one, started by somebody else. `None`: none can.
    pub comes: Option<mpsc::Receiver<Carrier>>,
}

impl Channels {
    /// Those who do not wait for a long step.
    pub fn watchers(&mut self) -> Watchers<'_> {
        Watchers { manager: &mut self.manager, alive: &mut self.inbox.alive }
    }
}

/// What to do after a request or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    GoOn,
    /// Close the listeners, drain and end.
    Stop,
    /// Drain and end: another process has the listeners.
    Leave,
}

/// State that lives as long as the process.
pub(super) struct Process {
    pub descriptors: Descriptors,
    pub logs: Logs,
    /// Inherited sockets that were already reported as unused.
    pub unused: Vec<String>,
    pub memory: Memory,
    pub started: SystemTime,
    /// The user of the table that runs.
    pub user: Option<User>,
    /// The file of the routes, and the program that runs, or why it cannot be found. `None`: there is no file.
    pub start: Option<(PathBuf, Result<PathBuf, String>)>,
    /// Where others that somebody else starts take over. `None`: nowhere.
    pub handover: Option<PathBuf>,
    /// The program that this process becomes at its end. `None`: it ends.
    pub becomes: Option<Start>,
    /// Who keeps the file as a store has it.
    pub pulling: Pulling,
}

impl Process {
    /// What a file would change, and whether the descriptors suffice.
    pub async fn dry_run(
        &self,
        server: &Server,
        compiled: &Compiled,
        tries: Tries,
    ) -> Result<DryRun, Report> {
        let mut dry_run = server.dry_run(compiled, tries).await?;
        let listeners = compiled.table.sockets();
        dry_run.fits = self.descriptors.shares(&compiled.table, listeners);
        let needed = self.descriptors.needed(listeners, compiled.table.admin.is_some());
        dry_run.descriptors_needed = needed;
        dry_run.descriptors = self.descriptors.limit();
        Ok(dry_run)
    }

    pub fn view(&self, server: &Server, edits: Option<&Edits>, draining: bool) -> View {
        let (routes, removed, nobody) = (server.route_views(), server.removed_views(), server.nobody());
        let held = server.held_views();
        View {
            draining,
            started: self.started,
            generation: server.generation(),
            since: server.since,
            file: edits.map(Edits::view),
            source: self.pulling.view(),
            past: server.past(routes.iter().chain(&removed).chain(&held)),
            routes,
            removed,
            disabled: server.table().disabled.clone(),
            held,
            by_hand: server.by_hand.clone(),
            nobody,
            listeners: server.listeners(),
            files: edits.map(Edits::pending).into_iter().flatten().chain(server.named_files()).collect(),
            included: edits.and_then(Edits::files),
            nodes: server.upstreams.nodes(),
            descriptors: self.descriptors.limit(),
            memory: self.memory.measure(),
            old: server.old.filter(|old| old.open > 0),
            log_lines_lost: self.logs.lost(),
        }
    }

    /// Brings logs and limits in line with the table, after the start and after every edit that was applied.
    pub fn applied(&mut self, server: &Server) {
        self.logs.apply(&server.table().log);
        let user = &server.table().process.user;
        if self.user != *user {
            user::warn_if_late(user.as_ref());
            self.user.clone_from(user);
        }
        server.upstreams.share_checks(&server.table().fleet.replicas);
        self.memory.set(server.table().limits.memory);
        let Shares { connections, sessions } = self.descriptors.shares(server.table(), server.listeners());
        let limits = server.table().limits;
        server.shared.connections.resize(connections, limits);
        let most = server.shared.connections.allowed();
        server.shared.preread.resize(most, limits.preread_memory.bytes());
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

    pub fn reopen_logs(&self) {
        self.logs.reopen();
        info!("log files are opened again");
    }
}
