//! What the routes mean together: no address twice, no name twice, no circle.
//!
//! A file may have ten thousand routes and a range sixty-five thousand ports, so nothing here looks at each pair or at
//! each port: listeners stand in lists by host, sorted by port, and are found by binary search.

use std::borrow::Cow;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::PathBuf;

use super::placed::{At, Placed};
use super::route::Draft;
use super::shared::{self, SharedAddresses};
use super::suggest::list;
use crate::model::addr::straight;
use crate::model::{AdminSettings, Fault, ListenSpec, Ports, Protocol, UpstreamSpec};

const WILD4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const WILD6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Notes what is wrong between the routes of a file, and which of them forwards to itself.
pub(super) fn check(drafts: &[&Draft], faults: &mut Vec<Placed>) {
    check_all(drafts, itself, faults);
}

/// Notes what is wrong between the routes of several files, each of which was checked by itself.
pub(super) fn check_together(drafts: &[&Draft], faults: &mut Vec<Placed>) {
    check_all(drafts, |_, _| {}, faults);
}

/// `each`: what else is noted of each route.
fn check_all(drafts: &[&Draft], each: impl Fn(&Draft, &mut Vec<Placed>), faults: &mut Vec<Placed>) {
    names(drafts, faults);
    // A TCP and a UDP socket may have the same port, and neither forwards to the other.
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let drafts = drafts.iter().copied().filter(|draft| draft.policy.protocol.has(protocol));
        let drafts: Vec<&Draft> = drafts.collect();
        let mut found = Vec::new();
        let shared = match protocol {
            // Datagrams name no server.
            Protocol::Udp => SharedAddresses::default(),
            _ => shared::find(&drafts, &mut found),
        };
        let listeners = Listeners { udp: protocol == Protocol::Udp, ..Listeners::of(&drafts, &shared) };
        listeners.overlaps(&mut found);
        for draft in &drafts {
            each(draft, &mut found);
        }
        circles(&drafts, &listeners, &mut found);
        // Of routes for both protocols a mistake is one mistake, not two.
        let known: HashSet<_> = faults.iter().map(said).collect();
        found.retain(|placed| !known.contains(&said(placed)));
        faults.extend(found);
    }
}

/// Where a fault is, and what.
fn said(placed: &Placed) -> (Option<usize>, String) {
    (placed.at.as_ref().map(|at| at.start), placed.fault.message.clone())
}

fn names(drafts: &[&Draft], faults: &mut Vec<Placed>) {
    let mut seen: HashMap<Cow<'_, str>, &Draft> = HashMap::with_capacity(drafts.len());
    for &draft in drafts {
        let name = draft.called();
        let place = |draft: &Draft| {
            let listen = || draft.listen.first().map_or(draft.header.clone(), |listen| listen.at.clone());
            draft.name.as_ref().map_or_else(listen, |name| name.at.clone())
        };
        // Two routes without names that share their first listener are seen as an overlap.
        match seen.get(&name) {
            Some(first) if !name.is_empty() && (first.name.is_some() || draft.name.is_some()) => {
                let unnamed = first.name.is_none() || draft.name.is_none();
                let why =
                    if unnamed { "; a route without a name has that of its first listener" } else { "" };
                let fault = Fault::new(
                    format!("two routes have the name `{name}`"),
                    format!("give one of them another name{why}"),
                );
                faults.push(Placed::new(place(draft), fault).also(place(first), "first here"));
            }
            _ => {
                seen.insert(name, draft);
            }
        }
    }
}

/// One entry of `listen`.
#[derive(Clone, Copy)]
struct Entry<'d> {
    route: usize,
    listen: &'d At<ListenSpec>,
}

/// One entry with ports, in the list of its host.
#[derive(Clone, Copy)]
struct Interval<'d> {
    ports: Ports,
    entry: Entry<'d>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    /// `"8080"`: both families.
    Any,
    Ip(IpAddr),
}

#[derive(Default)]
struct Listeners<'d> {
    hosts: BTreeMap<Host, Vec<Interval<'d>>>,
    unix: HashMap<PathBuf, Entry<'d>>,
    pairs: Vec<(Entry<'d>, Entry<'d>)>,
    shared: Option<&'d SharedAddresses>,
    udp: bool,
}

