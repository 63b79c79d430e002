//! From where upstreams are connected to: `source`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::family::Family;
use crate::config::or_table::OrTable;
use crate::config::place::{self, Place};
use crate::config::placed::{At, Placed};
use crate::config::read::{self, number};
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::{List, Text};
use crate::model::source::{Dscp, Interface};
use crate::model::{Fault, Policy, Source, UpstreamEntry, UpstreamSpec};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// From where upstreams are connected to, by clients' connections and checks: an address of this host (or two, one of IPv4
    /// and one of IPv6), "client" (the client's own address; it needs CAP_NET_RAW, and answers that come back through this host),
    /// or a table with `address`, `interface`, `dscp`, `mark`. "off": as the system's routes say.
    #[schemars(extend("default" = "off", "examples" = ["10.0.0.5"]))]
    source: Option<OrTable<List, SourceTable>>,
}

/// From where upstreams are connected to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SourceTable {
    /// An address of this host, or two: one of IPv4 and one of IPv6. "client": the client's own address.
    #[schemars(extend("examples" = ["10.0.0.5"]))]
    address: Option<List>,
    /// The interface that packets leave by, whatever the routes say.
    #[schemars(extend("examples" = ["eth0"]))]
    interface: Option<Text>,
    /// The class of service of the packets: a number from 0 to 63, or a name such as "ef", "af41" or "cs1".
    #[schemars(extend("examples" = ["af41"]))]
    dscp: Option<OrNumber>,
    /// The mark of the packets, for `ip rule` and nftables on this host. It needs CAP_NET_ADMIN.
    #[schemars(range(min = 1, max = 4_294_967_295_i64), extend("examples" = [10]))]
    mark: Option<i64>,
}

/// A text or a number.
#[derive(Debug, Deserialize)]
struct OrNumber(Text);

impl JsonSchema for OrNumber {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextOrNumber".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let number = schemars::json_schema!({ "type": "integer", "minimum": 0, "maximum": 63 });
        schemars::json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, number] })
    }
}

typed_table!(Typed);
typed_table!(SourceTable);

const OFF: &str = "off";
const CLIENT: &str = "client";

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        if let Some(source) = read_source(place, typed.source, faults) {
            policy.source = source.map(Arc::new);
        }
    },
    entries: |policy| {
        let source = policy.source.as_ref().map_or_else(|| OFF.to_owned(), ToString::to_string);
        vec![("source", source)]
    },
    tcp_only: &[],
    udp_only: &[],
    fit: None,
};

/// Reads `source` of a table: of a route, or of an upstream. `None` where the key is absent or has a fault.
pub(in crate::config) fn read_source(
    place: Place<'_>,
    typed: Option<OrTable<List, SourceTable>>,
    faults: &mut Vec<Placed>,
) -> Option<Option<Source>> {
    let value = place.table.get("source")?;
    let list = match typed? {
        OrTable::Value(list) => list,
        OrTable::Table(_) => {
            let DeValue::Table(table) = value.get_ref() else { return None };
            return of_table(Place::of::<SourceTable>(table, value.span()), faults).map(Some);
        }
    };
    if value.get_ref().as_str() == Some(OFF) {
        return Some(None);
    }
    addresses(place, "source", &list, faults).map(Some)
}

