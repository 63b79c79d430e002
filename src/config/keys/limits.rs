//! How many connections there may be, how fast they may come and how much they may move: `max_connections`, `when_full`,
//! `max_connections_per_client`, `rate_per_client`, `bandwidth`.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeValue;

use super::family::Family;
use crate::config::or_table::{CountOrOff, OrTable};
use crate::config::place::{self, Place};
use crate::config::placed::Placed;
use crate::config::read::{count, or_off};
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::Text;
use crate::model::{Bandwidth, Fault, Policy, WhenFull, units};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// How many connections the route has at once: a number, or "off".
    #[schemars(extend("default" = "off", "examples" = [1000]))]
    max_connections: Option<CountOrOff>,
    /// What becomes of a client that is one too many for the route: it is reset, or waits in the kernel's queue.
    #[schemars(extend("default" = "reset"))]
    when_full: Option<WhenFull>,
    /// How many connections or UDP sessions one client has at once, by its IPv4 address or its IPv6 /64: a number, or "off".
    #[schemars(extend("default" = "off", "examples" = [20]))]
    max_connections_per_client: Option<CountOrOff>,
    /// How fast the connections or UDP sessions of one client may come: "20/s", "100/m", "20/s burst 50", or "off".
    #[schemars(extend("default" = "off", "examples" = ["20/s"]))]
    rate_per_client: Option<Text>,
    /// What one connection may move in each direction: "10 MiB/s", { up = "1 MiB/s", down = "10 MiB/s" }, or "off".
    #[schemars(extend("default" = "off", "examples" = ["10 MiB/s"]))]
    bandwidth: Option<OrTable<Text, TypedBandwidth>>,
}

/// `bandwidth` by direction.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TypedBandwidth {
    /// From the client to the upstream: "10 MiB/s", or "off".
    #[schemars(extend("default" = "off", "examples" = ["1 MiB/s"]))]
    up: Option<Text>,
    /// From the upstream to the client: "10 MiB/s", or "off".
    #[schemars(extend("default" = "off", "examples" = ["10 MiB/s"]))]
    down: Option<Text>,
}

typed_table!(Typed);
typed_table!(TypedBandwidth);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read,
    entries: |policy| {
        let limits = &policy.limits;
        vec![
            ("max_connections", units::or_off(limits.max_connections)),
            ("when_full", limits.when_full.to_string()),
            ("max_connections_per_client", units::or_off(limits.max_connections_per_client)),
            ("rate_per_client", units::or_off(limits.rate_per_client)),
            ("bandwidth", policy.bandwidth.to_string()),
        ]
    },
    tcp_only: &["max_connections", "when_full", "bandwidth"],
    udp_only: &[],
    fit: None,
};

fn read(place: Place<'_>, policy: &mut Policy, faults: &mut Vec<Placed>) {
    let typed: Typed = place::read(place, faults);
    let limits = &mut policy.limits;
    if let Some(value) = count(place, "max_connections", typed.max_connections, faults) {
        limits.max_connections = value;
    }
    limits.when_full = typed.when_full.unwrap_or(limits.when_full);
    if let Some(value) = count(place, "max_connections_per_client", typed.max_connections_per_client, faults)
    {
        limits.max_connections_per_client = value;
    }
    if let Some(value) = or_off(place, "rate_per_client", typed.rate_per_client, faults) {
        limits.rate_per_client = value;
    }
    if let Some(value) = bandwidth(place, typed.bandwidth, faults) {
        policy.bandwidth = value;
    }
}

fn bandwidth(
    place: Place<'_>,
    typed: Option<OrTable<Text, TypedBandwidth>>,
    faults: &mut Vec<Placed>,
) -> Option<Bandwidth> {
    let value = place.table.get("bandwidth")?;
    match typed? {
        OrTable::Value(text) => {
            let both = or_off(place, "bandwidth", Some(text), faults)?;
            Some(Bandwidth { up: both, down: both })
        }
        OrTable::Table(_) => {
            let DeValue::Table(table) = value.get_ref() else { return None };
            let place = Place::of::<TypedBandwidth>(table, value.span());
            let typed: TypedBandwidth = place::read(place, faults);
            if table.is_empty() {
                let fault =
                    Fault::new("the table has neither `up` nor `down`", "write { down = \"10 MiB/s\" }");
                faults.push(Placed::new(value.span(), fault));
            }
            let up = or_off(place, "up", typed.up, faults);
            let down = or_off(place, "down", typed.down, faults);
            Some(Bandwidth { up: up.flatten(), down: down.flatten() })
        }
    }
}
