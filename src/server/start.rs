//! The steps of the start, from the file to all that it needs. Nobody is served yet, and each step may fail.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::apply::Prepared;
use super::descriptors::Shares;
use super::edit::Edits;
use super::predecessor::Predecessor;
use super::process::Process;
use super::pull::PullPlan;
use super::running::Server;
use super::user;
use crate::config::{Compiled, Report};
use crate::files::FsEventSource;
use crate::net::Inherited;
use crate::net::carrier::CarrierError;
use crate::proxy::record::Shared;
use crate::state::LogOnce;
use crate::tasks::WorkerPool;

/// How often a file with faults is read again, where no other process could go on.
const AGAIN: Duration = Duration::from_millis(200);

/// Where the table comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Given at start, and never changed.
    Fixed(Box<Compiled>),
    /// A file, whose edits are followed, and how it is pulled. `None`: it is not.
    File(PathBuf, Option<Box<PullPlan>>),
    /// The same, in place of the process that has started this one, and that is at the other end of its standard input.
    TakeOver(PathBuf, Option<Box<PullPlan>>),
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
    /// The process to take over from goes on.
    #[error("cannot take over: {0}")]
    NotRelieved(#[from] CarrierError),
    /// The process to take over from was told why.
    #[error("it was said")]
    Told,
}

/// What whoever has started this process has given to it.
pub(super) struct Given {
    pub inherited: Inherited,
    /// The end of the pair at whose other end is the process to take over from.
    pub take_over: Option<OwnedFd>,
}

/// The file that this program was started from, which another may have replaced since.
pub(super) fn own_program() -> Result<PathBuf, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    // Linux marks a path that leads to another file by now (proc(5)).
    let marked = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(marked.unwrap_or(path))
}

impl Process {
    /// Reads and compiles the file at the start. Nothing is opened yet.
    pub(super) async fn open(
        &mut self,
        source: Source,
        takes_over: bool,
        events: &FsEventSource,
    ) -> Result<(Option<Edits>, Compiled), Failure> {
        let path = match source {
            Source::Fixed(compiled) => return Ok((None, *compiled)),
            Source::File(path, _) | Source::TakeOver(path, _) => path,
        };
        let opened = Edits::open(&path, self.pulling.plan.is_some(), takes_over, events).await;
        let (edits, compiled) = opened.map_err(Failure::File)?;
        user::check(&compiled).map_err(Failure::Sockets)?;
        user::verify(&compiled)?;
        self.user.clone_from(&compiled.table.process.user);
        Ok((Some(edits), compiled))
    }

    /// A server that can serve this table, and serves nothing yet.
    pub(super) fn server(
        &mut self,
        compiled: &Compiled,
        inherited: Inherited,
        events: FsEventSource,
        workers: WorkerPool,
    ) -> Server {
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
        Server::new(shared, inherited, events)
    }
}

/// What is read at the start: which file, and what was read first.
pub(super) struct Reads<'a> {
    pub source: &'a Source,
    pub events: &'a FsEventSource,
    pub first: Option<(Option<Edits>, Compiled)>,
}

impl Process {
    /// Like [`Process::open`], again and again while the file has faults, if no other process could go on.
    pub(super) async fn open_fine(
        &mut self,
        old: Option<&Predecessor>,
        source: &Source,
        events: &FsEventSource,
    ) -> Result<(Option<Edits>, Compiled), Failure> {
        until_fine(old, async || self.open(source.clone(), old.is_some(), events).await).await
    }

    /// Prepares what was read first, or else what the file says by then, in the same way.
    pub(super) async fn prepare_fine(
        &mut self,
        old: Option<&Predecessor>,
        Reads { source, events, mut first }: Reads<'_>,
        server: &Server,
    ) -> Result<(Option<Edits>, Compiled, Prepared), Failure> {
        until_fine(old, async || {
            let (edits, compiled) = match first.take() {
                Some(first) => first,
                None => self.open(source.clone(), old.is_some(), events).await?,
            };
            let (compiled, prepared) = prepare(edits.as_ref(), compiled, server).await?;
            Ok((edits, compiled, prepared))
        })
        .await
    }
}

async fn until_fine<T>(
    old: Option<&Predecessor>,
    mut steps: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let told = LogOnce::default();
    loop {
        let report = match steps().await {
            Err(Failure::File(report) | Failure::Sockets(report))
                if old.is_some_and(Predecessor::has_no_way_back) =>
            {
                report
            }
            done => return done,
        };
        if told.begins(Instant::now().into_std()) {
            let headline = report.headline();
            warn!(headline, "the file has faults: another process serves until it is mended");
        }
        sleep(AGAIN).await;
    }
}

/// Prepares the table of the start.
async fn prepare(
    edits: Option<&Edits>,
    compiled: Compiled,
    server: &Server,
) -> Result<(Compiled, Prepared), Failure> {
    let prepared = match edits {
        Some(edits) => edits.prepare(compiled, server).await,
        None => server.prepare_file(&compiled).await.map(|prepared| (compiled, prepared)),
    };
    prepared.map_err(Failure::Sockets)
}

/// Takes a step of the start. Whoever is to be relieved hears that this process lives, and why the step has failed.
pub(super) async fn told<T>(
    old: Option<&Predecessor>,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(old) = old else { return step.await };
    let failure = match old.beside(step).await {
        Ok(done) => return Ok(done),
        Err(failure) => failure,
    };
    old.refuse(match &failure {
        Failure::File(report) | Failure::Sockets(report) => report.render(false),
        other => format!("error: {other}\n"),
    })
    .await?;
    Err(Failure::Told)
}
