//! The policy keys, one file per family: how they are typed, what they mean, their text, their schema, their protocol.
//!
//! To add a key: its line in the family's struct, its reading and its entry there, its field in `model::policy`, and the
//! place where it acts.

pub(super) mod access;
mod balance;
mod family;
mod health;
mod health_steps;
mod limits;
mod port_ranges;
mod protocol;
mod proxy_protocol;
mod relay;
mod reload;
pub(super) mod source;
mod timeouts;
pub(super) mod tls;
mod udp;

use std::sync::LazyLock;

use super::place::Place;
use super::placed::Placed;
use super::table_schema::TableSchema;
use crate::model::{Fault, Policy, Protocol};
use family::Family;

/// Every family, in the order in which a person reads its keys.
const FAMILIES: [&Family; 13] = [
    &protocol::FAMILY,
    &port_ranges::FAMILY,
    &timeouts::FAMILY,
    &reload::FAMILY,
    &relay::FAMILY,
    &source::FAMILY,
    &balance::FAMILY,
    &health::FAMILY,
    &udp::FAMILY,
    &access::FAMILY,
    &limits::FAMILY,
    &proxy_protocol::FAMILY,
    &tls::FAMILY,
];

/// Every policy key.
pub(super) fn schema() -> &'static TableSchema {
    static SCHEMA: LazyLock<TableSchema> =
        LazyLock::new(|| TableSchema::join(FAMILIES.iter().map(|family| (family.schema)())));
    &SCHEMA
}

/// Reads the policy keys of a table over those that hold without it.
pub(super) fn read(place: Place<'_>, base: &Policy, faults: &mut Vec<Placed>) -> Policy {
    let mut policy = base.clone();
    for family in FAMILIES {
        (family.read)(place, &mut policy, faults);
    }
    policy
}

/// Notes the keys of a route that its protocol has no use for. In `[defaults]` they stand for the routes of the other one.
/// `more`: keys of a route that are no policy, and are for connections only.
pub(super) fn fit(place: Place<'_>, policy: &mut Policy, more: &[&str], faults: &mut Vec<Placed>) {
    let (other, more) = match policy.protocol {
        Protocol::Tcp => (Protocol::Udp, &[][..]),
        Protocol::Udp => (Protocol::Tcp, more),
        // Each of its parts has its own keys.
        Protocol::TcpUdp => (Protocol::TcpUdp, &[][..]),
    };
    let families = FAMILIES.iter().flat_map(|family| match other {
        Protocol::Tcp => family.tcp_only,
        Protocol::Udp => family.udp_only,
        Protocol::TcpUdp => &[],
    });
    for key in families.chain(more) {
        if let Some((key, _)) = place.table.get_key_value(*key) {
            let message = format!("`{}` is for {other} routes only", key.get_ref());
            let fault = Fault::new(message, format!("remove the line: this route is {}", policy.protocol));
            faults.push(Placed::new(key.span(), fault));
        }
    }
    for fit in FAMILIES.iter().filter_map(|family| family.fit) {
        fit(place, policy, faults);
    }
    *policy = policy.of(policy.protocol);
}

/// Each key of a policy with its value, both as the file has them: for plans, and wherever a person reads a route.
pub fn entries(policy: &Policy) -> impl Iterator<Item = (&'static str, String)> {
    FAMILIES.iter().flat_map(|family| (family.entries)(policy))
}
