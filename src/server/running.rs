//! The state of the running server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

use super::admin_socket::AdminListener;
use super::credentials::CredentialFiles;
use super::lists::ListFiles;
use super::old_process::OldProcess;
use super::tokens::TokenFiles;
use super::udp_listeners::UdpListeners;
use crate::config::Binding;
use crate::files::FsEventSource;
use crate::model::{Fault, ListenAddr, Policy, Protocol, Route, Selector, Table};
use crate::net::Inherited;
use crate::proxy::listener::ListenSocket;
use crate::proxy::record::Shared;
use crate::proxy::route::{
    Frontend, LiveRoute, Loops, NO_ROUTE, OwnListener, RouteRegistry, RunsAs, SniRouter,
};
use crate::proxy::upstream::Upstreams;
use crate::state::ByHand;
use crate::tasks::Scope;

/// The running server: its table, its sockets, and the owners of its connections.
#[derive(Debug)]
pub(super) struct Server {
    pub shared: Arc<Shared>,
    pub inherited: Inherited,
    /// The table that the listeners serve.
    pub table: Table,
    pub listeners: BTreeMap<ListenAddr, Arc<ListenSocket>>,
    /// The UDP listeners, open and closing.
    pub udp: UdpListeners,
    /// The state of the upstreams. It outlives edits.
    pub upstreams: Arc<Upstreams>,
    /// Finds upstreams that lead back to a listener.
    pub loops: Arc<Loops>,
    /// The counters and limits of each route, by name. They outlive edits.
    pub registry: RouteRegistry,
    /// The lists of networks that come from files.
    pub lists: ListFiles,
    /// The certificates, keys and authorities in force.
    pub credentials: CredentialFiles,
    /// The tokens of `[admin]` that stand in files or in the environment.
    pub tokens: TokenFiles,
    /// Notified when a file that the routes' file names was taken over, and when one was read that somebody asked for.
    pub named_news: Arc<Notify>,
    /// The connections of each route that follow its current text, and its sessions.
    pub serving: BTreeMap<(String, Protocol), Scope>,
    /// Owns the sockets that an edit has replaced by others at their addresses. They close within two seconds.
    pub leaving: Scope,
    /// Connections that follow a text which an edit has replaced or removed.
    pub retired: Vec<Retired>,
    /// What was done by hand, and stays over edits.
    pub by_hand: ByHand,
    /// Routes whose time by hand is over, and which cannot listen again: why. That is tried again and again.
    pub still_out: BTreeMap<String, Arc<Fault>>,
    /// The process that this one has taken over from, while it lives.
    pub old: Option<OldProcess>,
    /// The parent of every scope.
    pub root: Scope,
    pub generation: u64,
    /// When it last changed.
    pub since: SystemTime,
    /// The admin endpoint. `None`: the file has none.
    pub admin: watch::Sender<Option<Arc<AdminListener>>>,
}

/// Connections that follow a text of a route which no longer runs.
#[derive(Debug)]
pub(super) struct Retired {
    pub route: Arc<Route>,
    /// Which part of it: TCP or UDP.
    pub protocol: Protocol,
    pub connections: Scope,
    /// Whether some of them go on without end, and so may move to another process.
    pub goes_on: bool,
}

impl Retired {
    /// Whether they are of this part of the route of this name.
    pub fn is_of(&self, name: &str, protocol: Protocol) -> bool {
        self.route.name == name && self.protocol == protocol
    }
}

impl Server {
    /// A server without listeners. It uses `inherited` sockets whose address fits, and binds the rest.
    pub fn new(shared: Arc<Shared>, inherited: Inherited, events: FsEventSource) -> Self {
        let (root, named_news) = (Scope::new(), Arc::<Notify>::default());
        Server {
            shared,
            inherited,
            table: Table::default(),
            listeners: BTreeMap::new(),
            udp: UdpListeners::default(),
            upstreams: Upstreams::new(root.child()),
            loops: Loops::new(&root),
            registry: RouteRegistry::new(&root),
            lists: ListFiles::new(events.clone(), named_news.clone()),
            tokens: TokenFiles::new(events.clone(), named_news.clone()),
            credentials: CredentialFiles::new(events, named_news.clone()),
            named_news,
            serving: BTreeMap::new(),
            leaving: root.child(),
            retired: Vec::new(),
            by_hand: ByHand::default(),
            still_out: BTreeMap::new(),
            old: None,
            root,
            generation: 0,
            since: SystemTime::now(),
            admin: watch::Sender::new(None),
        }
    }

