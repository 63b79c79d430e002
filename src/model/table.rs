//! The compiled file: what should run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::units;
use super::{
    AdminSettings, Balance, Clients, HealthCheck, Limits, ListenAddr, ListenSpec, OnDown, OnVanish, Selector,
    UpstreamEntry, WhenDown,
};

/// A whole file, compiled. Two equal tables run the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The `[log]` part.
    pub log: LogSettings,
    /// The `[limits]` part.
    pub limits: Limits,
    /// The `[admin]` part.
    pub admin: Option<AdminSettings>,
    /// The routes by name; at least one in a table that `config::compile` made.
    pub routes: BTreeMap<String, Arc<Route>>,
}

impl Table {
    /// Every address that a TCP route listens on, with each of its routes and the offset within that route's port range.
    /// Routes that share an address have the same offset.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenAddr, u16, &Arc<Route>)> {
        self.of(Protocol::Tcp)
    }

    /// The same of the UDP routes.
    pub fn datagrams(&self) -> impl Iterator<Item = (ListenAddr, u16, &Arc<Route>)> {
        self.of(Protocol::Udp)
    }

    /// Keeps the routes of `old` that are the same here: what serves them holds them, and a second copy would be for nothing.
    #[must_use]
    pub fn keeping(mut self, old: &Table) -> Table {
        for (name, route) in &mut self.routes {
            if let Some(same) = old.routes.get(name).filter(|same| *same == route) {
                *route = same.clone();
            }
        }
        self
    }

    /// How many sockets clients come in at: an address that routes share counts once.
    pub fn sockets(&self) -> usize {
        let listeners: BTreeSet<ListenAddr> = self.listeners().map(|(addr, ..)| addr).collect();
        listeners.len() + self.datagrams().count()
    }

    fn of(&self, protocol: Protocol) -> impl Iterator<Item = (ListenAddr, u16, &Arc<Route>)> {
        let routes = self.routes.values().filter(move |route| route.policy.protocol == protocol);
        routes.flat_map(|route| {
            route
                .listen
                .iter()
                .flat_map(move |spec| spec.addrs().map(move |(offset, addr)| (addr, offset, route)))
        })
    }
}

/// One route: where it listens, where it leads, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique in its table.
    pub name: String,
    /// At least one.
    pub listen: Vec<ListenSpec>,
    /// At least one, in the order of the file.
    pub upstream: Vec<UpstreamEntry>,
    /// Which clients of its addresses it serves.
    pub selector: Selector,
    /// The policy keys, each with its value or its default. Routes of one policy share it: it is the most of a route.
    pub policy: Arc<Policy>,
}

/// The policy keys of a route. `Default` is what the documentation promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is forwarded: connections or datagrams.
    pub protocol: Protocol,
    /// For one attempt at one address.
    pub connect_timeout: Duration,
    /// No byte, or of UDP no datagram, in either direction. Never `None` of a UDP route: nothing else ends its sessions.
    pub idle_timeout: Option<Duration>,
    /// After the first FIN: no byte in the other direction.
    pub half_close_timeout: Option<Duration>,
    /// TCP keepalive of both sides: idle time before the first probe.
    pub keepalive: Option<Duration>,
    /// What an edit does to the open connections of a route that it changes or removes.
    pub on_change: OnChange,
    /// How long a drain waits.
    pub drain_timeout: Duration,
    /// How bytes are moved.
    pub relay: RelayMode,
    /// Which of several upstreams a connection is led to.
    pub balance: Balance,
    /// How long an upstream that came back has less than its share.
    pub slow_start: Duration,
    /// What becomes of the connections of an upstream that went down.
    pub on_down: OnDown,
    /// What becomes of the connections to an address that has left its name.
    pub on_vanish: OnVanish,
    /// How the upstreams are checked; `None`: only failed connects tell.
    pub health: Option<HealthCheck>,
    /// What becomes of a client when no upstream can be had.
    pub when_down: WhenDown,
    /// Who may come in, and how often.
    pub clients: Clients,
    /// UDP: sessions of the route at once. `None`: as many as the descriptors allow.
    pub max_sessions: Option<u32>,
    /// UDP: answers after which a session ends.
    pub max_replies: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            protocol: Protocol::Tcp,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: None,
            half_close_timeout: None,
            keepalive: Some(Duration::from_secs(60)),
            on_change: OnChange::Keep,
            drain_timeout: Duration::from_secs(30),
            relay: RelayMode::Auto,
            balance: Balance::RoundRobin,
            slow_start: Duration::ZERO,
            on_down: OnDown::Keep,
            on_vanish: OnVanish::Keep,
            health: None,
            when_down: WhenDown::Reset,
            clients: Clients::default(),
            max_sessions: None,
            max_replies: None,
        }
    }
}

impl Policy {
    /// Each key with its value, both as the file has them: for plans, and wherever a person reads a route.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let or_off = |value: Option<Duration>| value.map_or_else(|| "off".to_owned(), units::show);
        let or_none = |value: Option<u32>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
        let mut entries = vec![
            ("protocol", self.protocol.label().to_owned()),
            ("connect_timeout", units::show(self.connect_timeout)),
            ("idle_timeout", or_off(self.idle_timeout)),
            ("half_close_timeout", or_off(self.half_close_timeout)),
            ("keepalive", or_off(self.keepalive)),
            ("on_change", self.on_change.label().to_owned()),
            ("drain_timeout", units::show(self.drain_timeout)),
            ("relay", self.relay.label().to_owned()),
            ("balance", self.balance.label().to_owned()),
            ("slow_start", units::show(self.slow_start)),
            ("on_down", self.on_down.label().to_owned()),
            ("on_vanish", self.on_vanish.label().to_owned()),
            ("health", self.health.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string)),
            ("when_down", self.when_down.to_string()),
            ("max_sessions", or_none(self.max_sessions)),
            ("max_replies", or_none(self.max_replies)),
        ];
        entries.extend(self.clients.entries());
        entries
    }
}

/// The idle time of a UDP route where none is given.
pub const UDP_IDLE: Duration = Duration::from_secs(60);

/// What a route forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams, in sessions.
    Udp,
}

impl Protocol {
    /// The word of the file.
    pub fn label(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// What an edit does to the open connections of a route that it changes or removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// They go on as they are.
    #[default]
    Keep,
    /// They have `drain_timeout` to end by themselves.
    Drain,
    /// They are reset at once.
    Cut,
}

impl OnChange {
    /// The word of the file.
    pub fn label(self) -> &'static str {
        match self {
            OnChange::Keep => "keep",
            OnChange::Drain => "drain",
            OnChange::Cut => "cut",
        }
    }
}

/// How bytes are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayMode {
    /// The fastest that fits.
    #[default]
    Auto,
    /// tokio's `copy_bidirectional`.
    Copy,
    /// Through kernel pipes from the first byte.
    Splice,
}

impl RelayMode {
    /// The word of the file.
    pub fn label(self) -> &'static str {
        match self {
            RelayMode::Auto => "auto",
            RelayMode::Copy => "copy",
            RelayMode::Splice => "splice",
        }
    }
}

/// The `[log]` part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a filter in tracing's syntax.
    pub level: String,
    /// The look of Portway's own messages and of the access log.
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
    /// Each key with its value, both as the file has them.
    pub fn entries(&self) -> [(&'static str, String); 3] {
        let format = match self.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let access = match &self.access {
            LogTarget::Off => "off".to_owned(),
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::Stderr => "stderr".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        };
        [("level", self.level.clone()), ("format", format.to_owned()), ("access", access)]
    }
}

/// The look of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, and opened again at `SIGUSR1`.
    File(PathBuf),
}
