//! The compiled file: what should run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::addr::ListenAddr;
use super::admin::AdminSettings;
use super::edits::EditsSettings;
use super::fleet::FleetSettings;
use super::limits::ProcessLimits;
use super::policy::{Policy, PortRanges};
use super::process::ProcessSettings;
use super::protocol::Protocol;
use super::selector::Selector;
use super::socket_access::SocketAccess;
use super::source::Source;
use super::spec::{ListenSpec, UpstreamSpec};
use super::upstream::UpstreamEntry;
use super::words::words;

/// A whole file, compiled. Equal tables run the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The `[log]` part.
    pub log: LogSettings,
    /// The `[process]` part.
    pub process: ProcessSettings,
    /// The `[limits]` part.
    pub limits: ProcessLimits,
    /// The `[edits]` part.
    pub edits: EditsSettings,
    /// The `[fleet]` part.
    pub fleet: FleetSettings,
    /// The `[admin]` part. `None`: there is no admin endpoint.
    pub admin: Option<AdminSettings>,
    /// Who may connect to the Unix sockets that routes listen on, by path. One that is not here: everybody.
    pub sockets: BTreeMap<PathBuf, Arc<SocketAccess>>,
    /// The routes by name. The table of a file that includes no others has at least one, here or among `disabled`. Shared by
    /// the copies of a table: an edit makes some, and there may be ten thousand routes.
    pub routes: Arc<BTreeMap<String, Arc<Route>>>,
    /// Routes with `enabled = false`, in the order of the file: nothing serves them.
    pub disabled: Vec<Arc<Route>>,
    /// Routes that a person has taken out of what runs: nothing serves them. A file has none.
    pub held: BTreeMap<String, Arc<Route>>,
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
        let is_copy = |(name, route): &(&String, &Arc<Route>)| {
            self.routes.get(*name).is_some_and(|new| new == *route && !Arc::ptr_eq(new, route))
        };
        let shared: Vec<_> = old.routes.iter().filter(is_copy).collect();
        if !shared.is_empty() {
            let routes = Arc::make_mut(&mut self.routes);
            routes.extend(shared.into_iter().map(|(name, route)| (name.clone(), route.clone())));
        }
        self
    }

    /// Takes out the routes that `is_held` names.
    #[must_use]
    pub fn holding(mut self, is_held: impl Fn(&str) -> bool) -> Table {
        let mut all = Arc::unwrap_or_clone(self.routes);
        self.held = all.extract_if(.., |name, _| is_held(name)).collect();
        self.routes = all.into();
        self
    }

    /// Every route of the file that is not disabled there, whether it is served or held.
    pub fn all_routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values().chain(self.held.values())
    }

    /// A route of the file, whether it is served or held.
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(name).or_else(|| self.held.get(name))
    }

    /// Number of listening sockets. An address that several routes share counts once.
    pub fn sockets(&self) -> usize {
        let listeners: BTreeSet<ListenAddr> = self.listeners().map(|(addr, ..)| addr).collect();
        listeners.len() + self.datagrams().count()
    }

    fn of(&self, protocol: Protocol) -> impl Iterator<Item = (ListenAddr, u16, Arc<Route>)> {
        let routes = self.routes.values().filter_map(move |route| Some((route, route.part(protocol)?)));
        routes.flat_map(|(route, part)| {
            let sockets = if part.is_led_by_a_rule() { 1 } else { usize::MAX };
            let addrs = route.listen.iter().flat_map(move |spec| spec.addrs().take(sockets));
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
    /// From where this upstream of it is connected to. `None`: the system says.
    pub fn source_of<'s>(&'s self, upstream: &'s UpstreamEntry) -> Option<&'s Arc<Source>> {
        upstream.source_in(self.policy.source.as_ref())
    }

    /// Whether its clients go where they wanted to go before a rule led them here.
    pub fn is_original(&self) -> bool {
        // It is the only one of its route.
        self.upstream.first().is_some_and(|entry| entry.spec == UpstreamSpec::Original)
    }

    /// Whether a rule of the firewall leads clients to the first port of each of its ranges from the others.
    pub fn is_led_by_a_rule(&self) -> bool {
        self.policy.port_ranges == PortRanges::Rule
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OnVanish, ServerName};

    fn route(name: &str, protocol: Protocol, listen: &str, upstream: &str) -> Route {
        Route {
            name: name.to_owned(),
            listen: vec![listen.parse().unwrap()],
            upstream: vec![UpstreamEntry::from(upstream.parse::<UpstreamSpec>().unwrap())],
            selector: Selector::default(),
            policy: Arc::new(Policy { protocol, ..Policy::default() }),
        }
    }

    fn table(routes: &[Route]) -> Table {
        let routes: BTreeMap<_, _> =
            routes.iter().map(|route| (route.name.clone(), Arc::new(route.clone()))).collect();
        Table { routes: routes.into(), ..Table::default() }
    }

    #[test]
    fn each_address_is_of_the_protocols_of_its_route() {
        let table = table(&[
            route("a", Protocol::Tcp, "80-81", "app:80"),
            route("b", Protocol::Udp, "127.0.0.1:53", "dns:53"),
            route("c", Protocol::TcpUdp, "90", "app:90"),
            // It shares an address with the first.
            route("d", Protocol::Tcp, "81", "app:80"),
        ]);
        let shown = |all: Vec<(ListenAddr, u16, Arc<Route>)>| -> Vec<String> {
            all.iter().map(|(addr, offset, route)| format!("{addr} {offset} {}", route.name)).collect()
        };
        assert_eq!(shown(table.listeners().collect()), ["80 0 a", "81 1 a", "90 0 c", "81 0 d"]);
        assert_eq!(shown(table.datagrams().collect()), ["127.0.0.1:53 0 b", "90 0 c"]);
        assert_eq!((table.sockets(), Table::default().sockets()), (5, 0));
    }

    #[test]
    fn a_range_that_a_rule_leads_to_its_first_port_has_one_socket() {
        let policy = Policy { port_ranges: PortRanges::Rule, ..Policy::default() };
        let led = Route { policy: Arc::new(policy), ..route("a", Protocol::Tcp, "80-89", "app:80") };
        assert!(led.is_led_by_a_rule() && !route("a", Protocol::Tcp, "80-89", "app:80").is_led_by_a_rule());
        let ports: Vec<_> = table(&[led]).listeners().map(|(addr, ..)| addr).collect();
        assert_eq!(ports, [ListenAddr::Any(80)]);
    }

    #[test]
    fn a_part_of_a_route_has_what_its_protocol_has() {
        let selector = Selector { sni: vec![ServerName::Exact("a.b".into())], alpn: vec![] };
        let both =
            Arc::new(Route { selector: selector.clone(), ..route("a", Protocol::TcpUdp, "80", "app:80") });
        let (tcp, udp) = (both.part(Protocol::Tcp).unwrap(), both.part(Protocol::Udp).unwrap());
        assert_eq!((&tcp.selector, &udp.selector), (&selector, &Selector::default()));
        assert_eq!((tcp.policy.protocol, tcp.policy.on_vanish), (Protocol::Tcp, Some(OnVanish::Keep)));
        assert_eq!((udp.policy.protocol, udp.policy.on_vanish), (Protocol::Udp, Some(OnVanish::Cut)));
        assert_eq!((&tcp.name, &udp.listen), (&both.name, &both.listen));
        for (own, other) in [(Protocol::Tcp, Protocol::Udp), (Protocol::Udp, Protocol::Tcp)] {
            let route = Arc::new(route("a", own, "80", "app:80"));
            assert!(route.part(own).is_some_and(|part| Arc::ptr_eq(&part, &route)));
            assert_eq!(route.part(other), None);
        }
    }

    #[test]
    fn an_original_destination_is_where_the_client_wanted_to_go() {
        assert!(route("a", Protocol::Tcp, "80", "original-destination").is_original());
        assert!(!route("a", Protocol::Tcp, "80", "app:80").is_original());
        let source = Arc::new(Source { client: true, ..Source::default() });
        let policy = Arc::new(Policy { source: Some(source.clone()), ..Policy::default() });
        let of = Route { policy, ..route("a", Protocol::Tcp, "80", "app:80") };
        assert_eq!(of.source_of(&of.upstream[0]), Some(&source));
        let off = UpstreamEntry { source: Some(None), ..of.upstream[0].clone() };
        assert_eq!(of.source_of(&off), None);
        assert_eq!(route("a", Protocol::Tcp, "80", "app:80").source_of(&of.upstream[0]), None);
    }

    #[test]
    fn routes_that_are_the_same_are_shared_with_the_table_before() {
        let [a, b, other] =
            ["app:80", "app:81", "app:82"].map(|upstream| route("a", Protocol::Tcp, "80", upstream));
        let b = Route { name: "b".into(), ..b };
        let old = table(&[a.clone(), b.clone()]);
        let new = table(&[other.clone(), b.clone()]).keeping(&old);
        assert_eq!(*new.routes["a"], other);
        assert!(Arc::ptr_eq(&new.routes["b"], &old.routes["b"]));
        assert_eq!(new.routes.len(), 2);
        // What has gone does not come back.
        assert_eq!(table(std::slice::from_ref(&a)).keeping(&old).routes.len(), 1);
        // Nothing is copied where all are shared already.
        let shared = old.clone();
        assert!(Arc::ptr_eq(&shared.keeping(&old).routes, &old.routes));
    }

    #[test]
    fn a_route_that_is_held_is_not_served_and_still_known() {
        let all =
            [("a", "80"), ("b", "81")].map(|(name, listen)| route(name, Protocol::Tcp, listen, "app:80"));
        let table = table(&all).holding(|name| name == "b");
        let names = |routes: &BTreeMap<String, Arc<Route>>| routes.keys().cloned().collect::<Vec<_>>();
        assert_eq!((names(&table.routes), names(&table.held)), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(table.all_routes().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let known = ["a", "b", "c"].map(|name| table.route(name).map(|route| route.name.as_str()));
        assert_eq!(known, [Some("a"), Some("b"), None]);
        assert_eq!(table.sockets(), 1);
    }

    #[test]
    fn the_log_is_shown_as_it_is_written() {
        let shown = |settings: LogSettings| settings.entries().map(|(key, value)| format!("{key} {value}"));
        assert_eq!(shown(LogSettings::default()), ["level info", "format text", "access stderr"]);
        for (access, word) in [
            (LogTarget::Off, "off"),
            (LogTarget::Stdout, "stdout"),
            (LogTarget::File("/var/log/a".into()), "/var/log/a"),
        ] {
            let settings = LogSettings { level: "warn".into(), format: LogFormat::Json, access };
            assert_eq!(
                shown(settings),
                ["level warn".to_owned(), "format json".to_owned(), format!("access {word}")]
            );
        }
    }
}
