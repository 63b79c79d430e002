//! `proxy_protocol`: from what was typed to what it means.

use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::file::{self, OrTable};
use super::report::Placed;
use super::route::{At, address};
use super::schema::Section;
use super::section::{self, Place};
use super::settings;
use crate::model::{
    AcceptProxy, Fault, HeaderOn, Protocol, ProxyProtocol, ProxyVersion, TrustedSender, Untrusted,
};

/// How long a header may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `None` where the key is absent or has a fault.
pub(super) fn read(
    place: Place<'_>,
    typed: Option<OrTable<file::Off, file::ProxyProtocol>>,
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
    let place = Place::new(Section::ProxyProtocol, table, value.span());
    section::unknown_keys(place, faults);
    let typed: file::ProxyProtocol = section::read(place, Section::ProxyProtocol, faults);
    let send = typed.send.map(|version| match version {
        file::ProxyVersion::V1 => ProxyVersion::V1,
        file::ProxyVersion::V2 => ProxyVersion::V2,
    });
    let datagrams = match typed.datagrams {
        Some(file::HeaderOn::First) => HeaderOn::First,
        Some(file::HeaderOn::Each) | None => HeaderOn::Each,
    };
    if table.is_empty() {
        let cure = "write { accept = true, trusted = [\"10.0.0.0/8\"] }, { send = \"v2\" } or \"off\"";
        faults.push(Placed::new(value.span(), Fault::new("the table says nothing", cure)));
    }
    let before = faults.len();
    let accept = accept(place, typed, faults);
    (faults.len() == before).then_some(ProxyProtocol { accept, send, datagrams })
}

/// Notes what a route of this protocol has no use for: of UDP there is no version 1, and none is read.
pub(super) fn of(protocol: Protocol, place: Place<'_>, faults: &mut Vec<Placed>) {
    let Some(DeValue::Table(table)) = place.table.get("proxy_protocol").map(Spanned::get_ref) else { return };
    let find = |key: &str| table.get_key_value(key).map(|(key, value)| (key.span(), value));
    let mut note = |at, message: &str, cure: &str| faults.push(Placed::new(at, Fault::new(message, cure)));
    if protocol == Protocol::Tcp {
        if let Some((at, _)) = find("datagrams") {
            note(at, "`datagrams` is for udp routes only", "remove it: this route is tcp");
        }
        return;
    }
    if let Some((at, _)) = find("accept").filter(|(_, value)| value.get_ref().as_bool() == Some(true)) {
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

fn accept(
    place: Place<'_>,
    typed: file::ProxyProtocol,
    faults: &mut Vec<Placed>,
) -> Option<Arc<AcceptProxy>> {
    let timeout = settings::duration(place, "timeout", typed.timeout, faults);
    if typed.accept != Some(true) {
        let useless =
            ["trusted", "untrusted", "timeout"].into_iter().find(|key| place.table.contains_key(*key));
        // A misspelt or wrong `accept` has its own fault.
        let meant = place.table.contains_key("accept") && typed.accept.is_none();
        if let Some(key) = useless.filter(|_| !meant && !section::is_misspelt(place, "accept")) {
            let fault = Fault::new(
                format!("`{key}` has no use: no header is read"),
                "add accept = true, or remove it",
            );
            faults.push(Placed::new(place.value(key), fault));
        }
        return None;
    }
    if !place.table.contains_key("trusted") && !section::is_misspelt(place, "trusted") {
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
    let untrusted = match typed.untrusted {
        Some(file::Untrusted::Plain) => Untrusted::Plain,
        Some(file::Untrusted::Refuse) | None => Untrusted::Refuse,
    };
    Some(Arc::new(AcceptProxy {
        trusted: senders.into_iter().map(|sender| sender.value).collect(),
        untrusted,
        timeout: timeout.unwrap_or(TIMEOUT),
    }))
}
