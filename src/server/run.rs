//! The life of the process: start, edits, signals. `stopping` ends it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tracing::{error, info};

use super::adopting::Adopting;
use super::beside;
use super::counting_on::{FromOld, Heard, StandIn, heard};
use super::descriptors::Descriptors;
use super::edit::Edits;
use super::handed_state::LastState;
use super::handle::{Draining, Handle, Inbox, Request};
use super::heap;
use super::history::Reloaded;
use super::log::Logs;
use super::memory::Memory;
use super::next_process::{next, wait_for_next};
use super::predecessor::{self, Predecessor, Wish};
use super::process::{Channels, NextStep, Process};
use super::pull::Pulling;
use super::running::Server;
use super::signals::{SignalMeaning, Signals};
use super::start::{Failure, Given, Reads, Source, own_program, told};
use super::successor::Becomes;
use super::systemd::ServiceManager;
use super::upgrade::{Comes, Ordered};
use super::upgrade_order::NotUpgraded;
use super::user;
use super::view::status;
use crate::files::FsEventSource;
use crate::net::handover::meet_at;
use crate::net::relay::adopt_pipes;
use crate::net::user::forgo_new_rights;
use crate::net::{Inherited, use_low_ports, within};
use crate::tasks::{Scope, WorkerPool};

/// How long the end of the process waits for answers under way: also for a stranger who stops in the middle of a request.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Runs until a signal or a request stops it. That is a success even if connections were cut, or a second signal came.
/// `handover`: where to take over from another process, and to wait for the next. `admin` makes the task that serves the admin
/// endpoint from the handle.
pub fn main<A: Future<Output = ()> + Send + 'static>(
    source: Source,
    handover: Option<PathBuf>,
    admin: impl Fn(Handle) -> A + Send + 'static,
) -> Result<(), Failure> {
    // Before the first thread, as the next.
    heap::map_large_buffers();
    // Before the first thread: it changes the environment.
    let inherited = Inherited::from_env();
    let (source, take_over) = match source {
        Source::TakeOver(path, plan) => (Source::File(path, plan), Some(predecessor::end_of_pair()?)),
        other => (other, None),
    };
    let (start, plan) = match &source {
        Source::File(path, plan) => (Some((path.clone(), own_program())), plan.clone()),
        Source::Fixed(_) | Source::TakeOver(..) => (None, None),
    };
    // Also before the first thread: threads inherit rights and users, and on Linux each has its own.
    if let Source::File(path, _) = &source {
        user::become_user(path)?;
    }
    // As the user that both have.
    let take_over = match (take_over, &handover) {
        (None, Some(path)) => meet_at(path)?,
        (pair, _) => pair,
    };
    use_low_ports();
    forgo_new_rights();
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
    let memory = runtime.block_on(async { Memory::new() });
    let descriptors = Descriptors::raise();
    let pulling = Pulling { plan, puller: None };
    let mut life = Process {
        descriptors,
        memory,
        unused: Vec::new(),
        user: None,
        logs,
        started,
        start,
        becomes: None,
        handover,
        pulling,
    };
    let ended = runtime.block_on(life.serve(source, Given { inherited, take_over }, workers, admin));
    // A look-up in the system's resolver cannot be cancelled, and must not delay the exit.
    runtime.shutdown_timeout(Duration::ZERO);
    threads.stop();
    life.logs.finish();
    match ended? {
        Some(becomes) => Err(becomes.exec().into()),
        None => Ok(()),
    }
}

/// Begins the admin endpoint, and what else goes on beside the server's task. Returns who owns them all, who owns the answers,
/// and what the endpoint asks for.
fn begin_endpoint<A: Future<Output = ()> + Send + 'static>(
    server: &Server,
    admin: impl Fn(Handle) -> A + Send + 'static,
) -> (Scope, Scope, Inbox) {
    let endpoint = Scope::new();
    let answers = endpoint.child();
    let (handle, inbox) = Handle::new(server.shared.clone(), server.admin.subscribe(), answers.clone());
    endpoint.keep(move || admin(handle.clone()));
    let (shared, freed) = (server.shared.clone(), server.shared.clone());
    endpoint.keep(move || heap::give_back(freed.clone()));
    endpoint.keep(move || {
        let shared = shared.clone();
        async move { shared.keep_alive().await }
    });
    (endpoint, answers, inbox)
}

