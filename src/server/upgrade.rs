//! Another program takes over from this one: [`relieve`] is the whole story as the old process lives it, `predecessor` is the
//! new one's part.

use std::io;
use std::pin::{Pin, pin};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::beside;
use super::counting_on::ToNew;
use super::edit::Edits;
use super::handle::{Draining, Request};
use super::handover::{BUILD, Told};
use super::moving::Moves;
use super::process::{Channels, NextStep, Process};
use super::running::Server;
use super::signals::SignalMeaning;
use super::successor::{Start, Successor};
use super::upgrade_order::{NotUpgraded, UpgradeOrder, Upgraded};
use crate::net::carrier::Carrier;

/// The first process of a container, which ends with it.
const FIRST: u32 = 1;

/// An order, and where the answer goes. `None`: a signal was the order.
#[derive(Default)]
pub(super) struct Ordered {
    pub order: UpgradeOrder,
    /// Who takes over. `None`: a process that is started for it.
    pub comes: Option<Comes>,
    pub reply: Option<oneshot::Sender<Result<Upgraded, NotUpgraded>>>,
}

/// A process that takes over, and that this one has not started.
pub(super) struct Comes {
    pub carrier: Carrier,
    /// It has started this one, and has become a new program: it may not give up.
    pub no_way_back: bool,
}

/// The listeners are paused as long as this lives, unless another process serves them for good.
struct Pause<'s> {
    server: &'s Server,
    for_good: bool,
}

impl Pause<'_> {
    async fn begin(server: &Server) -> Pause<'_> {
        // Made first: whoever gives up waiting resumes.
        let pause = Pause { server, for_good: false };
        server.pause_listeners().await;
        pause
    }

    fn for_good(mut self) {
        self.for_good = true;
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if self.for_good {
            return;
        }
        if let Err(error) = self.server.resume_listeners() {
            error!(%error, "a listener cannot go on after an upgrade that failed: start Portway again");
        }
    }
}

/// What is to be done.
struct Wanted {
    start: Start,
    comes: Option<Comes>,
    in_place: bool,
    check: bool,
}

/// What has become of an order.
enum Relief {
    /// It could be carried out.
    Possible(Upgraded),
    /// The other process serves.
    Given(Upgraded),
}

/// How far an upgrade has come.
#[derive(Default)]
struct Progress<'s> {
    new: Option<Successor>,
    pause: Option<Pause<'s>>,
    moves: Moves,
}

impl Progress<'_> {
    /// The other process has ended before anything goes on here: there are never two.
    async fn give_up(self) {
        let Progress { new, pause, moves } = self;
        if let Some(new) = new {
            new.end().await;
        }
        drop(moves);
        drop(pause);
    }
}

/// The story: start the other → greet → hand the sockets over → it prepares → stop accepting → it serves → move what is open.
/// On a fault at any step, and when the future is dropped, [`Progress::give_up`] undoes it.
async fn relieve<'s>(
    server: &'s Server,
    edits: Option<&Edits>,
    Wanted { start, comes, in_place, check }: Wanted,
    progress: &mut Progress<'s>,
) -> Result<Relief, NotUpgraded> {
    let no_way_back = comes.as_ref().is_some_and(|comes| comes.no_way_back);
    let new = match comes {
        Some(Comes { carrier, .. }) => Successor::over(carrier, start.binary).await?,
        None => Successor::start(start).await?,
    };
    let new = progress.new.insert(new);
    let (pid, build) = (new.hello.pid, new.hello.build.clone());
    let upgraded = Upgraded { checked: check, in_place, pid, build, ..Upgraded::default() };
    // On the way back the other one has just been this program, and waits for a file without faults.
    let to_settle = edits.filter(|_| !no_way_back);
    if check {
        new.judge(Told::Check).await?;
        settled(server, to_settle).await?;
        return Ok(Relief::Possible(upgraded));
    }
    // Sockets that an edit has replaced close within two seconds. Until then clients may be on their way to them.
    server.leaving.finished().await;
    new.hand(&server.to_hand()?).await?;
    new.judge(Told::Prepare(server.early_state(no_way_back))).await?;
    settled(server, to_settle).await?;
    let since = Instant::now();
    progress.pause = Some(Pause::begin(server).await);
    new.serve(server.last_state(edits.map(Edits::reloads).unwrap_or_default())).await?;
    server.move_sessions(new, &mut progress.moves).await?;
    let waited = since.elapsed();
    server.move_connections(new, &mut progress.moves).await?;
    let pause = waited.max(progress.moves.pause);
    let (moved, sessions) = progress.moves.len();
    Ok(Relief::Given(Upgraded { moved, sessions, pause, ..upgraded }))
}

async fn settled(server: &Server, edits: Option<&Edits>) -> Result<(), NotUpgraded> {
    match edits {
        Some(edits) => edits.settled(server).await,
        None => Ok(()),
    }
}

