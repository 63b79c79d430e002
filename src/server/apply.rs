//! The story of one edit, from a compiled file on: plan, prepare, commit.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::datagrams::NewDoors;
use super::handle::AdminSocket;
use super::{OpenDoor, Retired, Server};
use crate::config::{Binding, Compiled, Fault, Plan, Report};
use crate::model::{ListenAddr, OnChange, Protocol, Route, Table};
use crate::net::inherit::Inlet;
use crate::net::{Inherited, Listener, bind};
use crate::proxy::{Door, Fork, Front, Lead, NOBODY, Posts};
use crate::tasks::Crew;
use crate::tasks::Scope;

impl Server {
    /// Makes what runs equal to the file. Any fault: nothing has changed, and the report shows all of them.
    pub async fn apply(&mut self, compiled: &Compiled) -> Result<Plan, Report> {
        let plan = Plan::between(&self.table, &compiled.table);
        let lists = self.lists.prepare(compiled).await?;
        let credentials = self.credentials.prepare(compiled).await?;
        let opened = self.prepare(&plan).map_err(|faults| compiled.listen_faults(&faults))?;
        if !plan.is_empty() {
            self.lists.begin(lists, &mut self.clientele.lists, &self.root);
            self.credentials.begin(credentials, &mut self.clientele.keyring, &self.root);
            self.carry_out(&plan, opened, compiled.table.clone()).await;
        }
        Ok(plan)
    }

    async fn carry_out(&mut self, plan: &Plan, opened: Opened, table: Table) {
        self.commit(plan, opened).await;
        self.table = table.keeping(&self.table);
        self.lists.forget_unused(&self.table, &mut self.clientele.lists);
        self.credentials.forget_unused(&self.table, &mut self.clientele.keyring);
        self.clientele.forget_unused();
        self.generation += 1;
        self.since = SystemTime::now();
    }

    /// Takes a route out of what runs, as an edit would that removes it, and gives its connections time to end. Returns how
    /// many these are, and how much time they have. The file still has the route: reading it again brings it back. `None`:
    /// no route is called so.
    pub async fn drain_route(&mut self, name: &str) -> Option<(usize, Duration)> {
        let mut drained = Route::clone(self.table.routes.get(name)?);
        let open = self.serving.get(name).map_or(0, Scope::len);
        let mut table = self.table.clone();
        table.routes.remove(name);
        let mut plan = Plan::between(&self.table, &table);
        Arc::make_mut(&mut drained.policy).on_change = OnChange::Drain;
        let patience = drained.policy.drain_timeout;
        plan.routes.removed.insert(name.to_owned(), Arc::new(drained));
        // No address is new.
        let opened = self.prepare(&plan).ok()?;
        self.carry_out(&plan, opened, table).await;
        Some((open, patience))
    }

    /// Opens every new socket. May fail; changes nothing: no socket takes connections before all addresses are had.
    fn prepare(&self, plan: &Plan) -> Result<Opened, Vec<(ListenAddr, Fault)>> {
        let beside = |new: &ListenAddr| plan.listeners.removed.keys().any(|old| old.overlaps(new));
        let leaving = self.share_leaving(plan, true);
        let crew = (&self.shared.crew, self.listeners() + plan.listeners.added.len());
        let opened = open_all(&plan.listeners.added, &self.inherited, beside, crew);
        share_ports(&leaving, false);
        let datagrams = self.datagrams.prepare(&plan.datagrams, &self.inherited, &self.shared.crew);
        match (opened, datagrams, self.prepare_admin(plan)) {
            (Ok(listeners), Ok(datagrams), Ok(admin)) => Ok(Opened { listeners, datagrams, admin }),
            (opened, datagrams, admin) => {
                let faults = [opened.err(), datagrams.err(), admin.err().map(|fault| vec![fault])];
                Err(faults.into_iter().flatten().flatten().collect())
            }
        }
    }

    /// An edit from "8080" to "127.0.0.1:8080" opens the new socket while the old one still serves.
    pub(super) fn share_leaving(&self, plan: &Plan, on: bool) -> Vec<Arc<Listener>> {
        let leaving = plan
            .listeners
            .removed
            .keys()
            .filter(|old| plan.listeners.added.keys().any(|new| old.overlaps(new)));
        let leaving = leaving.filter_map(|old| self.doors.get(old)?.front.listener()).collect::<Vec<_>>();
        share_ports(&leaving, on);
        leaving
    }

