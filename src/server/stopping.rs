//! The end of the process: not ready, `drain_delay`, no new connections, `drain_timeout`, a reset for the rest.

use std::pin::pin;
use std::time::Duration;

use humantime::format_duration;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::counting_on::{Heard, ToNew, due, heard};
use super::edit::Edits;
use super::handle::Request;
use super::process::{Channels, NextStep, Process};
use super::running::Server;
use super::signals::SignalMeaning;

/// What is shown of a process that stops.
#[derive(Clone, Copy)]
struct Shown<'s> {
    server: &'s Server,
    edits: Option<&'s Edits>,
}

impl Process {
    /// Closes the listeners, unless another process has them, and drains connections; a second signal resets them.
    pub(super) async fn stop(
        &self,
        end: NextStep,
        server: &mut Server,
        edits: Option<&Edits>,
        outside: &mut Channels,
    ) {
        match end {
            // Its successor serves, and is ready.
            NextStep::Leave => {
                server.close_listeners(Duration::MAX).await;
            }
            NextStep::GoOn | NextStep::Stop => self.close_listeners(server, edits, outside).await,
        }
        server.log_turned_away();
        let (connections, at_most) = (server.connections(), server.longest_drain());
        outside.manager.stopping(at_most, format_args!("draining {connections} connections"));
        if connections > 0 {
            info!(connections, at_most = %format_duration(at_most), "draining");
        }
        // After a hand-over no signal has asked for the drain yet.
        let signals = if end == NextStep::Leave { 2 } else { 1 };
        let shown = Shown { server, edits };
        if let Some(cut) = self.serve_until(server.drain(), signals, shown, outside).await {
            info!(finished = connections.saturating_sub(cut), cut, "stopped");
        } else {
            let killed = server.kill().await;
            warn!(killed, "stopped at once");
        }
    }

    /// Closes each listener once its `drain_delay` is over. Another stop signal ends the delays.
    async fn close_listeners(&self, server: &mut Server, edits: Option<&Edits>, outside: &mut Channels) {
        let (begun, delay) = (Instant::now(), server.longest_delay());
        if !delay.is_zero() {
            outside.manager.stopping(delay + server.longest_drain_of_all(), "still serving new clients");
            info!(drain_delay = %format_duration(delay), "no longer ready, and still serving new clients");
        }
        let mut after = Duration::ZERO;
        while let Some(next) = server.close_listeners(after).await {
            let due = sleep_until(begun + next);
            after = match self.serve_until(due, 1, Shown { server, edits }, outside).await {
                Some(()) => next,
                None => Duration::MAX,
            };
        }
    }

    /// Answers and hears signals until something has come about. `None`: so many stop signals came before.
    async fn serve_until<T>(
        &self,
        something: impl Future<Output = T>,
        signals: u32,
        Shown { server, edits }: Shown<'_>,
        outside: &mut Channels,
    ) -> Option<T> {
        let (mut something, mut left, mut come) = (pin!(something), signals, None);
        loop {
            // What one before this process still counts goes through this one to the newest.
            if come.is_some() && (outside.new.is_none() || outside.old.is_none()) {
                return come;
            }
            tokio::select! {
                biased;
                value = &mut something, if come.is_none() => come = Some(value),
                told = outside.signals.next() => match told {
                    SignalMeaning::Stop => {
                        outside.new.iter_mut().for_each(ToNew::stop);
                        left -= 1;
                        if left == 0 {
                            return None;
                        }
                    }
                    SignalMeaning::Reload | SignalMeaning::Upgrade => info!("neither reloaded nor upgraded: it is stopping"),
                    SignalMeaning::ReopenLogs => self.reopen_logs(),
                },
                Some(probe) = outside.inbox.alive.recv() => drop(probe.send(true)),
                Some(request) = outside.inbox.requests.next() => match request {
                    Request::View(reply) => drop(reply.send(self.view(server, edits, true))),
                    // The dropped sender tells whoever asks that the process is stopping.
                    Request::Reload(..)
                    | Request::Drain(_)
                    | Request::ByHand(..)
                    | Request::DryRun(..)
                    | Request::Upgrade(..) => {}
                },
                () = outside.manager.watched() => {}
                heard = heard(&mut outside.old) => match heard {
                    Heard::Counts(counts) => server.add_counts(&counts),
                    // It finds nobody, and stops as well.
                    Heard::TakesBack(_) => {}
                },
                () = due(&mut outside.new) => {
                    outside.new.iter_mut().for_each(|to_new| to_new.tell(server.counts()));
                }
            }
        }
    }
}
