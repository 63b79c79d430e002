//! Shutdown: no new connections, time for the open ones to end, then a reset for the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::running::Server;
use crate::net::{Deadline, Inherited};
use crate::proxy::listener::ListenSocket;
use crate::tasks::Scope;

impl Server {
    /// Closes every listening socket whose `drain_delay` is over after this time. The kernel resets the clients in their
    /// queues, which can try elsewhere; where systemd holds a socket as well, they wait for the next start. UDP listeners take
    /// no new sessions, and close with their last one. Returns after what time the next ones are due. `None`: there are none.
    pub async fn close_listeners(&mut self, after: Duration) -> Option<Duration> {
        self.leaving.kill();
        let closed = self.listeners.extract_if(.., |_, socket| delay_of(socket) <= after);
        let closed: Vec<Arc<ListenSocket>> = closed.map(|(_, socket)| socket).collect();
        // Stop all of them first: their acceptors run on other threads.
        closed.iter().for_each(|socket| socket.stop());
        for socket in closed {
            socket.close().await;
        }
        self.udp.drain(after);
        let next = self.listeners.values().map(|socket| delay_of(socket)).chain(self.udp.delays()).min();
        if next.is_none() {
            self.inherited = Inherited::default();
        }
        next
    }

    /// How long it takes at most until the last listening socket closes.
    pub fn longest_delay(&self) -> Duration {
        self.table.routes.values().map(|route| route.policy.timeouts.drain_delay).max().unwrap_or_default()
    }

    /// The longest `drain_timeout` of the routes, whether they have connections or not.
    pub fn longest_drain_of_all(&self) -> Duration {
        let routes = self.table.routes.values().map(|route| route.policy.timeouts.drain);
        routes.max().unwrap_or_default().max(self.longest_drain())
    }

    /// How many connections are open, those of replaced and removed routes included.
    pub fn connections(&self) -> usize {
        let retired = self.retired.iter().map(|old| old.connections.len());
        self.serving.values().map(Scope::len).chain(retired).sum()
    }

    /// The longest `drain_timeout` of the routes that have open connections.
    pub fn longest_drain(&self) -> Duration {
        self.open_scopes().map(|(at_most, _)| at_most).max().unwrap_or_default()
    }

    /// The scopes that have open connections, each with its `drain_timeout`.
    fn open_scopes(&self) -> impl Iterator<Item = (Duration, &Scope)> {
        let routes = &self.table.routes;
        let serving = self
            .serving
            .iter()
            .filter_map(|((name, _), scope)| Some((routes.get(name)?.policy.timeouts.drain, scope)));
        let retired = self.retired.iter().map(|old| (old.route.policy.timeouts.drain, &old.connections));
        serving.chain(retired).filter(|(_, scope)| !scope.is_empty())
    }

    /// Gives every connection its route's `drain_timeout` to end by itself, and resets the rest. Returns how many it
    /// reset. Dropping the future leaves them running.
    pub async fn drain(&self) -> usize {
        let cut = Arc::new(AtomicUsize::new(0));
        let drains = self.root.child();
        for (at_most, scope) in self.open_scopes() {
            let (scope, cut) = (scope.clone(), cut.clone());
            drains.spawn(async move {
                cut.fetch_add(scope.drain(Deadline::after(at_most)).await, Ordering::Relaxed);
            });
        }
        drains.finished().await;
        cut.load(Ordering::Relaxed)
    }

    /// Resets every connection at once. Returns how many there were.
    pub async fn kill(&mut self) -> usize {
        let open = self.connections();
        self.shared.kill();
        self.root.kill();
        for scope in self.serving.values().chain(self.retired.iter().map(|old| &old.connections)) {
            scope.finished().await;
        }
        open
    }
}

/// The `drain_delay` of a listener: the longest one of its routes.
fn delay_of(socket: &ListenSocket) -> Duration {
    let frontend = socket.listener().frontend();
    frontend.routes().iter().map(|live| live.route.policy.timeouts.drain_delay).max().unwrap_or_default()
}
