//! The way from one table to the next.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::concern::Concern;
use super::keys;
use crate::model::{
    AdminSettings, EditsSettings, FleetSettings, ListenAddr, LogSettings, OnChange, ProcessLimits,
    ProcessSettings, Protocol, Route, SocketAccess, Table, units,
};

/// The difference of two maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta<K, V> {
    /// Keys of the new map only.
    pub added: BTreeMap<K, V>,
    /// Keys of the old map only, with their old values.
    pub removed: BTreeMap<K, V>,
    /// Keys of both with different values: old, new.
    pub changed: BTreeMap<K, (V, V)>,
}

impl<K: Ord + Clone, V: PartialEq + Clone> Delta<K, V> {
    /// What turns `old` into `new`.
    pub fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let (mut added, mut removed, mut changed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        // Both are sorted: one walk through the two of them.
        let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (olds.peek(), news.peek()) {
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Delta { added, removed, changed },
            };
            let left = if order.is_le() { olds.next() } else { None };
            let right = if order.is_ge() { news.next() } else { None };
            match (left, right) {
                (Some((key, old)), Some((_, new))) if old != new => {
                    changed.insert(key.clone(), (old.clone(), new.clone()));
                }
                (Some((key, old)), None) => drop(removed.insert(key.clone(), old.clone())),
                (None, Some((key, new))) => drop(added.insert(key.clone(), new.clone())),
                _ => {}
            }
        }
    }

    /// Carries the difference out on a map.
    pub fn apply(&self, map: &mut BTreeMap<K, V>) {
        map.retain(|key, _| !self.removed.contains_key(key));
        map.extend(self.added.iter().map(|(k, v)| (k.clone(), v.clone())));
        map.extend(self.changed.iter().map(|(k, (_, new))| (k.clone(), new.clone())));
    }

    /// Whether the maps are equal.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What one listening address forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its route; of several, the one that takes the rest, where there is one.
    pub route: Arc<Route>,
    /// Its place in the route's port range.
    pub offset: u16,
    /// Who may connect to a Unix socket. `None`: everybody.
    pub access: Option<Arc<SocketAccess>>,
    /// Other routes at this address, in the order of their names: `sni` or `alpn` choose one of them for each client.
    pub beside: Vec<Arc<Route>>,
}

impl Binding {
    /// An address of one route.
    pub fn alone(route: Arc<Route>, offset: u16) -> Self {
        Binding { route, offset, access: None, beside: Vec::new() }
    }

    /// Whether the client's hello must be read before its route is known.
    pub fn is_sniffed(&self) -> bool {
        !self.beside.is_empty() || !self.route.selector.is_rest()
    }

    /// Who may connect, if the address is a Unix socket.
    pub fn access(&self) -> &SocketAccess {
        self.access.as_deref().unwrap_or(&SocketAccess::EVERYBODY)
    }

    /// Whether both serve their clients alike.
    pub fn serves_like(&self, other: &Binding) -> bool {
        (&self.route, self.offset, &self.beside) == (&other.route, other.offset, &other.beside)
    }

    /// Whether a rule of the firewall leads clients here that wanted to go elsewhere.
    pub fn is_led_to(&self) -> bool {
        self.routes().any(|route| route.is_original() || route.is_led_by_a_rule())
    }

    /// Every route at the address.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        std::iter::once(&self.route).chain(&self.beside)
    }
}

/// The way from one table to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By name: for people, and for `on_change`.
    pub routes: Delta<String, Arc<Route>>,
    /// By address: the TCP sockets to open, to close, and to forward elsewhere.
    pub listeners: Delta<ListenAddr, Binding>,
    /// The same of UDP.
    pub datagrams: Delta<ListenAddr, Binding>,
    /// The new routes with `enabled = false`, where they differ.
    pub disabled: Option<Vec<Arc<Route>>>,
    /// The new `[process]`, where it differs.
    pub process: Option<ProcessSettings>,
    /// The new routes that are held by hand, where they differ.
    pub held: Option<BTreeMap<String, Arc<Route>>>,
    /// The new `[log]`, where it differs.
    pub log: Option<LogSettings>,
    /// The new `[limits]`, where it differs.
    pub limits: Option<ProcessLimits>,
    /// The new `[fleet]`, where it differs.
    pub fleet: Option<FleetSettings>,
    /// The new `[edits]`, where it differs.
    pub edits: Option<EditsSettings>,
    /// The new `[admin]`, where it differs.
    pub admin: Option<Option<AdminSettings>>,
}