    /// Puts the plan into force. Cannot fail.
    async fn commit(&mut self, plan: &Plan, opened: Opened) {
        let Opened { listeners: mut opened, datagrams, admin } = opened;
        self.retired.retain(|old| !old.connections.is_empty());
        let mut leaving: Vec<(Arc<Route>, OnChange, Scope)> = Vec::new();
        for (name, route) in &plan.routes.removed {
            if let Some(scope) = self.serving.remove(name) {
                leaving.push((route.clone(), route.policy.on_change, scope));
            }
        }
        for (name, (old, new)) in &plan.routes.changed {
            if let Some(scope) = self.serving.insert(name.clone(), self.root.child()) {
                // The edit says what is to happen to what it replaces.
                leaving.push((old.clone(), new.policy.on_change, scope));
            }
        }
        for name in plan.routes.added.keys() {
            self.serving.insert(name.clone(), self.root.child());
        }

        for (addr, (old, new)) in &plan.listeners.changed {
            self.redirect(addr, old, new);
        }
        // All at once, and then one after the other: other threads take part in it.
        let closing = plan.listeners.removed.keys().filter_map(|addr| self.doors.get(addr));
        closing.for_each(|open| open.front.stop());
        for addr in plan.listeners.removed.keys() {
            if let Some(door) = self.doors.remove(addr) {
                door.front.close().await;
                door.door.close();
            }
        }
        for (addr, binding) in &plan.listeners.added {
            if let Some(listener) = opened.remove(addr) {
                self.start_accepting(addr, binding, listener);
            }
        }
        self.commit_datagrams(&plan.datagrams, datagrams).await;
        for (route, on_change, connections) in leaving {
            self.retire(route, on_change, connections);
        }
        self.commit_admin(plan, admin);
        self.upstreams.forget_unused();
    }

    /// Leads an open listener elsewhere: same socket, same queue.
    fn redirect(&mut self, addr: &ListenAddr, old: &Binding, new: &Binding) {
        let Some(lead) = self.lead(new) else { return };
        let Some(open) = self.doors.get(addr) else { return };
        if old.route.policy.keepalive != new.route.policy.keepalive
            && let Some(listener) = open.front.listener()
        {
            // Setting an option on a live listening socket fails for no reason that a user could mend.
            drop(listener.set_keepalive(new.route.policy.keepalive));
        }
        open.door.redirect(lead);
        open.front.edited(&open.door, &self.shared);
    }

    fn start_accepting(
        &mut self,
        addr: &ListenAddr,
        binding: &Binding,
        (listener, posts): (Listener, Posts),
    ) {
        let Some(lead) = self.lead(binding) else { return };
        let door = Arc::new(Door::new(addr.clone(), lead));
        let closable = self.inherited.in_the_way(addr).is_none();
        let front = Arc::new(Front::new(listener, closable, &self.root));
        front.serve(posts, &door, &self.shared);
        self.doors.insert(addr.clone(), OpenDoor { door, front });
    }

    pub(super) fn lead(&mut self, binding: &Binding) -> Option<Arc<Lead>> {
        let mut fork = None;
        if binding.is_sniffed() {
            let mut leads = Vec::new();
            for route in binding.routes() {
                leads.push(self.lead_of(&Binding::alone(route.clone(), binding.offset), None)?);
            }
            fork = Some(Box::new(Fork::new(leads, self.clientele.gate(NOBODY), self.generation + 1)));
        }
        self.lead_of(binding, fork)
    }

    fn lead_of(&mut self, binding: &Binding, fork: Option<Box<Fork>>) -> Option<Arc<Lead>> {
        let connections = self.serving.get(&binding.route.name)?.clone();
        let mine = (connections, self.generation + 1);
        Some(Lead::new(binding, mine, (&self.upstreams, &mut self.clientele), fork))
    }

    /// Does with replaced connections what `on_change` says.
    fn retire(&mut self, route: Arc<Route>, on_change: OnChange, connections: Scope) {
        match on_change {
            OnChange::Keep => {}
            OnChange::Cut => connections.kill(),
            OnChange::Drain => {
                let (scope, patience) = (connections.clone(), route.policy.drain_timeout);
                self.root.spawn(async move {
                    scope.drain(patience).await;
                });
            }
        }
        self.retired.push(Retired { route, connections });
    }
}

