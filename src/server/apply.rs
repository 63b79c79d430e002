//! Carries out one edit, from the compiled file on: plan, prepare, commit ([`Server::apply`]).

use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::warn;

use super::access;
use super::admin_socket::{AdminListener, AdminSocket};
use super::beside::breathe;
use super::open::{ByPort, NewListeners, open_all};
use super::running::{Retired, Server};
use super::udp_listeners::{NewUdpListeners, Serves};
use crate::config::{Binding, Compiled, Delta, Plan, Report};
use crate::model::{Fault, ListenAddr, OnChange, Protocol, Route, Table};
use crate::net::{Deadline, StreamListener};
use crate::proxy::listener::{Acceptors, ListenSocket};
use crate::proxy::route::Listener;
use crate::tasks::Scope;

impl Server {
    /// Makes what runs equal to the file. On a fault nothing has changed, and the report shows every fault of the step
    /// that failed.
    pub async fn apply(&mut self, compiled: &Compiled) -> Result<Plan, Report> {
        let plan = self.plan(compiled).await?;
        let files = (self.lists.prepare(compiled).await, self.credentials.prepare(compiled).await);
        let files = Report::both(files.0, files.1);
        let (_, (lists, credentials)) = Report::both(access::check(compiled), files)?;
        self.wait_for_leaving(&plan).await;
        let opened = self.prepare(&plan).await.map_err(|faults| compiled.listen_faults(&faults))?;
        if !plan.is_empty() {
            self.lists.begin(lists, &mut self.registry.lists, &self.root);
            self.credentials.begin(credentials, &mut self.registry.tls, &self.root);
            self.carry_out(&plan, opened, compiled.table.clone()).await;
        }
        Ok(plan)
    }

    /// What the file would change. Made on a blocking thread: a table may have tens of thousands of addresses.
    pub async fn plan(&self, compiled: &Compiled) -> Result<Plan, Report> {
        self.plan_to(compiled.table.clone()).await.ok_or_else(|| {
            let fault = "what the file changes could not be found: comparing failed inside Portway";
            compiled.about(Fault::new(fault, "please report it, with the file"))
        })
    }

    async fn plan_to(&self, table: Table) -> Option<Plan> {
        let running = self.table.clone();
        tokio::task::spawn_blocking(move || Plan::between(&running, &table)).await.ok()
    }

    async fn carry_out(&mut self, plan: &Plan, opened: Opened, table: Table) {
        self.commit(plan, opened).await;
        self.table = table.keeping(&self.table);
        self.lists.forget_unused(&self.table, &mut self.registry.lists);
        self.credentials.forget_unused(&self.table, &mut self.registry.tls);
        self.registry.forget_unused();
        self.generation += 1;
        self.since = SystemTime::now();
    }

    /// Removes a route from what runs, as an edit would, and drains its connections. Returns how many are open and how
    /// long they may take. The file still has the route: reading it again brings it back. `None`: there is no such
    /// route.
    pub async fn drain_route(&mut self, name: &str) -> Option<(usize, Duration)> {
        let mut drained = Route::clone(self.table.routes.get(name)?);
        let open = self.open_of(name, &[Protocol::Tcp, Protocol::Udp]);
        let mut table = self.table.clone();
        table.routes.remove(name);
        let mut plan = self.plan_to(table.clone()).await?;
        Arc::make_mut(&mut drained.policy).on_change = OnChange::Drain;
        let at_most = drained.policy.timeouts.drain;
        plan.routes.removed.insert(name.to_owned(), Arc::new(drained));
        // The plan opens no new address.
        let opened = self.prepare(&plan).await.ok()?;
        self.carry_out(&plan, opened, table).await;
        Some((open, at_most))
    }

    /// Waits until the sockets that the last edit has replaced are closed: they would be in the way.
    pub async fn wait_for_leaving(&self, plan: &Plan) {
        if !plan.listeners.added.is_empty() {
            self.leaving.finished().await;
        }
    }

