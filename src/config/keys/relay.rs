//! How bytes are moved: `relay`, `socket_buffers`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::family::Family;
use crate::config::place;
use crate::config::read::or_off;
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::Text;
use crate::model::{RelayMode, units};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// How bytes are moved: the fastest way that fits ("auto"), through kernel pipes from the first byte ("splice"), or
    /// through a buffer of the connection ("copy").
    #[schemars(extend("default" = "auto"))]
    relay: Option<RelayMode>,
    /// How much the kernel holds for a TCP socket in each direction: "64 KiB", up to "64 MiB". "off": it adapts that by itself, up
    /// to 6 MiB in and 4 MiB out on most systems (tcp_rmem, tcp_wmem), which clients who never read can make it use.
    #[schemars(extend("default" = "off", "examples" = ["64 KiB"]))]
    socket_buffers: Option<Text>,
}

typed_table!(Typed);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        policy.relay = typed.relay.unwrap_or(policy.relay);
        if let Some(value) = or_off(place, "socket_buffers", typed.socket_buffers, faults) {
            policy.socket_buffers = value;
        }
    },
    entries: |policy| {
        vec![("relay", policy.relay.to_string()), ("socket_buffers", units::or_off(policy.socket_buffers))]
    },
    tcp_only: &["relay", "socket_buffers"],
    udp_only: &[],
    fit: None,
};