impl<'d> Listeners<'d> {
    /// An address that routes share by `sni` counts once.
    fn of(drafts: &[&'d Draft], shared: &'d SharedAddresses) -> Self {
        let mut all = Self { shared: Some(shared), ..Self::default() };
        for (route, draft) in drafts.iter().enumerate() {
            let again = |listen: &&At<ListenSpec>| shared.again.contains(&listen.at.start);
            for listen in draft.listen.iter().filter(|listen| !again(listen)) {
                all.add(Entry { route, listen });
            }
        }
        for intervals in all.hosts.values_mut() {
            intervals.sort_by_key(|interval| (interval.ports.first(), interval.entry.listen.at.start));
            let mut widest: Option<Interval<'_>> = None;
            for interval in intervals.iter() {
                match widest {
                    Some(wide) if wide.ports.shared(interval.ports).is_some() => {
                        all.pairs.push((wide.entry, interval.entry));
                    }
                    _ => {}
                }
                if widest.is_none_or(|wide| wide.ports.last() < interval.ports.last()) {
                    widest = Some(*interval);
                }
            }
        }
        all
    }

    fn add(&mut self, entry: Entry<'d>) {
        let (host, ports) = match &entry.listen.value {
            ListenSpec::Any(ports) => (Host::Any, *ports),
            ListenSpec::Ip(ip, ports) => (Host::Ip(*ip), *ports),
            ListenSpec::Unix(path) => {
                match self.unix.entry(straight(path)) {
                    Vacant(place) => drop(place.insert(entry)),
                    Occupied(first) => self.pairs.push((*first.get(), entry)),
                }
                return;
            }
        };
        self.hosts.entry(host).or_default().push(Interval { ports, entry });
    }

    /// A listener of this host on one of the ports. Sure to find one where no two listeners of the host overlap.
    fn find(&self, host: Host, ports: Ports) -> Option<Entry<'d>> {
        let intervals = self.hosts.get(&host)?;
        let after = intervals.partition_point(|interval| interval.ports.first() <= ports.last());
        let last = intervals.get(after.checked_sub(1)?)?;
        last.ports.shared(ports).map(|_| last.entry)
    }

    /// Notes each listener that shares an address with another one. The rule is `ListenAddr::overlaps`, except that
    /// one route may have `0.0.0.0` and `[::]` of the same ports.
    fn overlaps(&self, faults: &mut Vec<Placed>) {
        for (a, b) in &self.pairs {
            faults.push(shared(*a, *b, self.udp));
        }
        for (host, intervals) in &self.hosts {
            let wider: &[Host] = match host {
                Host::Any => &[],
                Host::Ip(ip) if *ip == WILD6 => &[Host::Any],
                Host::Ip(ip) if *ip == WILD4 => &[Host::Any, Host::Ip(WILD6)],
                Host::Ip(IpAddr::V4(_)) => &[Host::Any, Host::Ip(WILD4)],
                Host::Ip(IpAddr::V6(_)) => &[Host::Any, Host::Ip(WILD6)],
            };
            for interval in intervals {
                let others = wider.iter().filter_map(|wide| self.find(*wide, interval.ports));
                let other = others.into_iter().find(|other| !both_families(interval.entry, *other));
                if let Some(other) = other {
                    faults.push(shared(interval.entry, other, self.udp));
                }
            }
        }
    }

    /// The listeners that would accept a connection to this upstream.
    fn reached_by(&self, upstream: &UpstreamSpec) -> Vec<Entry<'d>> {
        let (hosts, ports) = match upstream {
            UpstreamSpec::Unix(path) => return self.unix.get(&straight(path)).copied().into_iter().collect(),
            UpstreamSpec::Name(name, ports) if is_localhost(name) => {
                let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), WILD4, WILD6];
                (here.map(Host::Ip).into_iter().chain([Host::Any]).collect(), *ports)
            }
            UpstreamSpec::Name(..) | UpstreamSpec::Original => return Vec::new(),
            UpstreamSpec::Ip(ip, ports) if ip.is_loopback() => {
                let wild = if ip.is_ipv4() { WILD4 } else { WILD6 };
                (vec![Host::Ip(*ip), Host::Ip(wild), Host::Any], *ports)
            }
            UpstreamSpec::Ip(ip, ports) => (vec![Host::Ip(*ip)], *ports),
        };
        hosts.into_iter().filter_map(|host| self.find(host, ports)).collect()
    }
}

