//! What a route of one protocol cannot have of the other.

use super::file;
use super::proxy_protocol;
use super::report::Placed;
use super::route::{At, Draft};
use super::section::Place;
use crate::model::table::UDP_IDLE;
use crate::model::{Fault, ListenSpec, Policy, Protocol, Tls, UpstreamSpec, WhenDown};

/// Keys that say something about connections only, or that do nothing for sessions yet.
const OF_TCP: &[&str] = &[
    "half_close_timeout",
    "keepalive",
    "relay",
    "on_down",
    "on_vanish",
    "health",
    "when_down",
    "max_connections",
    "when_full",
    "max_connections_per_client",
    "rate_per_client",
    "bandwidth",
    "tls",
    "sni",
    "alpn",
    "sniff_timeout",
];
/// Keys that say something about sessions only.
const OF_UDP: &[&str] = &["max_sessions", "max_replies"];

/// Reads the protocol, and the keys of sessions.
pub(super) fn keys(
    place: Place<'_>,
    (protocol, (max_sessions, max_replies)): (Option<file::Protocol>, (Option<i64>, Option<i64>)),
    policy: &mut Policy,
    faults: &mut Vec<Placed>,
) {
    if let Some(protocol) = protocol {
        policy.protocol = match protocol {
            file::Protocol::Tcp => Protocol::Tcp,
            file::Protocol::Udp => Protocol::Udp,
        };
    }
    policy.max_sessions = number(place, "max_sessions", max_sessions, faults).or(policy.max_sessions);
    policy.max_replies = number(place, "max_replies", max_replies, faults).or(policy.max_replies);
}

/// A number of at least 1. `None` where the key is absent or has a fault.
fn number(place: Place<'_>, key: &str, typed: Option<i64>, faults: &mut Vec<Placed>) -> Option<u32> {
    let typed = typed?;
    match u32::try_from(typed) {
        Ok(number @ 1..) => return Some(number),
        _ => faults.push(Placed::new(
            place.value(key),
            Fault::new(
                format!("`{key}` cannot be {typed}"),
                format!("write a number from 1 to {}", u32::MAX),
            ),
        )),
    }
    None
}

/// Notes the keys of this table that its protocol has no use for. In `[defaults]` they stand for the routes of the other
/// one. A UDP route without an idle time has the usual one.
pub(super) fn policy(place: Place<'_>, policy: &mut Policy, faults: &mut Vec<Placed>) {
    let (keys, other) = match policy.protocol {
        Protocol::Tcp => (OF_UDP, Protocol::Udp),
        Protocol::Udp => (OF_TCP, Protocol::Tcp),
    };
    for key in keys {
        if let Some((key, _)) = place.table.get_key_value(*key) {
            let message = format!("`{}` is for {} routes only", key.get_ref(), other.label());
            let fault =
                Fault::new(message, format!("remove the line: this route is {}", policy.protocol.label()));
            faults.push(Placed::new(key.span(), fault));
        }
    }
    if policy.protocol == Protocol::Udp {
        (policy.health, policy.when_down) = (None, WhenDown::Reset);
        policy.clients.tls = Tls::default();
    }
    proxy_protocol::of(policy.protocol, place, faults);
    policy.clients.proxy_protocol = std::mem::take(&mut policy.clients.proxy_protocol).of(policy.protocol);
    if policy.protocol == Protocol::Udp && policy.idle_timeout.is_none() {
        policy.idle_timeout = Some(UDP_IDLE);
        if place.table.get("idle_timeout").is_some_and(|value| value.get_ref().as_str() == Some("off")) {
            let fault = Fault::new(
                "a udp route needs an `idle_timeout`",
                "its sessions have no other end: write a time, such as \"1h\", or remove the line for \"60s\"",
            );
            faults.push(Placed::new(place.value("idle_timeout"), fault));
        }
    }
}

/// Notes the Unix sockets of a UDP route.
pub(super) fn addresses(draft: &Draft, faults: &mut Vec<Placed>) {
    if draft.policy.protocol == Protocol::Tcp {
        return;
    }
    let listen = draft.listen.iter().filter(|listen| matches!(listen.value, ListenSpec::Unix(_))).map(place);
    let upstream = draft.upstream.iter().filter(|entry| matches!(entry.value.spec, UpstreamSpec::Unix(_)));
    for at in listen.chain(upstream.map(place)) {
        let fault = Fault::new("a udp route cannot have a Unix socket", "write an address with a port");
        faults.push(Placed::new(at, fault));
    }
}

fn place<T>(entry: &At<T>) -> std::ops::Range<usize> {
    entry.at.clone()
}