impl Process {
    /// Carries an order out, reports what has become of it, and says how this process goes on.
    pub(super) async fn upgrade(
        &mut self,
        Ordered { order, comes, reply }: Ordered,
        server: &mut Server,
        edits: Option<&Edits>,
        outside: &mut Channels,
    ) -> NextStep {
        let relieved = match self.start_of(&order) {
            Ok(start) => {
                let in_place = comes.is_none() && (order.in_place || std::process::id() == FIRST);
                let wanted = Wanted { start: start.clone(), comes, in_place, check: order.check };
                self.try_upgrade(wanted, server, edits, outside).await.map(|given| (given, start))
            }
            Err(why) => Err(why),
        };
        let (result, step) = match relieved {
            Ok(((Relief::Given(upgraded), Some(mut new)), start)) => {
                server.leave_listeners();
                outside.manager.hand_over(upgraded.pid);
                let (told, at_most) = (server.counts_without_moved(), server.longest_drain());
                let upgraded = Upgraded { draining: server.unmoved(), at_most, ..upgraded };
                new.release(told.clone()).await;
                self.becomes = upgraded.in_place.then_some(start);
                outside.new = Some(ToNew::begin(new, told, upgraded.in_place));
                let Upgraded { pid, build, moved, sessions, draining, pause, .. } = &upgraded;
                let pause = crate::model::units::show_millis(*pause);
                let draining = draining.all;
                info!(pid, build, was = BUILD, moved, sessions, %pause, draining, "handed over");
                (Ok(upgraded), NextStep::Leave)
            }
            Ok(((Relief::Possible(upgraded) | Relief::Given(upgraded), _), _)) => {
                (Ok(upgraded), NextStep::GoOn)
            }
            Err(why) => {
                let step = if matches!(why, NotUpgraded::Stopping) { NextStep::Stop } else { NextStep::GoOn };
                let help = why.help();
                match why.report() {
                    Some(report) => {
                        warn!(error = %why, help, %report, "not upgraded: what runs goes on as before")
                    }
                    None => warn!(error = %why, help, "not upgraded: what runs goes on as before"),
                }
                (Err(why), step)
            }
        };
        if let Some(reply) = reply {
            // Whoever has given up needs no answer.
            drop(reply.send(result));
        }
        step
    }

    /// Tries it, and answers meanwhile. Other orders wait. Returns the other process if it serves.
    async fn try_upgrade(
        &self,
        wanted: Wanted,
        server: &Server,
        edits: Option<&Edits>,
        outside: &mut Channels,
    ) -> Result<(Relief, Option<Successor>), NotUpgraded> {
        let mut progress = Progress::default();
        let relieved = {
            let story = pin!(relieve(server, edits, wanted, &mut progress));
            self.beside(story, server, edits, outside).await
        };
        match relieved {
            Ok(given @ Relief::Given(_)) => {
                progress.moves.keep();
                progress.pause.into_iter().for_each(Pause::for_good);
                Ok((given, progress.new))
            }
            ended => {
                progress.give_up().await;
                ended.map(|possible| (possible, None))
            }
        }
    }

    /// Answers beside the story of an upgrade, until it is told or somebody stops the process.
    async fn beside(
        &self,
        mut story: Pin<&mut impl Future<Output = Result<Relief, NotUpgraded>>>,
        server: &Server,
        edits: Option<&Edits>,
        outside: &mut Channels,
    ) -> Result<Relief, NotUpgraded> {
        loop {
            tokio::select! {
                biased;
                done = &mut story => return done,
                told = outside.signals.next_beside_a_child() => match told {
                    SignalMeaning::Stop => return Err(NotUpgraded::Stopping),
                    SignalMeaning::Reload => outside.inbox.requests.put_off(Request::Reload(false, oneshot::channel().0)),
                    SignalMeaning::ReopenLogs => self.reopen_logs(),
                    SignalMeaning::Upgrade => warn!("{}", NotUpgraded::UnderWay),
                },
                Some(request) = outside.inbox.requests.newest() => match request {
                    Request::View(reply) => drop(reply.send(self.view(server, edits, false))),
                    Request::Upgrade(_, reply) => drop(reply.send(Err(NotUpgraded::UnderWay))),
                    Request::Drain(reply) => {
                        let (open, at_most) = (server.connections(), server.longest_drain());
                        drop(reply.send(Draining { open, at_most }));
                        return Err(NotUpgraded::Stopping);
                    }
                    other => outside.inbox.requests.put_off(other),
                },
                () = beside::answer(&mut outside.manager, &mut outside.inbox.alive) => {}
            }
        }
    }

    /// What the other process is started with.
    pub(super) fn start_of(&self, order: &UpgradeOrder) -> Result<Start, NotUpgraded> {
        let (file, own) = self.start.as_ref().ok_or(NotUpgraded::NoFile)?;
        let own = || own.clone().map_err(|error| NotUpgraded::NoProgram(io::Error::other(error)));
        let binary = order.binary.clone().map_or_else(own, Ok)?;
        let mut more = self.pulling.arguments();
        more.extend(self.handover.iter().flat_map(|path| ["--handover".into(), path.into()]));
        Ok(Start { binary, file: file.clone(), more })
    }
}
