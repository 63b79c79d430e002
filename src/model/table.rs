//! The compiled file: what should run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::addr::ListenAddr;
use super::admin::AdminSettings;
use super::limits::ProcessLimits;
use super::policy::Policy;
use super::protocol::Protocol;
use super::selector::Selector;
use super::socket_access::SocketAccess;
use super::spec::ListenSpec;
use super::upstream::UpstreamEntry;
use super::words::words;

/// A whole file, compiled. Equal tables run the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The `[log]` part.
    pub log: LogSettings,
    /// The `[limits]` part.
    pub limits: ProcessLimits,
    /// The `[admin]` part. `None`: there is no admin endpoint.
    pub admin: Option<AdminSettings>,
    /// Who may connect to the Unix sockets that routes listen on, by path. One that is not here: everybody.
    pub sockets: BTreeMap<PathBuf, Arc<SocketAccess>>,
    /// The routes by name. A table that `config::compile` made has at least one, here or among `disabled`.
    pub routes: BTreeMap<String, Arc<Route>>,
    /// Routes with `enabled = false`, in the order of the file: nothing serves them.
    pub disabled: Vec<Arc<Route>>,
}

impl Table {
    /// Every address that a TCP route listens on, with each of its routes and the offset within that route's port
    /// range. Routes that share an address have the same offset.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenAddr, u16, Arc<Route>)> {
        self.of(Protocol::Tcp)
    }

    /// As [`Table::listeners`], for the UDP routes.
    pub fn datagrams(&self) -> impl Iterator<Item = (ListenAddr, u16, Arc<Route>)> {
        self.of(Protocol::Udp)
    }

    /// Shares the routes of `old` that are the same here: what serves them holds them already, so a second copy would
    /// be useless.
    #[must_use]
    pub fn keeping(mut self, old: &Table) -> Table {
        for (name, route) in &mut self.routes {
            if let Some(same) = old.routes.get(name).filter(|same| *same == route) {
                *route = same.clone();
            }
        }
        self
    }

    /// Number of listening sockets. An address that several routes share counts once.
    pub fn sockets(&self) -> usize {
        let listeners: BTreeSet<ListenAddr> = self.listeners().map(|(addr, ..)| addr).collect();
        listeners.len() + self.datagrams().count()
    }

    fn of(&self, protocol: Protocol) -> impl Iterator<Item = (ListenAddr, u16, Arc<Route>)> {
        let routes = self.routes.values().filter_map(move |route| Some((route, route.part(protocol)?)));
        routes.flat_map(|(route, part)| {
            let addrs = route.listen.iter().flat_map(|spec| spec.addrs());
            addrs.map(move |(offset, addr)| (addr, offset, part.clone()))
        })
    }
}

/// One route: its listeners, its upstreams and its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique in its table.
    pub name: String,
    /// The addresses that it listens on: at least one entry.
    pub listen: Vec<ListenSpec>,
    /// Its upstreams: at least one entry, in the order of the file.
    pub upstream: Vec<UpstreamEntry>,
    /// Which clients of its addresses it serves.
    pub selector: Selector,
    /// The policy keys, each with its value or its default. Routes with the same policy share it: it is most of a
    /// route.
    pub policy: Arc<Policy>,
}

impl Route {
    /// What of the route is TCP, or UDP. `None`: nothing. What says nothing about that part has its default there, so two
    /// parts are equal if nothing has changed for their connections.
    pub fn part(self: &Arc<Self>, protocol: Protocol) -> Option<Arc<Route>> {
        match self.policy.protocol {
            own if own == protocol => Some(self.clone()),
            Protocol::TcpUdp => {
                // Names are of TLS, and UDP has none.
                let chosen =
                    if protocol == Protocol::Tcp { self.selector.clone() } else { Selector::default() };
                let policy = Arc::new(self.policy.of(protocol));
                Some(Arc::new(Route { selector: chosen, policy, ..Route::clone(self) }))
            }
            Protocol::Tcp | Protocol::Udp => None,
        }
    }
}

/// The `[log]` part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a filter in tracing's syntax.
    pub level: String,
    /// The format of Portway's own messages and of the access log.
    pub format: LogFormat,
    /// Where the access log goes.
    pub access: LogTarget,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { level: "info".into(), format: LogFormat::Text, access: LogTarget::Stderr }
    }
}

impl LogSettings {
    /// Each key with its value, both as written in the file.
    pub fn entries(&self) -> [(&'static str, String); 3] {
        let access = match &self.access {
            LogTarget::Off => "off".to_owned(),
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::Stderr => "stderr".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        };
        [("level", self.level.clone()), ("format", self.format.to_string()), ("access", access)]
    }
}

words! {
    /// The format of log lines.
    #[derive(Default)]
    pub enum LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere: no access log is written.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file to append to. `SIGUSR1` opens it again.
    File(PathBuf),
}
