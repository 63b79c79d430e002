//! `tls`: from what was typed to what it means.

use std::net::IpAddr;
use std::sync::Arc;

use toml::de::DeValue;

use super::clients::path;
use super::file::{self, OrTable, Text};
use super::report::Placed;
use super::route::Draft;
use super::schema::Section;
use super::section::{self, Place};
use super::settings;
use crate::model::selector::ServerName;
use crate::model::{Fault, Pair, RelayMode, ServeTls, Tls, UpstreamSpec, UpstreamTls};

const EXAMPLE: &str =
    "{ cert = \"app.pem\", key = \"app.key\" } to end TLS here, { upstream = true } to begin it here";

/// `None` where the key is absent or has a fault.
pub(super) fn read(
    place: Place<'_>,
    typed: Option<OrTable<file::Off, file::Tls>>,
    faults: &mut Vec<Placed>,
) -> Option<Tls> {
    let value = place.table.get("tls")?;
    let (OrTable::Table(_), DeValue::Table(table)) = (typed.as_ref()?, value.get_ref()) else {
        let OrTable::Value(off) = typed? else { return None };
        if value.get_ref().as_str() == Some("off") {
            return Some(Tls::default());
        }
        let fault = Fault::new(format!("`tls` cannot be `{}`", off.0.0), format!("write {EXAMPLE}"));
        faults.push(Placed::new(value.span(), fault));
        return None;
    };
    let place = Place::new(Section::Tls, table, value.span());
    section::unknown_keys(place, faults);
    let typed: file::Tls = section::read(place, Section::Tls, faults);
    if table.is_empty() {
        faults.push(Placed::new(
            value.span(),
            Fault::new("the table says nothing", format!("write {EXAMPLE}")),
        ));
    }
    let before = faults.len();
    let pair = pair(place, (typed.cert, typed.key), faults);
    let client_ca = path(place, "client_ca", typed.client_ca, faults);
    if table.contains_key("client_ca") && !table.contains_key("cert") && !section::is_misspelt(place, "cert")
    {
        let fault = Fault::new(
            "`client_ca` has no use: TLS does not end here",
            "add `cert` and `key`; for the authority of the upstream write upstream = { ca = \"ca.pem\" }",
        );
        faults.push(Placed::new(place.value("client_ca"), fault));
    }
    let upstream = upstream(place, typed.upstream, faults);
    let clients = pair.map(|pair| Arc::new(ServeTls { pair, client_ca, alpn: Vec::new() }));
    (faults.len() == before).then_some(Tls { clients, upstream })
}

/// A certificate and its key: both, or none.
fn pair(
    place: Place<'_>,
    (cert, key): (Option<Text>, Option<Text>),
    faults: &mut Vec<Placed>,
) -> Option<Pair> {
    let there = |key: &str| place.table.contains_key(key) || section::is_misspelt(place, key);
    let fault = match (there("cert"), there("key")) {
        (true, false) => Some((
            "cert",
            Fault::new("`cert` without `key`", "add the certificate's private key: key = \"app.key\""),
        )),
        (false, true) => {
            Some(("key", Fault::new("`key` without `cert`", "add the key's certificate: cert = \"app.pem\"")))
        }
        _ => None,
    };
    if let Some((at, fault)) = fault {
        faults.push(Placed::new(place.value(at), fault));
    }
    let (cert, key) = (path(place, "cert", cert, faults), path(place, "key", key, faults));
    Some(Pair { cert: cert?, key: key? })
}

fn upstream(
    place: Place<'_>,
    typed: Option<OrTable<file::Whether, file::UpstreamTls>>,
    faults: &mut Vec<Placed>,
) -> Option<Arc<UpstreamTls>> {
    let value = place.table.get("upstream")?;
    let (OrTable::Table(_), DeValue::Table(table)) = (typed.as_ref()?, value.get_ref()) else {
        return match value.get_ref() {
            DeValue::Boolean(true) => Some(Arc::default()),
            DeValue::Boolean(false) => None,
            _ => {
                let OrTable::Value(typed) = typed? else { return None };
                let fault = Fault::new(
                    format!("`tls.upstream` cannot be `{}`", typed.0.0),
                    "write upstream = true, or { ca = \"ca.pem\", server_name = \"db.internal\" }; \
                     where the upstream is stands in the route's own `upstream`",
                );
                faults.push(Placed::new(value.span(), fault));
                None
            }
        };
    };
    let place = Place::new(Section::UpstreamTls, table, value.span());
    section::unknown_keys(place, faults);
    let typed: file::UpstreamTls = section::read(place, Section::UpstreamTls, faults);
    let pair = pair(place, (typed.cert, typed.key), faults);
    let ca = path(place, "ca", typed.ca, faults);
    let server_name = server_name(place, typed.server_name, faults);
    Some(Arc::new(UpstreamTls { ca, server_name, pair }))
}

fn server_name(place: Place<'_>, typed: Option<Text>, faults: &mut Vec<Placed>) -> Option<String> {
    let value = place.table.get("server_name")?;
    let text = settings::text("server_name", typed.as_ref()?, value, faults)?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_string());
    }
    match text.parse::<ServerName>() {
        Ok(ServerName::Exact(name)) => return Some(name),
        Ok(ServerName::Below(name)) => {
            let fault = Fault::new(
                format!("`{text}` is not one name"),
                format!("write the name that is asked for: \"app.{name}\""),
            );
            faults.push(Placed::new(value.span(), fault));
        }
        Err(error) => {
            let fault = Fault::new(error.to_string(), "write the name in its certificate: \"db.internal\"");
            faults.push(Placed::new(value.span(), fault));
        }
    }
    None
}

/// What fits no route with TLS; and `alpn`, which there says what is offered, and chooses no route.
pub(super) fn fit(place: Place<'_>, draft: &mut Draft, faults: &mut Vec<Placed>) {
    let tls = &mut draft.policy.clients.tls;
    if tls.is_off() {
        return;
    }
    if let Some(clients) = &mut tls.clients {
        let offered = std::mem::take(&mut draft.serves.alpn);
        Arc::make_mut(clients).alpn = offered.into_iter().map(|protocol| protocol.value).collect();
    }
    if draft.policy.relay == RelayMode::Splice && place.table.contains_key("relay") {
        let fault = Fault::new(
            "`relay = \"splice\"` cannot be where there is `tls`",
            "remove the line: what goes through kernel pipes cannot be encrypted on the way",
        );
        faults.push(Placed::new(place.value("relay"), fault));
    }
    let nameless = tls.upstream.as_ref().is_some_and(|tls| tls.server_name.is_none());
    if let Some(unix) = draft.upstream.iter().find(|entry| matches!(entry.value.spec, UpstreamSpec::Unix(_)))
        && nameless
    {
        let fault = Fault::new(
            "a Unix socket has no name that a certificate could have",
            "say which one it must have: tls = { upstream = { server_name = \"db.internal\" } }",
        );
        faults.push(Placed::new(unix.at.clone(), fault));
    }
}
