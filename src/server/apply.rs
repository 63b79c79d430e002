//! Carries out one edit, from the compiled file on: plan, prepare, commit ([`Server::apply`]).

use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::warn;

use super::access;
use super::admin_socket::{AdminListener, AdminSocket};
use super::beside::breathe;
use super::concern::Concerned;
use super::credentials::ReadCredentials;
use super::lists::ReadList;
use super::log_target;
use super::open::{ByPort, NewListeners, open_all};
use super::running::{Retired, Server};
use super::sources;
use super::tokens::ReadToken;
use super::udp_listeners::{NewUdpListeners, Serves};
use crate::config::{Binding, Compiled, Concern, Delta, Plan, Report, left};
use crate::model::{Fault, ListenAddr, OnChange, Protocol, Route, Table};
use crate::net::{Deadline, StreamListener};
use crate::proxy::listener::{Acceptors, ListenSocket};
use crate::proxy::route::Listener;
use crate::state;
use crate::tasks::Scope;

impl Server {
    /// Makes what runs equal to the file. On a fault nothing has changed, and the report shows every fault of the step
    /// that failed.
    pub async fn apply(&mut self, compiled: &Compiled) -> Result<Plan, Report> {
        let prepared = self.prepare_file(compiled).await?;
        Ok(self.put_in(prepared, compiled).await)
    }

    /// Reads and opens whatever the file needs. Changes nothing, and serves nobody.
    pub async fn prepare_file(&self, compiled: &Compiled) -> Result<Prepared, Report> {
        let table = self.wanted(compiled);
        let plan = self.plan(compiled).await?;
        let named = self.read_named(compiled).await?;
        self.wait_for_leaving(&plan).await;
        let opened = self.prepare(&plan).await.map_err(|faults| compiled.listen_faults(&faults))?;
        Ok(Prepared { plan, table, named, opened })
    }

    /// Makes what runs equal to a file that was prepared. Cannot fail; nothing else may have changed meanwhile.
    pub async fn put_in(&mut self, prepared: Prepared, compiled: &Compiled) -> Plan {
        let Prepared { plan, table, named, opened } = prepared;
        if !plan.is_empty() {
            self.lists.begin(named.lists, &mut self.registry.lists, &self.root);
            self.credentials.begin(named.credentials, &mut self.registry.tls, &self.root);
            self.tokens.begin(named.tokens, &self.root);
            sources::tell(&self.table, &compiled.table);
            self.carry_out(&plan, opened, table).await;
            self.forget_gone();
        }
        plan
    }

    /// Reads what the file names and what is not in force yet. Changes nothing.
    pub(super) async fn read_named(&self, compiled: &Compiled) -> Result<NamedFiles, Report> {
        let files = (self.lists.prepare(compiled).await, self.credentials.prepare(compiled).await);
        let files = Report::both(files.0, files.1);
        let rights = Report::both(access::check(compiled), sources::check(compiled));
        let rights = Report::both(rights, log_target::check(compiled));
        let others = Report::both(rights, self.tokens.prepare(compiled).await);
        let ((lists, credentials), (_, tokens)) = Report::both(files, others)?;
        Ok(NamedFiles { lists, credentials, tokens })
    }

    /// What the file would change. Made on a blocking thread: a table may have tens of thousands of addresses.
    pub async fn plan(&self, compiled: &Compiled) -> Result<Plan, Report> {
        self.plan_to(self.wanted(compiled)).await.ok_or_else(|| {
            let fault = "what the file changes could not be found: comparing failed inside Portway";
            compiled.about(Fault::new(fault, "please report it, with the file"))
        })
    }

    /// What the file says, without the routes that were taken out by hand.
    fn wanted(&self, compiled: &Compiled) -> Table {
        match self.by_hand.is_empty() {
            true => compiled.table.clone(),
            false => compiled.table.clone().holding(|name| self.by_hand.holds(name)),
        }
    }

    pub(super) async fn plan_to(&self, table: Table) -> Option<Plan> {
        let running = self.table.clone();
        tokio::task::spawn_blocking(move || Plan::between(&running, &table)).await.ok()
    }

    pub(super) async fn carry_out(&mut self, plan: &Plan, opened: Opened, table: Table) {
        self.commit(plan, opened).await;
        self.table = table.keeping(&self.table);
        self.lists.forget_unused(&self.table, &mut self.registry.lists);
        self.credentials.forget_unused(&self.table, &mut self.registry.tls);
        self.tokens.forget_unused(&self.table);
        self.registry.forget_unused(|name| self.table.held.contains_key(name));
        self.generation += 1;
        self.since = SystemTime::now();
    }

    /// Waits until the sockets that the last edit has replaced are closed: they would be in the way.
    pub async fn wait_for_leaving(&self, plan: &Plan) {
        if !plan.listeners.added.is_empty() {
            self.leaving.finished().await;
        }
    }