impl Plan {
    /// What turns `old` into `new`.
    pub fn between(old: &Table, new: &Table) -> Self {
        let routes = Delta::between(&old.routes, &new.routes);
        let touched = touched(&routes, old, new);
        let is_touched = |addr: &ListenAddr| touched.contains(addr);
        let datagrams =
            |table: &Table| bindings(table.datagrams().filter(|(addr, ..)| touched.contains(addr)));
        Plan {
            routes,
            listeners: Delta::between(&sockets_of(old, is_touched), &sockets_of(new, is_touched)),
            datagrams: Delta::between(&datagrams(old), &datagrams(new)),
            disabled: (old.disabled != new.disabled).then(|| new.disabled.clone()),
            process: (old.process != new.process).then(|| new.process.clone()),
            held: (old.held != new.held).then(|| new.held.clone()),
            log: (old.log != new.log).then(|| new.log.clone()),
            limits: (old.limits != new.limits).then_some(new.limits),
            fleet: (old.fleet != new.fleet).then(|| new.fleet.clone()),
            edits: (old.edits != new.edits).then_some(new.edits),
            admin: (old.admin != new.admin).then(|| new.admin.clone()),
        }
    }

    /// The table that `old` becomes. For `old` as it was given to [`Plan::between`], that is `new`.
    pub fn apply(&self, old: &Table) -> Table {
        let mut table = old.clone();
        self.routes.apply(Arc::make_mut(&mut table.routes));
        if let Some(disabled) = &self.disabled {
            table.disabled = disabled.clone();
        }
        if let Some(held) = &self.held {
            table.held = held.clone();
        }
        let mut bindings = sockets_of(old, |_| true);
        self.listeners.apply(&mut bindings);
        let said = bindings.into_iter().filter_map(|(addr, binding)| match addr {
            ListenAddr::Unix(path) => Some((path, binding.access?)),
            ListenAddr::Any(_) | ListenAddr::Ip(_) => None,
        });
        table.sockets = said.collect();
        if let Some(process) = &self.process {
            table.process = process.clone();
        }
        if let Some(log) = &self.log {
            table.log = log.clone();
        }
        if let Some(limits) = self.limits {
            table.limits = limits;
        }
        if let Some(fleet) = &self.fleet {
            table.fleet = fleet.clone();
        }
        if let Some(edits) = self.edits {
            table.edits = edits;
        }
        if let Some(admin) = &self.admin {
            table.admin = admin.clone();
        }
        table
    }

    /// The Unix sockets that stay open and that others may connect to: with what they have, and what they will have.
    pub fn access(&self) -> impl Iterator<Item = (&ListenAddr, &SocketAccess, &SocketAccess)> {
        let stay = self.listeners.changed.iter().map(|(addr, (old, new))| (addr, old.access(), new.access()));
        stay.filter(|(_, old, new)| old != new)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let untouched = self.routes.is_empty() && self.listeners.is_empty() && self.datagrams.is_empty();
        untouched
            && self.disabled.is_none()
            && self.process.is_none()
            && self.held.is_none()
            && self.log.is_none()
            && self.limits.is_none()
            && self.fleet.is_none()
            && self.edits.is_none()
            && self.admin.is_none()
    }
}