/// Sockets that listen, and those who will take their connections.
type NewListeners = BTreeMap<ListenAddr, (Listener, Posts)>;

/// New sockets, before they serve.
struct Opened {
    listeners: NewListeners,
    datagrams: NewDoors,
    admin: Option<Arc<AdminSocket>>,
}

/// Setting an option on a live socket fails for no reason that a user could mend; `bind` then says what is missing.
pub(super) fn share_ports(listeners: &[Arc<Listener>], on: bool) {
    for listener in listeners {
        drop(listener.share_port(on));
    }
}

/// Opens all of them, or tells of each that cannot be had.
fn open_all(
    wanted: &BTreeMap<ListenAddr, Binding>,
    inherited: &Inherited,
    beside: impl Fn(&ListenAddr) -> bool,
    (crew, listeners): (&Crew, usize),
) -> Result<NewListeners, Vec<(ListenAddr, Fault)>> {
    let mut faults = Vec::new();
    let mut or_fault = |addr: &ListenAddr, error: io::Error| {
        let what = (Protocol::Tcp, inherited.in_the_way(addr));
        faults.push((addr.clone(), bind_fault(addr, &error, what)));
    };
    let mut opened = BTreeMap::new();
    let mut bound = Vec::new();
    for (addr, binding) in wanted {
        let passed = inherited.listen(addr, binding.route.policy.keepalive);
        match passed.map_or_else(|| bind(addr, beside(addr)).map(Ok), |passed| passed.map(Err)) {
            Ok(Ok(socket)) => bound.push((addr, binding, socket)),
            Ok(Err(listener)) => drop(opened.insert(addr.clone(), listener)),
            Err(error) => or_fault(addr, error),
        }
    }
    if bound.len() + opened.len() < wanted.len() {
        return Err(faults);
    }
    for (addr, binding, socket) in bound {
        match socket.listen(binding.route.policy.keepalive) {
            Ok(listener) => drop(opened.insert(addr.clone(), listener)),
            Err(error) => or_fault(addr, error),
        }
    }
    let mut posted = BTreeMap::new();
    for (addr, listener) in opened {
        match Posts::at(&listener, crew, listeners) {
            Ok(posts) => drop(posted.insert(addr, (listener, posts))),
            Err(error) => or_fault(&addr, error),
        }
    }
    if faults.is_empty() { Ok(posted) } else { Err(faults) }
}

/// Why an address cannot be listened on, and what to do.
pub(super) fn bind_fault(
    addr: &ListenAddr,
    error: &io::Error,
    (protocol, in_the_way): (Protocol, Option<&Inlet>),
) -> Fault {
    let port = addr.port().unwrap_or_default();
    let (kind, option) = match protocol {
        Protocol::Tcp => ("Stream", "t"),
        Protocol::Udp => ("Datagram", "u"),
    };
    let (message, help) = match error.kind() {
        io::ErrorKind::AddrInUse if let Some(inlet) = in_the_way => (
            format!("cannot listen on {addr}: systemd holds a socket for {inlet}"),
            format!("write \"{}\", or change Listen{kind}= in the socket unit", inlet.addr),
        ),
        io::ErrorKind::AddrInUse => (
            format!("cannot listen on {addr}: the address is in use"),
            match addr {
                ListenAddr::Unix(path) => {
                    format!(
                        "another program listens there, or {} is not a socket: `ss -xlp` names it",
                        path.display()
                    )
                }
                _ => format!("another program has it: `ss -l{option}np 'sport = :{port}'` names it"),
            },
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("cannot listen on {addr}: this host does not have that address"),
            format!("`ip addr` shows the ones it has; write \"{port}\" for all of them"),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("cannot listen on {addr}: permission denied"),
            match addr {
                ListenAddr::Unix(path) => format!("Portway may not create {}", path.display()),
                _ => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=; a container: \
                      --cap-add NET_BIND_SERVICE)"
                        .to_owned()
                }
            },
        ),
        _ => (format!("cannot listen on {addr}: {error}"), "choose another address".to_owned()),
    };
    Fault { message, help }
}
