//! `proxy_protocol`.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::family::Family;
use crate::config::or_table::{Off, OrTable};
use crate::config::place::{self, Place};
use crate::config::placed::{At, Placed};
use crate::config::read::{address, duration};
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::{List, Span};
use crate::model::{
    AcceptProxy, Fault, HeaderOn, Policy, Protocol, ProxyProtocol, ProxyVersion, TrustedSender, Untrusted,
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// The PROXY protocol: { accept = true, trusted = ["10.0.0.0/8"] } reads it, { send = "v2" } sends it; or "off".
    #[schemars(extend("default" = "off", "examples" = [{ "send": "v2" }]))]
    proxy_protocol: Option<OrTable<Off, TypedProxyProtocol>>,
}

/// `proxy_protocol`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TypedProxyProtocol {
    /// Whether clients of `trusted` must begin with a header. The client's address in it is the one that counts.
    #[schemars(extend("default" = false, "examples" = [true]))]
    accept: Option<bool>,
    /// Whose header is believed: networks, or "unix:" for whoever comes through a Unix socket of the route.
    #[schemars(extend("examples" = [["10.0.0.0/8"]]))]
    trusted: Option<List>,
    /// What becomes of a client that is not in `trusted`: it is reset, or served as one without a header.
    #[schemars(extend("default" = "refuse"))]
    untrusted: Option<Untrusted>,
    /// How long the whole header may take. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    timeout: Option<Span>,
    /// The version that is sent to the upstream. UDP has "v2" only.
    send: Option<ProxyVersion>,
    /// Of a udp route: which datagrams of a session begin with the header, each or the first.
    #[schemars(extend("default" = "each"))]
    datagrams: Option<HeaderOn>,
}

typed_table!(Typed);
typed_table!(TypedProxyProtocol);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        if let Some(value) = proxy_protocol(place, typed.proxy_protocol, faults) {
            policy.proxy_protocol = value;
        }
    },
    entries: |policy| vec![("proxy_protocol", policy.proxy_protocol.to_string())],
    tcp_only: &[],
    udp_only: &[],
    fit: Some(fit),
};

/// How long a header may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `None` where the key is absent or has a fault.
fn proxy_protocol(
    place: Place<'_>,
    typed: Option<OrTable<Off, TypedProxyProtocol>>,
    faults: &mut Vec<Placed>,
) -> Option<ProxyProtocol> {
    let value = place.table.get("proxy_protocol")?;
    let (text, table) = match (typed?, value.get_ref()) {
        (OrTable::Value(off), _) => (off.0.0, None),
        (OrTable::Table(_), DeValue::Table(table)) => (String::new(), Some(table)),
        _ => return None,
    };
    let Some(table) = table else {
        if value.get_ref().as_str() == Some("off") {
            return Some(ProxyProtocol::default());
        }
        let cure = match text.as_str() {
            "v1" | "v2" => format!("to send it write {{ send = \"{text}\" }}"),
            "true" => {
                "write { accept = true, trusted = [\"10.0.0.0/8\"] } with the networks of your proxies".into()
            }
            _ => {
                "write { accept = true, trusted = [\"10.0.0.0/8\"] }, { send = \"v2\" } or \"off\"".to_owned()
            }
        };
        let fault = Fault::new(format!("`proxy_protocol` cannot be `{text}`"), cure);
        faults.push(Placed::new(value.span(), fault));
        return None;
    };
    let place = Place::of::<TypedProxyProtocol>(table, value.span());
    let typed: TypedProxyProtocol = place::read(place, faults);
    let send = typed.send;
    let datagrams = typed.datagrams.unwrap_or_default();
    if table.is_empty() {
        let cure = "write { accept = true, trusted = [\"10.0.0.0/8\"] }, { send = \"v2\" } or \"off\"";
        faults.push(Placed::new(value.span(), Fault::new("the table says nothing", cure)));
    }
    let before = faults.len();
    let accept = accept(place, typed, faults);
    (faults.len() == before).then_some(ProxyProtocol { accept, send, datagrams })
}

/// Notes what a route of this protocol has no use for: of UDP there is no version 1, and none is read.
fn fit(place: Place<'_>, policy: &mut Policy, faults: &mut Vec<Placed>) {
    let Some(DeValue::Table(table)) = place.table.get("proxy_protocol").map(Spanned::get_ref) else { return };
    let find = |key: &str| table.get_key_value(key).map(|(key, value)| (key.span(), value));
    let mut note = |at, message: &str, cure: &str| faults.push(Placed::new(at, Fault::new(message, cure)));
    if policy.protocol == Protocol::Tcp {
        if let Some((at, _)) = find("datagrams") {
            note(at, "`datagrams` is for udp routes only", "remove it: this route is tcp");
        }
        return;
    }
    let accept = find("accept").filter(|(_, value)| value.get_ref().as_bool() == Some(true));
    if let Some((at, _)) = accept.filter(|_| policy.protocol == Protocol::Udp) {
        note(at, "`accept` is for tcp routes only", "remove it, and what belongs to it: this route is udp");
    }
    match find("send") {
        Some((_, value)) if value.get_ref().as_str() == Some("v1") => {
            note(value.span(), "version 1 of the PROXY protocol has no UDP", "write send = \"v2\"");
        }
        Some(_) => {}
        None => {
            if let Some((at, _)) = find("datagrams") {
                note(at, "`datagrams` has no use: no header is sent", "add send = \"v2\", or remove it");
            }
        }
    }
}

fn accept(place: Place<'_>, typed: TypedProxyProtocol, faults: &mut Vec<Placed>) -> Option<Arc<AcceptProxy>> {
    let timeout = duration(place, "timeout", typed.timeout, faults);
    if typed.accept != Some(true) {
        let useless =
            ["trusted", "untrusted", "timeout"].into_iter().find(|key| place.table.contains_key(*key));
        // A misspelt or wrong `accept` has its own fault.
        let meant = place.table.contains_key("accept") && typed.accept.is_none();
        if let Some(key) = useless.filter(|_| !meant && !place::is_misspelt(place, "accept")) {
            let fault = Fault::new(
                format!("`{key}` has no use: no header is read"),
                "add accept = true, or remove it",
            );
            faults.push(Placed::new(place.value(key), fault));
        }
        return None;
    }
    if !place.table.contains_key("trusted") && !place::is_misspelt(place, "trusted") {
        let fault = Fault::new(
            "`accept` without `trusted`: any client could say that it is another one",
            "name the proxies that send the header: trusted = [\"10.0.0.0/8\"]",
        );
        faults.push(Placed::new(place.value("accept"), fault));
        return None;
    }
    let listed = typed.trusted?.0;
    if listed.is_empty() {
        let fault =
            Fault::new("`trusted` is an empty list", "write the networks of your proxies: [\"10.0.0.0/8\"]");
        faults.push(Placed::new(place.value("trusted"), fault));
    }
    let entries = listed.iter().zip(place.items("trusted"));
    let senders: Vec<At<TrustedSender>> =
        entries.filter_map(|(typed, value)| address(place, "trusted", typed, value, faults)).collect();
    Some(Arc::new(AcceptProxy {
        trusted: senders.into_iter().map(|sender| sender.value).collect(),
        untrusted: typed.untrusted.unwrap_or_default(),
        timeout: timeout.unwrap_or(TIMEOUT),
    }))
}
