//! The routes: from what was typed to what it means, each by itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::keys;
use super::listeners::{self, Listen, UnixSocket};
use super::own::Own;
use super::place::{self, Place};
use super::placed::{self, At, Placed};
use super::read::text;
use super::selector::{self, Serves};
use super::unknown::{self, Table};
use super::upstreams;
use super::values::Text;
use crate::model::{Fault, ListenSpec, Policy, Protocol, Route, UpstreamEntry, UpstreamSpec};

/// A route as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    pub header: Range<usize>,
    pub name: Option<At<String>>,
    /// `enabled`.
    pub enabled: bool,
    pub listen: Vec<At<ListenSpec>>,
    pub sockets: Vec<At<UnixSocket>>,
    pub upstream: Vec<At<UpstreamEntry>>,
    pub serves: Serves,
    /// Routes with the same policy share it.
    pub policy: Arc<Policy>,
    /// The file says `sniff_timeout`, here or in `[defaults]`: that some clients wait for it is meant.
    pub says_sniff_timeout: bool,
}

impl Draft {
    /// What the route is called: its `name`, or its first listener, of UDP with `/udp` after it.
    pub(super) fn called(&self) -> Cow<'_, str> {
        let protocol = if self.policy.protocol == Protocol::Udp { "/udp" } else { "" };
        match (&self.name, self.listen.first()) {
            (Some(name), _) => Cow::Borrowed(&name.value),
            (None, Some(listen)) => format!("{}{protocol}", listen.value).into(),
            (None, None) => Cow::Borrowed(""),
        }
    }

    /// The route, of a draft without a fault.
    pub(super) fn finish(&self) -> Arc<Route> {
        Arc::new(Route {
            name: self.called().into_owned(),
            listen: self.listen.iter().map(|listen| listen.value.clone()).collect(),
            upstream: self.upstream.iter().map(|upstream| upstream.value.clone()).collect(),
            selector: self.serves.finish(),
            policy: self.policy.clone(),
        })
    }

    /// Moves every place with the text, which began at `from` and begins at `to` now.
    pub(super) fn shift(&mut self, from: usize, to: usize) {
        let Draft { header, name, listen, sockets, upstream, serves, .. } = self;
        placed::shift(header, from, to);
        name.iter_mut().for_each(|name| name.shift(from, to));
        listen.iter_mut().for_each(|listen| listen.shift(from, to));
        sockets.iter_mut().for_each(|socket| socket.shift(from, to));
        upstream.iter_mut().for_each(|upstream| upstream.shift(from, to));
        serves.sni.iter_mut().for_each(|name| name.shift(from, to));
        serves.alpn.iter_mut().for_each(|name| name.shift(from, to));
    }
}

/// Reads one `[[route]]`.
pub(super) fn read(
    table: &DeTable<'_>,
    header: Range<usize>,
    defaults: &Policy,
    faults: &mut Vec<Placed>,
) -> Draft {
    let place = Place::new(unknown::route_schema(), table, header);
    unknown::note(place, Table::Route, faults);
    let own: Own = place::read(place, faults);
    let mut policy = keys::read(place, defaults, faults);
    keys::fit(place, &mut policy, &["sni", "alpn"], faults);
    let Listen { addresses: listen, sockets } = listeners::read(place, own.listen, faults);
    let upstream = upstreams::read(place, own.upstream, faults);
    let mut serves = selector::read(place, own.sni, own.alpn, faults);
    keys::tls::fit_route(place, &mut policy, &mut serves.alpn, &upstream, faults);
    keys::source::fit_route(place, &policy, &upstream, faults);
    keys::access::fit_route(place, &policy, &listen, &upstream, faults);
    let draft = Draft {
        header: place.header(),
        enabled: own.enabled.unwrap_or(true),
        name: name(place, own.name, faults),
        listen,
        sockets,
        upstream,
        serves,
        policy: Arc::new(policy),
        says_sniff_timeout: place.table.contains_key("sniff_timeout"),
    };
    unix_of_udp(&draft, faults);
    many_hosts(&draft, faults);
    same_size(&draft, faults);
    twice(&draft.upstream, faults);
    draft
}