/// The addresses of the routes that differ, and the Unix sockets whose access does. At all others nothing does: of ten thousand
/// routes an edit changes a few.
fn touched(routes: &Delta<String, Arc<Route>>, old: &Table, new: &Table) -> HashSet<ListenAddr> {
    let both = routes.changed.values().flat_map(|(old, new)| [old, new]);
    let differ = routes.added.values().chain(routes.removed.values()).chain(both);
    let addrs = differ.flat_map(|route| route.listen.iter().flat_map(|spec| spec.addrs()));
    let access = Delta::between(&old.sockets, &new.sockets);
    let paths = access.added.into_keys().chain(access.removed.into_keys()).chain(access.changed.into_keys());
    addrs.map(|(_, addr)| addr).chain(paths.map(ListenAddr::Unix)).collect()
}

/// Those of the TCP and Unix sockets of a table that are wanted.
fn sockets_of(table: &Table, wanted: impl Fn(&ListenAddr) -> bool) -> BTreeMap<ListenAddr, Binding> {
    let mut bindings = bindings(table.listeners().filter(|(addr, ..)| wanted(addr)));
    for (path, access) in &table.sockets {
        // A route that was drained by hand has none.
        if let Some(binding) = bindings.get_mut(&ListenAddr::Unix(path.clone())) {
            binding.access = Some(access.clone());
        }
    }
    bindings
}

fn bindings(addresses: impl Iterator<Item = (ListenAddr, u16, Arc<Route>)>) -> BTreeMap<ListenAddr, Binding> {
    let mut bindings: BTreeMap<ListenAddr, Binding> = BTreeMap::new();
    for (addr, offset, route) in addresses {
        match bindings.entry(addr) {
            Entry::Vacant(place) => {
                place.insert(Binding::alone(route, offset));
            }
            Entry::Occupied(mut place) => {
                let binding = place.get_mut();
                let mut other = route;
                if other.selector.is_rest() {
                    std::mem::swap(&mut binding.route, &mut other);
                }
                binding.beside.push(other);
                binding.beside.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
    }
    bindings
}

/// What a person reads of it: one line for each route, one for sockets, one for `[log]`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changes\n");
        }
        for (name, route) in &self.routes.added {
            writeln!(f, "+ route \"{name}\": {} -> {}", joined(&route.listen), joined(&route.upstream))?;
        }
        for (name, route) in &self.routes.removed {
            writeln!(f, "- route \"{name}\": {}; {}", joined(&route.listen), open_connections(route, None))?;
        }
        for (name, (old, new)) in &self.routes.changed {
            let changes: Vec<String> = changes(old, new).collect();
            writeln!(f, "~ route \"{name}\": {}; {}", changes.join(", "), open_connections(old, Some(new)))?;
        }
        if let Some(disabled) = &self.disabled {
            let names = disabled.iter().map(|route| format!("\"{}\"", route.name)).collect::<Vec<_>>();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            writeln!(f, "  routes with enabled = false: {names}")?;
        }
        if let Some(held) = &self.held {
            let names = held.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            writeln!(f, "  routes taken out by hand: {names}")?;
        }
        for (addr, old, new) in self.access() {
            let changes = access_changes(old, new).map(|(key, old, new)| format!("{key} {old} -> {new}"));
            writeln!(f, "~ {addr}: {}", changes.collect::<Vec<_>>().join(", "))?;
        }
        sockets(f, "sockets", &self.listeners)?;
        sockets(f, "udp sockets", &self.datagrams)?;
        if let Some(process) = &self.process {
            let entries = process.entries().map(|(key, value)| format!("{key} {value} (at the next start)"));
            writeln!(f, "~ process: {}", entries.join(", "))?;
        }
        if let Some(log) = &self.log {
            let entries = log.entries().map(|(key, value)| format!("{key} {value}"));
            writeln!(f, "~ log: {}", entries.join(", "))?;
        }
        if let Some(limits) = self.limits {
            let entries = limits.entries().map(|(key, value)| format!("{key} {value}"));
            writeln!(f, "~ limits: {}", entries.join(", "))?;
        }
        if let Some(fleet) = &self.fleet {
            let entries = fleet.entries().map(|(key, value)| format!("{key} {value}"));
            writeln!(f, "~ fleet: {}", entries.join(", "))?;
        }
        if let Some(edits) = self.edits {
            let entries = edits.entries().map(|(key, value)| format!("{key} {value}"));
            writeln!(f, "~ edits: {}", entries.join(", "))?;
        }
        match &self.admin {
            None => {}
            Some(None) => writeln!(f, "- admin")?,
            Some(Some(admin)) => {
                let entries = admin.entries().map(|(key, value)| format!("{key} {value}"));
                writeln!(f, "~ admin: {}", entries.join(", "))?;
            }
        }
        Ok(())
    }
}