    /// Opens every new socket. May fail; changes nothing: no socket takes connections before all addresses are bound.
    async fn prepare(&self, plan: &Plan) -> Result<Opened, Vec<(ListenAddr, Fault)>> {
        let udp = self.udp.prepare(&plan.datagrams, &self.inherited, &self.shared.workers);
        let admin = AdminSocket::prepare(self.admin.borrow().as_deref(), plan);
        let listeners = open_all(self, plan, udp.is_err() || admin.is_err()).await;
        match (listeners, udp, admin) {
            // Last of all: if it fails, it undoes itself.
            (Ok(listeners), Ok(udp), Ok(admin)) => match access::allow(self, plan) {
                Ok(()) => Ok(Opened { listeners, udp, admin }),
                Err(faults) => {
                    self.udp.give_back(udp);
                    Err(faults)
                }
            },
            (listeners, udp, admin) => {
                let udp = udp.map(|opened| self.udp.give_back(opened));
                let faults = [listeners.err(), udp.err(), admin.err().map(|fault| vec![fault])];
                Err(faults.into_iter().flatten().flatten().collect())
            }
        }
    }

    /// Puts the plan into force. Cannot fail.
    async fn commit(&mut self, plan: &Plan, opened: Opened) {
        let Opened { listeners: mut opened, udp, admin } = opened;
        self.retired.retain(|old| !old.connections.is_empty());
        let leaving = self.replace_scopes(plan);
        for (done, (addr, (old, new))) in plan.listeners.changed.iter().enumerate() {
            breathe(done).await;
            if old.serves_like(new) {
                continue;
            }
            self.serve(addr, old, new);
        }
        let replaced = self.close(plan).await;
        for (done, (addr, binding)) in plan.listeners.added.iter().enumerate() {
            breathe(done).await;
            if let Some((socket, acceptors)) = opened.remove(addr) {
                self.begin(addr, binding, socket, acceptors);
            }
        }
        let after = ByPort::of(self.listeners.keys().filter(|_| !replaced.is_empty()));
        for (done, socket) in replaced.into_iter().enumerate() {
            breathe(done).await;
            let others = after.covering(&socket.listener().addr).filter_map(|addr| self.listeners.get(addr));
            let successors = others.map(|other| other.shared_listener()).collect();
            socket.give_way(successors, &self.leaving).await;
        }
        self.commit_udp(plan, udp).await;
        self.find_loops();
        for replaced in leaving {
            self.retire(replaced);
        }
        if let Some(settings) = &plan.admin {
            let admin = settings.clone().zip(admin);
            let admin = admin.map(|(settings, socket)| Arc::new(AdminListener { settings, socket }));
            self.admin.send_replace(admin);
        }
        self.upstreams.forget_unused();
    }

    /// Closes the sockets of addresses that are gone. Returns those that others replace: clients may be on their way to them.
    async fn close(&mut self, plan: &Plan) -> Vec<Arc<ListenSocket>> {
        let added = ByPort::of(plan.listeners.added.keys());
        let removed = plan.listeners.removed.keys().filter_map(|addr| self.listeners.remove(addr));
        let (replaced, closed): (Vec<_>, Vec<_>) =
            removed.partition(|socket| added.cover(&socket.listener().addr));
        // Stop all of them first, then close one after the other: their acceptors run on other threads.
        for (done, socket) in closed.iter().enumerate() {
            breathe(done).await;
            socket.stop();
        }
        for (done, socket) in closed.into_iter().enumerate() {
            breathe(done).await;
            socket.close().await;
        }
        replaced
    }

    async fn commit_udp(&mut self, plan: &Plan, opened: NewUdpListeners) {
        let (mut listeners, owner, shared) = (take(&mut self.udp), self.root.clone(), self.shared.clone());
        let serves = Serves { owner: &owner, shared: &shared };
        listeners.commit(&plan.datagrams, opened, |binding| self.live_route(binding), serves).await;
        self.udp = listeners;
    }