    /// Generation of the running configuration, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What runs, as a table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Inherited sockets that no listener uses, for a message.
    pub fn unused_inherited(&self) -> Vec<String> {
        let unused = self.inherited.unused(self.listeners.keys()).map(ToString::to_string);
        unused.chain(self.inherited.unused_datagrams(self.udp.addrs()).map(ToString::to_string)).collect()
    }

    /// Reads every list of networks, every certificate and every token again, even if their files look unchanged.
    pub fn ask_files(&self) {
        self.lists.followers.ask();
        self.credentials.followers.ask();
        self.tokens.followers.ask();
    }

    /// Whether all have answered that [`Server::ask_files`] has asked.
    pub fn files_have_answered(&self) -> bool {
        self.lists.followers.have_answered()
            && self.credentials.followers.have_answered()
            && self.tokens.followers.have_answered()
    }

    /// Those of which a new text was taken since then.
    pub fn files_taken(&self) -> BTreeSet<String> {
        let (lists, tokens) = (self.lists.followers.taken(), self.tokens.followers.taken());
        lists.chain(self.credentials.followers.taken()).chain(tokens).collect()
    }

    /// Logs for each route how many clients it has turned away.
    pub fn log_turned_away(&self) {
        self.registry.states().for_each(|state| state.log_turned_away());
    }

    /// Looks for upstreams that lead back to what listens now.
    pub fn find_loops(&self) {
        let tcp = self.listeners.values().map(|socket| {
            let (addr, frontend) = (&socket.listener().addr, socket.listener().frontend());
            OwnListener::new(Protocol::Tcp, addr, frontend.routes().iter().map(|live| live.hop()))
        });
        let udp = self.udp.open().map(|listener| {
            let live = listener.live();
            OwnListener::new(Protocol::Udp, &listener.addr, live.iter().map(|live| live.hop()))
        });
        let admin = self.admin.borrow().as_ref().map(|admin| Arc::new(admin.settings.listen.clone()));
        let admin = admin.map(|addr| OwnListener::new(Protocol::Tcp, &addr, std::iter::empty()));
        self.loops.set(tcp.chain(udp).chain(admin));
    }

    /// How many listeners are open, TCP and UDP.
    pub fn listeners(&self) -> usize {
        self.listeners.len() + self.udp.len()
    }

    /// What a listener of this binding serves.
    pub fn frontend(&mut self, binding: &Binding) -> Option<Frontend> {
        if !binding.is_sniffed() {
            return self.live_route(binding).map(Frontend::Route);
        }
        let mut routes = Vec::new();
        for route in binding.routes() {
            routes.push(self.live_route(&Binding::alone(route.clone(), binding.offset))?);
        }
        let unrouted = self.unrouted(routes.first()?.connections.clone());
        SniRouter::new(routes, unrouted).map(|router| Frontend::Sni(Box::new(router)))
    }

    /// Who owns the connections of a route, or its sessions. `protocol` is TCP or UDP.
    pub fn scope(&self, route: &str, protocol: Protocol) -> Option<&Scope> {
        self.serving.get(&(route.to_owned(), protocol))
    }

    /// The running route of a binding that has only one.
    pub fn live_route(&mut self, binding: &Binding) -> Option<Arc<LiveRoute>> {
        let connections = self.scope(&binding.route.name, binding.route.policy.protocol)?.clone();
        Some(self.live_route_of(binding, connections))
    }

    /// The stand-in route for clients of a shared address that no route serves.
    fn unrouted(&mut self, connections: Scope) -> Arc<LiveRoute> {
        let route = Route {
            name: NO_ROUTE.to_owned(),
            listen: Vec::new(),
            upstream: Vec::new(),
            selector: Selector::default(),
            policy: Arc::new(Policy::default()),
        };
        self.live_route_of(&Binding::alone(Arc::new(route), 0), connections)
    }

    fn live_route_of(&mut self, binding: &Binding, connections: Scope) -> Arc<LiveRoute> {
        let generation = self.generation + 1;
        let runs_as = RunsAs { connections, generation, upstreams: &self.upstreams, loops: &self.loops };
        LiveRoute::new(binding, runs_as, &mut self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_retired_is_of_one_part_of_one_route() {
        let route = Route {
            name: "dns".to_owned(),
            listen: Vec::new(),
            upstream: Vec::new(),
            selector: Selector::default(),
            policy: Arc::default(),
        };
        let (protocol, connections) = (Protocol::Udp, Scope::new());
        let retired = Retired { route: Arc::new(route), protocol, connections, goes_on: true };
        assert!(retired.is_of("dns", Protocol::Udp));
        assert!(!retired.is_of("dns", Protocol::Tcp) && !retired.is_of("web", Protocol::Udp));
    }
}