fn of_table(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<Source> {
    let (before, typed) = (faults.len(), place::read::<SourceTable>(place, faults));
    let mut source = Source::default();
    if let Some(list) = &typed.address {
        source = addresses(place, "address", list, faults).unwrap_or_default();
    }
    if let (Some(typed), Some(value)) = (&typed.interface, place.table.get("interface")) {
        source.interface =
            read::address::<Interface>(place, "interface", typed, value, faults).map(|read| read.value);
    }
    if let (Some(OrNumber(typed)), Some(value)) = (&typed.dscp, place.table.get("dscp")) {
        match typed.0.parse::<Dscp>() {
            Ok(dscp) => source.dscp = Some(dscp),
            Err(fault) => faults.push(Placed::new(value.span(), fault)),
        }
    }
    source.mark = number(place, "mark", typed.mark, u32::MAX, faults).and_then(NonZeroU32::new);
    if faults.len() > before || place.has_unknown_keys() {
        return None;
    }
    if source == Source::default() {
        let cure = "write source = \"10.0.0.5\", or one of `address`, `interface`, `dscp` and `mark`";
        faults.push(Placed::new(place.header(), Fault::new("the table says nothing", cure)));
        return None;
    }
    Some(source)
}

/// One address of each family, or the client's.
fn addresses(place: Place<'_>, key: &str, typed: &List, faults: &mut Vec<Placed>) -> Option<Source> {
    let (before, mut found) = (faults.len(), [None::<At<IpAddr>>, None]);
    read::listed(place, key, Some(typed.0.len()), faults);
    if let [only] = typed.0.as_slice()
        && only.0 == CLIENT
    {
        return Some(Source { client: true, ..Source::default() });
    }
    for (typed, value) in typed.0.iter().zip(place.items(key)) {
        let Some(ip) = address(typed, value, faults) else { continue };
        let of_family = &mut found[usize::from(ip.is_ipv6())];
        if let Some(first) = of_family {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!("two {family} addresses: packets have one");
            let fault = Fault::new(message, "remove one of them");
            faults.push(Placed::new(value.span(), fault).also(first.at.clone(), "first here"));
        } else {
            *of_family = Some(At { value: ip, at: value.span() });
        }
    }
    let addresses = found.map(|read| read.map(|read| read.value));
    (faults.len() == before).then(|| Source { addresses, ..Source::default() })
}

fn address(typed: &Text, value: &Spanned<DeValue<'_>>, faults: &mut Vec<Placed>) -> Option<IpAddr> {
    let text = typed.0.as_str();
    let cure = "write an address of this host, without a port: \"10.0.0.5\"";
    let fault = match text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) if ip.is_unspecified() => {
            Fault::new(format!("`{text}` is any address"), "to let the system choose write source = \"off\"")
        }
        Ok(ip) if ip.is_multicast() => Fault::new(format!("`{text}` is a multicast address"), cure),
        Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Fault::new(
            format!("`{text}` is another address on each interface"),
            "write { interface = \"eth0\" }",
        ),
        Ok(ip) => return Some(ip),
        Err(_) if text == CLIENT => Fault::new(
            "packets have one address of each family",
            "write source = \"client\" for the client's own address, or remove it",
        ),
        Err(_) if matches!(text, "clientip" | "transparent" | "usesrc" | "$remote_addr") => Fault::new(
            format!("`{text}` is no address"),
            format!("for the client's own address write \"{CLIENT}\""),
        ),
        Err(_) if text.parse::<Interface>().is_ok() && !text.contains('.') => Fault::new(
            format!("`{text}` is no address"),
            format!(
                "of an interface write {{ interface = \"{text}\" }}; for the client's own address \"client\""
            ),
        ),
        Err(_) => Fault::new(format!("`{text}` is no address"), cure),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// Notes upstreams that no connection from the source can reach.
pub(in crate::config) fn fit_route(
    place: Place<'_>,
    policy: &Policy,
    upstream: &[At<UpstreamEntry>],
    faults: &mut Vec<Placed>,
) {
    for At { value, at } in upstream {
        let Some(source) = value.source_in(policy.source.as_ref()) else { continue };
        let UpstreamSpec::Ip(ip, _) = &value.spec else { continue };
        let Err(none) = source.towards((*ip, 0).into()) else { continue };
        let fault = Fault::new(
            format!("the route cannot reach `{}`: {none}", value.spec),
            "write one address of each family: source = [\"10.0.0.5\", \"2001:db8::5\"]",
        );
        let placed = Placed::new(at.clone(), fault);
        faults.push(match place.table.get("source").filter(|_| value.source.is_none()) {
            Some(source) => placed.also(source.span(), "from here"),
            None => placed,
        });
    }
}