fn name(place: Place<'_>, typed: Option<Text>, faults: &mut Vec<Placed>) -> Option<At<String>> {
    const LONGEST: usize = 128;
    let value = place.table.get("name")?;
    let text = text("name", &typed?, value, faults)?.to_owned();
    let fault = if text.trim().is_empty() {
        Fault::new("the name is empty", "give the route a name, or remove the line")
    } else if text.contains(char::is_control) {
        Fault::new("the name has a control character in it", "write it with letters, digits and `-`")
    } else if text.trim() != text {
        Fault::new("the name begins or ends with a space", format!("write \"{}\"", text.trim()))
    } else if text.chars().count() > LONGEST {
        Fault::new(format!("the name has more than {LONGEST} characters"), "choose a shorter one")
    } else {
        return Some(At { value: text, at: value.span() });
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A range of upstream ports has as many ports as each listener.
fn same_size(draft: &Draft, faults: &mut Vec<Placed>) {
    for upstream in draft.upstream.iter().filter(|upstream| upstream.value.spec.count() > 1) {
        let there = upstream.value.spec.count();
        let Some(listen) = draft.listen.iter().find(|listen| listen.value.count() != there) else { continue };
        let here = listen.value.count();
        let fault = Fault::new(
            format!("the upstream has {there} ports, and the listener {}", ports(here)),
            "write as many ports on both sides, or one port for the upstream",
        );
        let placed = Placed::new(upstream.at.clone(), fault).label(ports(there));
        faults.push(placed.also(listen.at.clone(), ports(here)));
    }
}

fn ports(count: u16) -> String {
    if count == 1 { "1 port".to_owned() } else { format!("{count} ports") }
}

fn twice(upstream: &[At<UpstreamEntry>], faults: &mut Vec<Placed>) {
    let mut seen: HashMap<&UpstreamSpec, &Range<usize>> = HashMap::new();
    for entry in upstream {
        if let Some(first) = seen.insert(&entry.value.spec, &entry.at) {
            let message = format!("`{}` is listed twice in one route", entry.value.spec);
            let placed = Placed::new(entry.at.clone(), Fault::new(message, "remove one of them"));
            faults.push(placed.also(first.clone(), "first here"));
        }
    }
}

/// Notes the Unix sockets of a UDP route.
fn unix_of_udp(draft: &Draft, faults: &mut Vec<Placed>) {
    if !draft.policy.protocol.has(Protocol::Udp) {
        return;
    }
    let listen = draft.listen.iter().filter(|listen| matches!(listen.value, ListenSpec::Unix(_))).map(place);
    let upstream = draft.upstream.iter().filter(|entry| matches!(entry.value.spec, UpstreamSpec::Unix(_)));
    for at in listen.chain(upstream.map(place)) {
        let fault = Fault::new("a udp route cannot have a Unix socket", "write an address with a port");
        faults.push(Placed::new(at, fault));
    }
}

/// Notes addresses that stand for many hosts: no group is joined, and nothing is sent to several hosts.
fn many_hosts(draft: &Draft, faults: &mut Vec<Placed>) {
    let mut note = |at: &Range<usize>, message: String, help: String| {
        faults.push(Placed::new(at.clone(), Fault::new(message, help)));
    };
    for At { value, at } in &draft.listen {
        if let ListenSpec::Ip(ip, ports) = value
            && ip.is_multicast()
        {
            let message = format!("`{ip}` is a multicast address, and Portway joins no group");
            note(
                at,
                message,
                format!("write \"{ports}\" for every address of this host; groups need a multicast router"),
            );
        }
    }
    for At { value, at } in &draft.upstream {
        let UpstreamSpec::Ip(ip, ports) = &value.spec else { continue };
        let help = format!("write the address of one host: \"10.0.0.7:{ports}\"");
        if ip.is_multicast() {
            note(at, format!("`{ip}` is a multicast address: an upstream is one host"), help);
        } else if *ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            note(at, format!("`{ip}` is the broadcast address: an upstream is one host"), help);
        }
    }
}

fn place<T>(entry: &At<T>) -> Range<usize> {
    entry.at.clone()
}