    /// Opens every new socket. May fail; changes nothing: no socket takes connections before all addresses are bound.
    pub(super) async fn prepare(&self, plan: &Plan) -> Result<Opened, Vec<(ListenAddr, Fault)>> {
        let udp = self.udp.prepare(&plan.datagrams, &self.inherited, &self.shared.workers);
        let admin = AdminSocket::prepare(self.admin.borrow().as_deref(), plan, &self.inherited);
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
        let (added, changed) = (plan.routes.added.values(), plan.routes.changed.values().map(|(_, new)| new));
        added.chain(changed).for_each(|route| self.steer_all(route));
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
        self.retire(leaving);
        if let Some(settings) = &plan.admin {
            let admin = settings.clone().zip(admin);
            let admin = admin.map(|(settings, socket)| {
                let tokens = self.tokens.tokens(&settings);
                Arc::new(AdminListener { settings, tokens, socket })
            });
            self.admin.send_replace(admin);
        }
        self.find_loops();
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
                        protocol,
                        text: text.clone(),
                        concern: Concern::between(old, new, protocol),
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
        let (before, after) = (old.route.policy.socket_options(), new.route.policy.socket_options());
        if before != after
            && let Some(socket) = listener.socket()
        {
            // If setting an option on a live listening socket fails, there is nothing that a user could fix.
            drop(socket.change_options(before, after));
        }
        if new.is_led_to()
            && !old.is_led_to()
            && let Some(socket) = listener.socket()
        {
            // REDIRECT does without.
            drop(socket.be_transparent());
        }
        listener.serve(frontend);
    }

    /// Starts accepting on a new listener.
    fn begin(&mut self, addr: &ListenAddr, binding: &Binding, socket: StreamListener, acceptors: Acceptors) {
        let Some(frontend) = self.frontend(binding) else { return };
        if binding.is_led_to() {
            // REDIRECT does without.
            drop(socket.be_transparent());
        }
        let listener = Listener::new(addr.clone(), frontend);
        let closable = self.inherited.in_the_way(addr).is_none();
        if !closable && binding.access.is_some() {
            warn!(
                listener = %addr,
                "the socket is inherited: its unit says who may connect (SocketMode=, SocketGroup=), not the file"
            );
        }
        let socket = ListenSocket::new(listener, socket, closable, &self.root, &self.shared);
        if let ListenAddr::Unix(_) = addr {
            // The file has it already; this is for the next time that the socket is opened.
            drop(socket.allow(&Arc::new(binding.access().clone())));
        }
        socket.begin(acceptors);
        self.listeners.insert(addr.clone(), socket);
    }

    /// Keeps, drains or cuts those of the replaced connections that the edit concerns.
    fn retire(&mut self, all: Vec<Replaced>) {
        let newest = self.shared.newest_id();
        for Replaced { route, protocol, text, concern, connections } in all {
            let (on_change, at_most) = (text.policy.on_change, text.policy.timeouts.drain);
            let earlier = self.retired.iter().any(|old| old.is_of(&route.name, protocol));
            if let Concern::Leaving { old, new } = &concern
                && on_change == OnChange::Cut
            {
                // Whoever is about to connect to one goes elsewhere. An edit that brings it back undoes this.
                let of_route = self.registry.state(&route.name);
                left(old, new)
                    .for_each(|entry| of_route.steering(&entry.spec).set(state::Serves::Disabled, None));
            }
            let everybody = concern == Concern::Everybody;
            let concerned = Concerned::part(&route.name, protocol, concern);
            match on_change {
                OnChange::Keep => {
                    self.retired.push(Retired { route, protocol, connections, goes_on: true });
                    continue;
                }
                OnChange::Cut if everybody => connections.kill(),
                OnChange::Drain if everybody => self.drain_scope(&connections, at_most),
                OnChange::Cut | OnChange::Drain => {}
            }
            // One by one those that the scope has not, or of whom others go on.
            if earlier || !everybody {
                let shared = self.shared.clone();
                concerned.find(&shared.open, newest).iter().for_each(|open| open.leave());
                let cut = move || concerned.find(&shared.open, newest).iter().for_each(|open| open.cut());
                if on_change == OnChange::Cut {
                    cut();
                } else {
                    self.root.spawn(async move {
                        Deadline::after(at_most).await;
                        cut();
                    });
                }
            }
            self.retired.push(Retired { route, protocol, connections, goes_on: !everybody });
        }
    }

    /// Gives the tasks of a scope some time to end.
    pub(super) fn drain_scope(&self, scope: &Scope, at_most: Duration) {
        let scope = scope.clone();
        self.root.spawn(async move {
            scope.drain(Deadline::after(at_most)).await;
        });
    }
}

/// A file for which everything is read and opened, and which is not in force yet.
pub(super) struct Prepared {
    plan: Plan,
    table: Table,
    named: NamedFiles,
    opened: Opened,
}

impl Prepared {
    /// Lets what UDP clients send wait until their sessions are there: see [`UdpListener::resume`](crate::proxy::udp::UdpListener::resume).
    pub fn pause_datagrams(&self) {
        self.opened.udp.values().for_each(|listener| listener.pause());
    }
}

/// What the routes' file names, read and not in force yet.
pub(super) struct NamedFiles {
    pub lists: Vec<ReadList>,
    pub credentials: Vec<ReadCredentials>,
    pub tokens: Vec<ReadToken>,
}

/// Connections whose route an edit removes or changes.
struct Replaced {
    route: Arc<Route>,
    /// Which part of it: TCP or UDP.
    protocol: Protocol,
    /// The text that says what becomes of them.
    text: Arc<Route>,
    /// Whom the edit concerns.
    concern: Concern,
    connections: Scope,
}

/// New sockets that are open but do not serve yet.
pub(super) struct Opened {
    listeners: NewListeners,
    udp: NewUdpListeners,
    admin: Option<Arc<AdminSocket>>,
}
