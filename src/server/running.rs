//! What runs now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::admin_socket::AdminListener;
use super::credentials::CredentialFiles;
use super::lists::ListFiles;
use super::udp_listeners::UdpListeners;
use crate::config::Binding;
use crate::files::FsEventSource;
use crate::model::{ListenAddr, Policy, Route, Selector, Table};
use crate::net::Inherited;
use crate::proxy::listener::ListenSocket;
use crate::proxy::record::Shared;
use crate::proxy::route::{Frontend, LiveRoute, NO_ROUTE, RouteRegistry, RunsAs, SniRouter};
use crate::proxy::upstream::Upstreams;
use crate::tasks::Scope;

/// What runs now.
#[derive(Debug)]
pub(super) struct Server {
    pub shared: Arc<Shared>,
    pub inherited: Inherited,
    /// What the listeners do, as a table.
    pub table: Table,
    pub listeners: BTreeMap<ListenAddr, Arc<ListenSocket>>,
    /// The same of UDP.
    pub udp: UdpListeners,
    /// What is known of the upstreams: it outlives edits.
    pub upstreams: Arc<Upstreams>,
    /// What is known of the clients: it outlives edits.
    pub registry: RouteRegistry,
    /// The lists of networks that stand in files of their own.
    pub lists: ListFiles,
    /// The certificates that stand in files of their own.
    pub credentials: CredentialFiles,
    /// The connections of each route, as its present text serves them.
    pub serving: BTreeMap<String, Scope>,
    /// Connections of texts that an edit has replaced.
    pub retired: Vec<Retired>,
    /// Above every scope.
    pub root: Scope,
    pub generation: u64,
    /// When it last changed.
    pub since: SystemTime,
    /// The admin endpoint of the file.
    pub admin: watch::Sender<Option<Arc<AdminListener>>>,
}

/// Connections of a route's text that is no more.
#[derive(Debug)]
pub(super) struct Retired {
    pub route: Arc<Route>,
    pub connections: Scope,
}

impl Server {
    /// A server without listeners. It uses `inherited` sockets where their address fits, and binds the rest.
    pub fn new(shared: Arc<Shared>, inherited: Inherited, events: FsEventSource) -> Self {
        let root = Scope::new();
        Server {
            shared,
            inherited,
            table: Table::default(),
            listeners: BTreeMap::new(),
            udp: UdpListeners::default(),
            upstreams: Upstreams::new(root.child()),
            registry: RouteRegistry::default(),
            lists: ListFiles::new(events.clone()),
            credentials: CredentialFiles::new(events),
            serving: BTreeMap::new(),
            retired: Vec::new(),
            root,
            generation: 0,
            since: SystemTime::now(),
            admin: watch::Sender::new(None),
        }
    }

    /// How many times what runs has changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What runs, as a table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Inherited sockets that no listener uses, as a person should read them.
    pub fn unused_inherited(&self) -> Vec<String> {
        let unused = self.inherited.unused(self.listeners.keys()).map(ToString::to_string);
        unused.chain(self.inherited.unused_datagrams(self.udp.addrs()).map(ToString::to_string)).collect()
    }

    /// Reads every list of networks and every certificate again, whatever their files look like.
    pub fn ask_files(&self) {
        self.lists.ask();
        self.credentials.ask();
    }

    /// Says of each route how many clients it has turned away.
    pub fn log_turned_away(&self) {
        self.registry.states().for_each(|state| state.log_turned_away());
    }

    /// How many listeners are open.
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

    /// The route of this binding, which is the only one there.
    pub fn live_route(&mut self, binding: &Binding) -> Option<Arc<LiveRoute>> {
        let connections = self.serving.get(&binding.route.name)?.clone();
        Some(self.live_route_of(binding, connections))
    }

    /// Whose the clients of a shared address are that no route serves.
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
        let runs_as = RunsAs { connections, generation, upstreams: &self.upstreams };
        LiveRoute::new(binding, runs_as, &mut self.registry)
    }
}
