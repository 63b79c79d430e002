//! The routes that share an address by `sni` or `alpn`: what they are to each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::placed::{At, Placed};
use super::route::Draft;
use crate::model::{Fault, ListenSpec, ServerName, WhenDown, WhenFull};

/// The entries of `listen` at addresses that several routes share by `sni` or `alpn`, by where they stand.
#[derive(Debug, Default)]
pub(super) struct SharedAddresses {
    /// All of them.
    pub all: HashSet<usize>,
    /// All but the first of each address: the others stand for the same socket.
    pub again: HashSet<usize>,
}

/// One route at an address.
type Member<'d> = (&'d Draft, &'d At<ListenSpec>);

/// Finds the addresses that routes share, and notes where those routes do not fit together.
pub(super) fn find<'d>(drafts: &[&'d Draft], faults: &mut Vec<Placed>) -> SharedAddresses {
    let mut by_address: HashMap<&'d ListenSpec, Vec<Member<'d>>> = HashMap::new();
    for &draft in drafts {
        for listen in &draft.listen {
            let members = by_address.entry(&listen.value).or_default();
            // The same route twice is another fault.
            if !members.iter().any(|(other, _)| std::ptr::eq(*other, draft)) {
                members.push((draft, listen));
            }
        }
    }
    let mut found = SharedAddresses::default();
    let mut silent = BTreeMap::new();
    for members in by_address.values() {
        let sniffed = members.iter().any(|(draft, _)| !draft.serves.is_rest());
        if sniffed {
            waits(members, faults);
        }
        if !sniffed || members.len() < 2 {
            continue;
        }
        found.all.extend(members.iter().map(|(_, listen)| listen.at.start));
        found.again.extend(members.iter().skip(1).map(|(_, listen)| listen.at.start));
        one_rest(members, faults);
        same_name(members, faults);
        same_settings(members, faults);
        silent_clients(members, &mut silent);
        named(members, faults);
    }
    let mut silent: Vec<_> = silent.into_iter().collect();
    silent.dedup_by_key(|((upstream, _), _)| *upstream);
    faults.extend(silent.into_iter().map(|(_, placed)| placed));
    found
}

/// Ports whose servers speak first, while their clients are silent (IANA's registry, and the protocols' RFCs).
const SERVER_FIRST: &[(u16, &str)] = &[
    (21, "FTP"),
    (22, "SSH"),
    (25, "SMTP"),
    (110, "POP3"),
    (119, "NNTP"),
    (143, "IMAP"),
    (587, "SMTP"),
    (3306, "MySQL"),
    (5900, "VNC"),
];