fn is_localhost(name: &str) -> bool {
    name.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

/// Whether they are `0.0.0.0` and `[::]` of the same ports in one route.
fn both_families(a: Entry<'_>, b: Entry<'_>) -> bool {
    match (&a.listen.value, &b.listen.value) {
        (ListenSpec::Ip(x, these), ListenSpec::Ip(y, those)) => {
            a.route == b.route && x != y && these == those && x.is_unspecified() && y.is_unspecified()
        }
        _ => false,
    }
}

fn shared(a: Entry<'_>, b: Entry<'_>, udp: bool) -> Placed {
    let (first, again) = if a.listen.at.start <= b.listen.at.start { (a, b) } else { (b, a) };
    let (x, y) = (&first.listen.value, &again.listen.value);
    let one_route = first.route == again.route;
    let wild = |spec: &ListenSpec| match spec {
        ListenSpec::Any(_) => 2,
        ListenSpec::Ip(ip, _) => u8::from(ip.is_unspecified()),
        ListenSpec::Unix(_) => 0,
    };
    let message = if x == y {
        format!("`{y}` is listened on twice")
    } else if x.ports().is_none() {
        format!("`{y}` and `{x}` are one file")
    } else {
        let ports = x.ports().zip(y.ports()).and_then(|(x, y)| x.shared(y));
        let ports = ports.map_or_else(String::new, |ports| match ports.count() {
            1 if x.count() == 1 && y.count() == 1 => String::new(),
            1 => format!(" in port {ports}"),
            _ => format!(" in ports {ports}"),
        });
        format!("`{y}` overlaps `{x}`{ports}")
    };
    let help = if x == y || wild(x) == wild(y) {
        match (one_route, wild(x)) {
            (true, 1) if x != y => "give both the same ports".to_owned(),
            (true, _) => "remove one of them".to_owned(),
            (false, 1) if x != y => {
                "clients would reach either by chance: give one of them another port".to_owned()
            }
            (false, _) if x == y && !udp => {
                "give one of them another port or address; TLS clients can be told apart by `sni`".to_owned()
            }
            (false, _) => "give one of them another port or address".to_owned(),
        }
    } else {
        let (wide, narrow) = if wild(x) > wild(y) { (x, y) } else { (y, x) };
        match one_route {
            true => format!("`{wide}` takes every address already: remove `{narrow}`"),
            false => {
                format!("`{wide}` takes every address: give one of them another port, or list its addresses")
            }
        }
    };
    Placed::new(again.listen.at.clone(), Fault::new(message, help))
        .also(first.listen.at.clone(), "first here")
}

/// Notes the upstreams of a route that are its own listeners.
fn itself(draft: &Draft, faults: &mut Vec<Placed>) {
    let mut local = draft.upstream.iter().filter(|upstream| is_local(&upstream.value.spec)).peekable();
    if local.peek().is_none() {
        return;
    }
    let alone = SharedAddresses::default();
    let own = Listeners::of(&[draft], &alone);
    for upstream in local {
        if let Some(entry) = own.reached_by(&upstream.value.spec).first() {
            let fault = Fault::new(
                "the route forwards to itself",
                "`upstream` is where the service is: give it another port or host",
            );
            let placed = Placed::new(upstream.at.clone(), fault);
            faults.push(placed.also(entry.listen.at.clone(), "arrives here again"));
        }
    }
}

/// Whether it may be an address of this host; of a name other than `localhost`, only a resolver could tell.
fn is_local(upstream: &UpstreamSpec) -> bool {
    match upstream {
        UpstreamSpec::Name(name, _) => is_localhost(name),
        UpstreamSpec::Ip(..) | UpstreamSpec::Unix(_) => true,
        UpstreamSpec::Original => false,
    }
}

/// One route forwarding to another.
struct Step<'d> {
    to: usize,
    by: &'d Range<usize>,
}