impl Process {
    async fn serve<A: Future<Output = ()> + Send + 'static>(
        &mut self,
        source: Source,
        Given { mut inherited, take_over }: Given,
        workers: WorkerPool,
        admin: impl Fn(Handle) -> A + Send + 'static,
    ) -> Result<Option<Becomes>, Failure> {
        // First of all: a signal that arrives during the start takes effect after it.
        let signals = Signals::listen(matches!(source, Source::File(..)))?;
        let manager = ServiceManager::from_env();
        let events = FsEventSource::default();
        let old = match take_over {
            Some(socket) => Some(Predecessor::meet(socket, &mut inherited).await?),
            None => None,
        };
        let first = told(old.as_ref(), self.open_fine(old.as_ref(), &source, &events)).await?;
        if let Some(old) = old.as_ref().filter(|old| old.wish == Wish::Check) {
            return Ok(old.could().await.map(|()| None)?);
        }
        let mut server = self.server(&first.1, inherited, events.clone(), workers);
        if let Some(Wish::Relief(early)) = old.as_ref().map(|old| &old.wish) {
            server.begin_with(early.clone());
        }
        let reads = Reads { source: &source, events: &events, first: Some(first) };
        let (mut edits, compiled, prepared) =
            told(old.as_ref(), self.prepare_fine(old.as_ref(), reads, &server)).await?;
        let last = match &old {
            Some(old) => Some(old.stopped().await?),
            None => None,
        };
        if let Some(last) = &last {
            server.go_on_from(last);
            prepared.pause_datagrams();
        }
        server.put_in(prepared, &compiled).await;
        server.own_listeners();
        self.applied(&server);
        let old = match (old, last) {
            (Some(old), Some(last)) => Some(self.taken_over(old, *last, &mut server, edits.as_mut()).await),
            _ => None,
        };
        // Moved, so that what the table was compiled from is not kept.
        edits = edits.map(|edits| edits.begun(compiled, &server));
        manager.ready(status(&server));
        let (generation, routes) = (server.generation(), server.table().routes.len());
        info!(generation, routes, listeners = server.listeners(), "ready");
        self.pulling.begin()?;
        let (endpoint, answers, inbox) = begin_endpoint(&server, admin);
        let comes = wait_for_next(self.handover.as_deref(), &endpoint);
        let mut outside = Channels { signals, manager, inbox, old, comes, new: None };
        let end = self.serve_edits(&mut server, &mut edits, &mut outside).await;
        self.pulling.end();
        self.stop(end, &mut server, edits.as_ref(), &mut outside).await;
        server.admin.send_replace(None);
        let stand_in = match outside.new.take() {
            Some(to_new) => to_new.end(server.counts()).await,
            None => None,
        };
        // Whoever has asked for this end is told first, and who asks for anything else, that it is too late.
        drop(outside.inbox);
        drop(within(LAST_ANSWERS, answers.finished()).await);
        let becomes = self.become_the_same(stand_in).await?;
        endpoint.kill();
        endpoint.finished().await;
        Ok(becomes)
    }

    /// What this process becomes, now that another one stands in for it. `None`: it ends, with the other one.
    async fn become_the_same(&mut self, stand_in: Option<StandIn>) -> Result<Option<Becomes>, Failure> {
        let Some(StandIn { new, stopped }) = stand_in else { return Ok(None) };
        let Some(start) = self.becomes.take().filter(|_| !stopped) else {
            new.ended().await;
            return Ok(None);
        };
        info!(binary = %start.binary.display(), "becoming the new version");
        Ok(Some(Becomes { socket: new.take_back().await?, start }))
    }

    /// Tells the old process that this one serves, and goes on from what it was.
    async fn taken_over(
        &self,
        old: Predecessor,
        last: LastState,
        server: &mut Server,
        edits: Option<&mut Edits>,
    ) -> FromOld {
        edits.into_iter().for_each(|edits| edits.go_on_from(last.reloads));
        server.owe(&last);
        info!(pid = old.hello.pid, was = old.hello.build, "taken over");
        adopt_pipes(true);
        let mut adopting = Adopting::begin(server);
        let counts = old.part(|message| adopting.take(message)).await;
        drop(adopting);
        let counts = counts.unwrap_or_else(|error| {
            error!(%error, "what the old process hands over does not come through: it goes on, and this one ends");
            // At once, and nothing is dropped: a connection that was handed over is still open there, and is not to be reset.
            std::process::exit(1)
        });
        adopt_pipes(false);
        server.go_on_counting(old.hello.pid, &counts);
        FromOld::begin(old, &server.root)
    }

    /// Takes edits in and answers requests, until a signal or a request stops the process.
    async fn serve_edits(
        &mut self,
        server: &mut Server,
        edits: &mut Option<Edits>,
        outside: &mut Channels,
    ) -> NextStep {
        loop {
            let news = async {
                match edits.as_mut() {
                    Some(edits) => edits.next().await,
                    None => std::future::pending().await,
                }
            };
            let news = tokio::select! {
                biased;
                told = outside.signals.next() => match self.follow(told, server, edits.as_mut(), outside).await {
                    NextStep::GoOn => continue,
                    end => return end,
                },
                Some(request) = outside.inbox.requests.next() => {
                    match self.carry_out(request, server, edits.as_mut(), outside).await {
                        NextStep::GoOn => continue,
                        end => return end,
                    }
                }
                () = beside::answer(&mut outside.manager, &mut outside.inbox.alive) => continue,
                heard = heard(&mut outside.old) => match self.hear(heard, server, edits.as_ref(), outside).await {
                    NextStep::GoOn => continue,
                    end => return end,
                },
                carrier = next(&mut outside.comes) => {
                    let comes = Some(Comes { carrier, no_way_back: false });
                    let ordered = Ordered { comes, ..Ordered::default() };
                    match self.upgrade(ordered, server, edits.as_ref(), outside).await {
                        NextStep::GoOn => continue,
                        end => return end,
                    }
                }
                () = self.memory.due() => {
                    self.memory.look(&server.shared);
                    continue;
                }
                () = beside::until(server.by_hand.next_end()) => {
                    self.end_by_hand(server, outside).await;
                    continue;
                }
                news = news => news,
            };
            let Some(edits) = edits.as_mut() else { continue };
            let is_news = edits.is_news(&news);
            if is_news {
                outside.manager.reloading();
            }
            if outside.watchers().beside(edits.take_in(news, server)).await {
                self.applied(server);
                edits.undone().into_iter().for_each(|undone| self.pulling.undone(undone));
            }
            if is_news {
                outside.manager.ready(status(server));
            }
            edits.answer(server);
        }
    }

    /// Does what the process wants that this one has taken over from.
    async fn hear(
        &mut self,
        heard: Heard,
        server: &mut Server,
        edits: Option<&Edits>,
        outside: &mut Channels,
    ) -> NextStep {
        match heard {
            Heard::Counts(counts) => {
                server.add_counts(&counts);
                server.old = server.old.filter(|_| outside.old.is_some()).map(|old| old.after(&counts));
                NextStep::GoOn
            }
            Heard::TakesBack(carrier) => {
                let comes = Some(Comes { carrier, no_way_back: true });
                self.upgrade(Ordered { comes, ..Ordered::default() }, server, edits, outside).await
            }
        }
    }

    /// Does what a signal means.
    async fn follow(
        &mut self,
        told: SignalMeaning,
        server: &mut Server,
        edits: Option<&mut Edits>,
        outside: &mut Channels,
    ) -> NextStep {
        match told {
            SignalMeaning::Stop => return NextStep::Stop,
            SignalMeaning::Reload => edits.into_iter().for_each(|edits| edits.ask(server, None)),
            SignalMeaning::ReopenLogs => self.reopen_logs(),
            SignalMeaning::Upgrade => {
                return self.upgrade(Ordered::default(), server, edits.as_deref(), outside).await;
            }
        }
        NextStep::GoOn
    }

    /// Does what somebody asks for. Whoever does not wait for it is answered meanwhile.
    async fn carry_out(
        &mut self,
        request: Request,
        server: &mut Server,
        edits: Option<&mut Edits>,
        outside: &mut Channels,
    ) -> NextStep {
        if let Request::Upgrade(order, reply) = request {
            let ordered = Ordered { order, comes: None, reply: Some(reply) };
            return self.upgrade(ordered, server, edits.as_deref(), outside).await;
        }
        let step = self.answer(request, server, edits);
        outside.watchers().beside(step).await
    }

    /// Ends what was done by hand for a time that is over.
    async fn end_by_hand(&mut self, server: &mut Server, outside: &mut Channels) {
        if outside.watchers().beside(server.end_by_hand()).await {
            self.applied(server);
        }
    }

    async fn answer(&mut self, request: Request, server: &mut Server, edits: Option<&mut Edits>) -> NextStep {
        // Whoever has given up needs no answer.
        match (request, edits) {
            (Request::View(reply), edits) => drop(reply.send(self.view(server, edits.as_deref(), false))),
            (Request::Reload(keep, reply), Some(edits)) => {
                if keep {
                    edits.keep(server);
                }
                edits.ask(server, Some(reply));
            }
            (Request::Reload(_, reply), None) => drop(reply.send(Reloaded::NoFile(server.generation()))),
            (Request::DryRun(compiled, tries, reply), _) => {
                drop(reply.send(self.dry_run(server, &compiled, tries).await));
            }
            (Request::Drain(reply), _) => {
                let at_most = server.longest_delay() + server.longest_drain();
                drop(reply.send(Draining { open: server.connections(), at_most }));
                return NextStep::Stop;
            }
            (Request::ByHand(order, reply), _) => {
                let done = server.obey(*order).await;
                if done.is_ok() {
                    self.applied(server);
                }
                drop(reply.send(done));
            }
            // It is no step beside which others are answered.
            (Request::Upgrade(_, reply), _) => drop(reply.send(Err(NotUpgraded::UnderWay))),
        }
        NextStep::GoOn
    }
}
