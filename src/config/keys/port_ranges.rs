//! `port_ranges`. UDP has "sockets" only: an answer leaves from the port that its client wrote to, and a UDP socket sends from
//! its own port (`IP_PKTINFO` names an address, and no port: ip(7)).

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::model::PortRanges;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// How the ports of a range are listened on: each by a socket of its own ("sockets"), or all by the socket of the first, to which
    /// a REDIRECT or TPROXY rule of the firewall leads the clients of the others ("rule"). UDP: each has its socket.
    #[schemars(extend("default" = "sockets"))]
    port_ranges: Option<PortRanges>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.port_ranges = typed.port_ranges.unwrap_or(policy.port_ranges);
    },
    entries: |policy| vec![("port_ranges", policy.port_ranges.to_string())],
    tcp_only: &["port_ranges"],
    udp_only: &[],
    fit: None,
};