/// Notes routes that forward to each other in a circle. Ranges are left out: what enters at one port of a range may leave
/// at another, and end. So are addresses that routes share: a client there may go elsewhere.
fn circles(drafts: &[&Draft], listeners: &Listeners<'_>, faults: &mut Vec<Placed>) {
    let steps: Vec<Vec<Step<'_>>> = drafts
        .iter()
        .enumerate()
        .map(|(from, draft)| {
            let single = draft.upstream.iter().filter(|upstream| upstream.value.spec.count() == 1);
            let steps = single.flat_map(|upstream| {
                let reached = listeners.reached_by(&upstream.value.spec).into_iter();
                let shared = |entry: &Entry<'_>| {
                    listeners.shared.is_some_and(|shared| shared.all.contains(&entry.listen.at.start))
                };
                let reached = reached.filter(|entry| entry.listen.value.count() == 1 && entry.route != from);
                let reached = reached.filter(move |entry| !shared(entry));
                reached.map(|entry| Step { to: entry.route, by: &upstream.at })
            });
            steps.collect()
        })
        .collect();
    let mut done = vec![false; drafts.len()];
    for start in (0..drafts.len()).filter(|start| !steps[*start].is_empty()) {
        // The routes from `start` to here, each with the step that is taken from it. A loop: a chain may be long.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        let mut on_path = HashMap::from([(start, 0)]);
        while !done[start] {
            let Some((route, next)) = path.last_mut() else { break };
            let Some(step) = steps[*route].get(*next) else {
                done[*route] = true;
                on_path.remove(route);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(back) = on_path.get(&step.to) {
                let circle: Vec<(usize, &Range<usize>)> =
                    path[*back..].iter().map(|(route, next)| (*route, steps[*route][next - 1].by)).collect();
                faults.push(circle_fault(drafts, &circle));
            } else if !done[step.to] {
                on_path.insert(step.to, path.len());
                path.push((step.to, 0));
            }
        }
    }
}

fn circle_fault(drafts: &[&Draft], circle: &[(usize, &Range<usize>)]) -> Placed {
    const NAMED: usize = 8;
    let names = circle.iter().take(NAMED).map(|(route, _)| format!("`{}`", drafts[*route].called()));
    let more = if circle.len() > NAMED { ", ..." } else { "" };
    let message = format!("the routes {}{more} forward in a circle", list(names, "and"));
    let fault = Fault::new(message, "a connection would loop forever: forward one of them to a service");
    let mut turns = circle.iter().enumerate().take(NAMED).map(|(index, (_, at))| {
        let (to, _) = circle[(index + 1) % circle.len()];
        ((*at).clone(), format!("forwards to `{}`", drafts[to].called()))
    });
    let Some((at, label)) = turns.next() else { return Placed::new(0..0, fault) };
    turns.fold(Placed::new(at, fault).label(label), |placed, (at, label)| placed.also(at, label))
}

/// A route and the endpoint cannot listen at one address. `place`: that of the endpoint.
pub(super) fn admin_overlaps<'d>(
    admin: &AdminSettings,
    place: &At<ListenSpec>,
    drafts: impl Iterator<Item = &'d Draft>,
    faults: &mut Vec<Placed>,
) {
    let port = admin.listen.port();
    for draft in drafts.filter(|draft| draft.policy.protocol.has(Protocol::Tcp)) {
        for listen in &draft.listen {
            let ports = listen.value.ports();
            let at = |port: u16| ports.map_or(0, |ports| port.saturating_sub(ports.first()));
            let offset = port.map_or(0, at);
            if offset >= listen.value.count() || !listen.value.at(offset).overlaps(&admin.listen) {
                continue;
            }
            let fault = Fault::new(
                format!("the admin endpoint and a route both listen on {}", admin.listen),
                "give one of them another address",
            );
            faults.push(Placed::new(place.at.clone(), fault).also(listen.at.clone(), "the route"));
        }
    }
}