    /// Makes a scope for the connections of every added or changed part of a route: its TCP, or its UDP. Returns the scopes
    /// of changed and removed parts.
    fn replace_scopes(&mut self, plan: &Plan) -> Vec<Replaced> {
        let Delta { added, removed, changed } = &plan.routes;
        let added = added.iter().map(|(name, new)| (name, None, Some(new)));
        let removed = removed.iter().map(|(name, old)| (name, Some(old), None));
        let changed = changed.iter().map(|(name, (old, new))| (name, Some(old), Some(new)));
        let mut leaving = Vec::new();
        for (name, old, new) in removed.chain(changed).chain(added) {
            for protocol in Protocol::TcpUdp.parts() {
                let (before, after) =
                    (old.and_then(|old| old.part(protocol)), new.and_then(|new| new.part(protocol)));
                if before == after {
                    continue;
                }
                let key = (name.clone(), protocol);
                let connections = match after {
                    Some(_) => self.serving.insert(key, self.root.child()),
                    None => self.serving.remove(&key),
                };
                // The new text decides what happens to connections of the old one.
                if let (Some(connections), Some(text), Some(route)) = (connections, new.or(old), old) {
                    leaving.push(Replaced {
                        route: route.clone(),
                        on_change: text.policy.on_change,
                        connections,
                    });
                }
            }
        }
        leaving
    }

    /// Makes an open listener serve another binding. The socket and its queue stay.
    fn serve(&mut self, addr: &ListenAddr, old: &Binding, new: &Binding) {
        let Some(frontend) = self.frontend(new) else { return };
        let Some(listener) = self.listeners.get(addr) else { return };
        if old.route.policy.timeouts.keepalive != new.route.policy.timeouts.keepalive
            && let Some(socket) = listener.socket()
        {
            // If setting an option on a live listening socket fails, there is nothing that a user could fix.
            drop(socket.set_keepalive(new.route.policy.timeouts.keepalive));
        }
        listener.serve(frontend);
    }

    /// Starts accepting on a new listener.
    fn begin(&mut self, addr: &ListenAddr, binding: &Binding, socket: StreamListener, acceptors: Acceptors) {
        let Some(frontend) = self.frontend(binding) else { return };
        let listener = Listener::new(addr.clone(), frontend);
        let closable = self.inherited.in_the_way(addr).is_none();
        if !closable && binding.access.is_some() {
            warn!(
                listener = %addr,
                "the socket is inherited: its unit says who may connect (SocketMode=, SocketGroup=), not the file"
            );
        }
        let socket = ListenSocket::new(listener, socket, closable, &self.root, &self.shared);
        // The file has it already; this is for the next time that the socket is opened.
        drop(socket.allow(&Arc::new(binding.access().clone())));
        socket.begin(acceptors);
        self.listeners.insert(addr.clone(), socket);
    }

    /// Keeps, drains or cuts replaced connections, as `on_change` says.
    fn retire(&mut self, replaced: Replaced) {
        let Replaced { route, on_change, connections } = replaced;
        match on_change {
            OnChange::Keep => {}
            OnChange::Cut => connections.kill(),
            OnChange::Drain => {
                let (scope, at_most) = (connections.clone(), route.policy.timeouts.drain);
                self.root.spawn(async move {
                    scope.drain(Deadline::after(at_most)).await;
                });
            }
        }
        self.retired.push(Retired { route, connections });
    }
}

/// Connections whose route an edit removes or changes.
struct Replaced {
    route: Arc<Route>,
    on_change: OnChange,
    connections: Scope,
}

/// New sockets that are open but do not serve yet.
struct Opened {
    listeners: NewListeners,
    udp: NewUdpListeners,
    admin: Option<Arc<AdminSocket>>,
}