fn sockets(f: &mut fmt::Formatter<'_>, what: &str, delta: &Delta<ListenAddr, Binding>) -> fmt::Result {
    let Delta { added, removed, changed } = delta;
    let moved = changed.iter().filter(|(_, (old, new))| old.route.name != new.route.name);
    for (verb, addrs) in [
        ("open", added.keys().collect::<Vec<_>>()),
        ("close", removed.keys().collect()),
        ("stay open for another route", moved.map(|(addr, _)| addr).collect()),
    ] {
        if !addrs.is_empty() {
            writeln!(f, "  {what} that {verb}: {}", shown(&addrs))?;
        }
    }
    Ok(())
}

fn joined(specs: &[impl fmt::Display]) -> String {
    specs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn changes(old: &Route, new: &Route) -> impl Iterator<Item = String> {
    key_changes(old, new).into_iter().map(|(key, old, new)| format!("{key} {old} -> {new}"))
}

/// Each key of a route with its value, both as the file has them.
fn entries(route: &Route) -> impl Iterator<Item = (&'static str, String)> {
    let addresses = [("listen", joined(&route.listen)), ("upstream", joined(&route.upstream))];
    addresses.into_iter().chain(route.selector.entries()).chain(keys::entries(&route.policy))
}

/// Each key of a route that changes, with both values as the file has them.
pub fn key_changes(old: &Route, new: &Route) -> Vec<(&'static str, String, String)> {
    let pairs = entries(old).zip(entries(new));
    pairs.filter(|(old, new)| old != new).map(|((key, old), (_, new))| (key, old, new)).collect()
}

/// The mode and the group of a Unix socket, where they change, with both values.
pub fn access_changes(
    old: &SocketAccess,
    new: &SocketAccess,
) -> impl Iterator<Item = (&'static str, String, String)> {
    let pairs = old.entries().into_iter().zip(new.entries());
    pairs.filter(|(old, new)| old != new).map(|((key, old), (_, new))| (key, old, new))
}

/// What becomes of the open connections: the word of the route that the edit leaves, or of the one that it removes.
fn open_connections(old: &Arc<Route>, new: Option<&Arc<Route>>) -> String {
    let of = |protocol| Concern::between(Some(old), new, protocol).show();
    let policy = &new.unwrap_or(old).policy;
    let what = match (of(Protocol::Tcp), of(Protocol::Udp)) {
        (None, None) => return "what is open goes on".to_owned(),
        // All go on, those that are concerned as well.
        (Some(_), None) if policy.on_change == OnChange::Keep => "open connections".to_owned(),
        (Some(tcp), None) => format!("open connections{tcp}"),
        (None, Some(udp)) => format!("sessions{udp}"),
        (Some(tcp), Some(udp)) if tcp == udp => format!("open connections and sessions{tcp}"),
        (Some(tcp), Some(udp)) => format!("open connections{tcp}, and sessions{udp},"),
    };
    match policy.on_change {
        OnChange::Keep => format!("{what} go on"),
        OnChange::Drain => format!("{what} have {} to end", units::show(policy.timeouts.drain)),
        OnChange::Cut => format!("{what} are cut"),
    }
}

/// Addresses; of many, the first and the last.
fn shown(addrs: &[&ListenAddr]) -> String {
    const MANY: usize = 6;
    match addrs {
        [first, .., last] if addrs.len() > MANY => format!("{first} ... {last} ({})", addrs.len()),
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
