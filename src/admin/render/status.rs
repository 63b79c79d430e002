//! The proxy as a whole.

use tokio::time::Instant;

use super::super::api::{
    Limits, Memory, OldProcess, Pending, PendingFile, Phase, Reload, ReloadOutcome, RouteCounts, RouteState,
    Source, SourceTrouble, Status, Use, Warning,
};
use super::super::snapshot::Snapshot;
use super::super::units::{ago, count, moment, seconds};
use super::routes;
use crate::files;
use crate::net::relay::pipes;
use crate::server::history::{FileView, Judged};
use crate::server::named_file::NamedFile;
use crate::server::notices::Notice;
use crate::server::old_process;
use crate::server::pull::SourceView;
use crate::state::pull::{Standing, Trouble};

pub(in super::super) fn status(snapshot: &Snapshot) -> Status {
    let view = &snapshot.view;
    let file = view.file.as_ref();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        phase: if view.draining { Phase::Draining } else { Phase::Running },
        started: moment(view.started),
        uptime: ago(view.started),
        generation: view.generation,
        generation_since: moment(view.since),
        file: file.map(|file| file.name.clone()),
        source: view.source.as_ref().map(source),
        reload: reload(file, view.started),
        pending: file.and_then(|file| file.pending.as_ref()).map(pending),
        pending_files: view.files.iter().filter_map(pending_file).collect(),
        warnings: view.files.iter().flat_map(|file| &file.notices).map(warning).collect(),
        routes: states(snapshot),
        by_hand: snapshot.steered(|_| true),
        listeners: count(view.listeners),
        traffic: snapshot.total(),
        turned_away: snapshot
            .every_route()
            .flat_map(|route| route.state.turned_away())
            .map(|(_, clients)| clients)
            .sum(),
        limits: limits(snapshot),
        log_lines_lost: view.log_lines_lost,
        old_process: view.old.map(of_old),
    }
}

fn of_old(old: old_process::OldProcess) -> OldProcess {
    let now = Instant::now().into_std();
    let at_most = old.until.map(|until| seconds(until.saturating_duration_since(now)));
    OldProcess { pid: old.pid, open: old.open, at_most }
}

fn source(view: &SourceView) -> Source {
    let trouble = |trouble: &Trouble| SourceTrouble {
        age: seconds(Instant::now().into_std().saturating_duration_since(trouble.since)),
        why: trouble.why.clone(),
    };
    let Standing { serial, offered, away, refused, .. } = &view.standing;
    Source {
        url: view.url.clone(),
        age: view.age.map(seconds),
        serial: *serial,
        offered_serial: offered.map(|offered| offered.serial),
        offered_stage: offered.map(|offered| offered.stage.percent()),
        away: away.as_ref().map(trouble),
        refused: refused.as_ref().map(trouble),
    }
}

fn pending(pending: &files::Pending) -> Pending {
    Pending {
        since: moment(pending.since),
        headline: pending.headline.clone(),
        report: pending.report.render(false),
        faults: count(pending.report.count()),
    }
}

fn pending_file(file: &NamedFile) -> Option<PendingFile> {
    Some(PendingFile { file: file.name.clone(), pending: pending(file.pending.as_ref()?) })
}

fn warning(notice: &Notice) -> Warning {
    let (message, help) = notice.words();
    Warning { file: notice.file.display().to_string(), message, help: help.to_owned() }
}

fn reload(file: Option<&FileView>, started: std::time::SystemTime) -> Reload {
    let Some(file) = file else {
        return Reload {
            at: moment(started),
            age: ago(started),
            outcome: ReloadOutcome::NoFile,
            succeeded: 0,
            refused: 0,
            rolled_back: 0,
            stale: false,
            probation: None,
        };
    };
    let history = &file.history;
    Reload {
        at: moment(history.at),
        age: ago(history.at),
        outcome: match history.last {
            Judged::Started => ReloadOutcome::Started,
            Judged::Reloaded(_) => ReloadOutcome::Reloaded,
            Judged::Unchanged => ReloadOutcome::Unchanged,
            Judged::Refused => ReloadOutcome::Refused,
            Judged::RolledBack => ReloadOutcome::RolledBack,
        },
        succeeded: history.succeeded,
        refused: history.refused,
        rolled_back: history.rolled_back,
        stale: file.stale,
        probation: file
            .probation
            .map(|ends| seconds(ends.saturating_duration_since(Instant::now().into_std()))),
    }
}

fn states(snapshot: &Snapshot) -> RouteCounts {
    let mut counts = RouteCounts { disabled: count(snapshot.view.disabled.len()), ..RouteCounts::default() };
    let still_out = snapshot.view.held.iter().filter(|route| !route.closed.is_empty());
    for route in snapshot.view.routes.iter().chain(still_out) {
        counts.all += 1;
        match routes::state(route).0 {
            RouteState::Up => counts.up += 1,
            RouteState::Degraded => counts.degraded += 1,
            RouteState::Down => counts.down += 1,
            RouteState::Removed | RouteState::Disabled | RouteState::Drained => {}
        }
    }
    counts
}

fn limits(snapshot: &Snapshot) -> Limits {
    let used = |(used, most): (usize, usize)| Use { used: count(used), most: count(most) };
    let shared = &snapshot.handle.shared;
    Limits {
        descriptors: used((descriptors(), snapshot.view.descriptors)),
        connections: used(shared.connections.used()),
        preread: used(shared.preread.used()),
        preread_memory: used(shared.preread.memory()),
        sessions: used(shared.sessions.used()),
        pipes: used(pipes()),
        memory: Memory { used: snapshot.view.memory.used, most: snapshot.view.memory.most },
    }
}

/// Open descriptors of this process. Linux 6.2 and later report their number as the size of the folder.
fn descriptors() -> usize {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).map_or(0, |folder| folder.len()) {
        // One of them is the open folder itself.
        0 => std::fs::read_dir(folder).map_or(0, |all| all.count().saturating_sub(1)),
        open => usize::try_from(open).unwrap_or_default(),
    }
}