/// Notes upstreams of the rest whose clients say nothing before the server does: each would wait for
/// `sniff_timeout`. A file that sets that key means it. `noted`: by the places of the upstream and of an address, of which a route may share several.
fn silent_clients(members: &[Member<'_>], noted: &mut BTreeMap<(usize, usize), Placed>) {
    if members.iter().any(|(draft, _)| draft.says_sniff_timeout) {
        return;
    }
    let Some((_, chosen)) = members.iter().find(|(draft, _)| !draft.serves.is_rest()) else { return };
    let rests = members.iter().filter(|(draft, _)| draft.serves.is_rest());
    for upstream in rests.flat_map(|(draft, _)| &draft.upstream) {
        let Some(ports) = upstream.value.spec.ports() else { continue };
        let speaks = SERVER_FIRST.iter().find(|(port, _)| (ports.first()..=ports.last()).contains(port));
        let Some((_, protocol)) = speaks else { continue };
        let fault = Fault::new(
            format!(
                "a client of {protocol} is silent until the server speaks, and would wait here for `sniff_timeout`"
            ),
            "give the route a port of its own; or, if the wait is meant, add sniff_timeout = \"1s\" to each route of the address",
        );
        let placed = Placed::new(upstream.at.clone(), fault)
            .also(chosen.at.clone(), "the route is chosen here by what the client asks for");
        noted.insert((upstream.at.start, chosen.at.start), placed);
    }
}

fn one_rest(members: &[Member<'_>], faults: &mut Vec<Placed>) {
    let mut rests = members.iter().filter(|(draft, _)| draft.serves.is_rest());
    let Some((_, first)) = rests.next() else { return };
    for (_, again) in rests {
        let fault = Fault::new(
            format!("two routes without `sni` listen on `{}`", again.value),
            "one takes the rest: give the other one `sni`, or another port or address",
        );
        faults.push(Placed::new(again.at.clone(), fault).also(first.at.clone(), "first here"));
    }
}

/// Notes what two routes both serve.
fn same_name(members: &[Member<'_>], faults: &mut Vec<Placed>) {
    let mut seen: BTreeMap<(Option<&ServerName>, Option<&str>), &Range<usize>> = BTreeMap::new();
    for (draft, listen) in members {
        let Draft { serves, .. } = draft;
        if serves.is_rest() {
            continue;
        }
        let mut names: Vec<_> = serves.sni.iter().map(|name| (Some(&name.value), &name.at)).collect();
        let mut protocols: Vec<_> = serves.alpn.iter().map(|name| Some(name.value.as_str())).collect();
        if names.is_empty() {
            names.push((None, &listen.at));
        }
        if protocols.is_empty() {
            protocols.push(None);
        }
        for (name, at) in &names {
            for protocol in &protocols {
                let Some(first) = seen.insert((*name, *protocol), at) else { continue };
                let what = match (name, protocol) {
                    (Some(name), Some(protocol)) => format!("`{name}` with `{protocol}`"),
                    (Some(name), None) => format!("`{name}`"),
                    (None, protocol) => format!("`{}`", protocol.unwrap_or("*")),
                };
                let fault = Fault::new(
                    format!("two routes serve {what} at `{}`", listen.value),
                    "a client goes to only one of them: remove it from the other",
                );
                faults.push(Placed::new((*at).clone(), fault).also(first.clone(), "first here"));
            }
        }
    }
}

/// What happens to a client before its route is known can be said only once.
fn same_settings(members: &[Member<'_>], faults: &mut Vec<Placed>) {
    let Some(((first, at), rest)) = members.split_first() else { return };
    let at = &at.at;
    let key = |draft: &Draft| {
        let (one, other) = (&first.policy, &draft.policy);
        if one.proxy_protocol.accept != other.proxy_protocol.accept {
            Some("proxy_protocol.accept")
        } else if one.timeouts.sniff != other.timeouts.sniff {
            Some("sniff_timeout")
        } else if one.timeouts.keepalive != other.timeouts.keepalive {
            Some("keepalive")
        } else if one.port_ranges != other.port_ranges {
            Some("port_ranges")
        } else if one.socket_buffers != other.socket_buffers {
            Some("socket_buffers")
        } else {
            None
        }
    };
    for (draft, listen) in rest {
        let Some(key) = key(draft) else { continue };
        let fault = Fault::new(
            format!("two routes of `{}` have different `{key}`", listen.value),
            "it applies before the client's route is known: give both the same, or put it into `[defaults]`",
        );
        faults.push(Placed::new(listen.at.clone(), fault).also(at.clone(), "the other one"));
    }
}

/// The kernel's queue is of an address, and who waits in it cannot say which route it wants.
fn waits(members: &[Member<'_>], faults: &mut Vec<Placed>) {
    for (draft, listen) in members {
        let limits = &draft.policy.limits;
        if limits.when_full == WhenFull::Wait && limits.max_connections.is_some() {
            let fault = Fault::new(
                "`when_full = \"wait\"` cannot be used where `sni` or `alpn` choose the route",
                "write when_full = \"reset\": the route of a waiting client is not known yet",
            );
            faults.push(Placed::new(listen.at.clone(), fault));
        }
        if members.len() > 1 && draft.policy.when_down == WhenDown::Refuse {
            let fault = Fault::new(
                "`when_down = \"refuse\"` cannot be used where routes share an address",
                "write when_down = \"reset\": the other routes need the port",
            );
            faults.push(Placed::new(listen.at.clone(), fault));
        }
    }
}

/// A route is called by its first listener, which here is not its own.
fn named(members: &[Member<'_>], faults: &mut Vec<Placed>) {
    let nameless = |(draft, listen): &&Member<'_>| {
        draft.name.is_none() && draft.listen.first().is_some_and(|first| first.at == listen.at)
    };
    let mut nameless = members.iter().filter(nameless);
    let Some((_, first)) = nameless.next() else { return };
    for (_, listen) in nameless {
        let fault = Fault::new(
            format!("two routes of `{}` have no name", listen.value),
            "give each a `name`: without one they are both called by their address",
        );
        faults.push(Placed::new(listen.at.clone(), fault).also(first.at.clone(), "the other one"));
    }
}
