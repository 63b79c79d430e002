//! `tls`, and how long a client may take for it: `sniff_timeout`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeValue;

use super::family::Family;
use crate::config::or_table::{Off, OrTable, Whether};
use crate::config::place::{self, Place};
use crate::config::placed::{At, Placed};
use crate::config::read::{duration, path, path_of, text};
use crate::config::table_schema::{TypedTable, typed_table};
use crate::config::values::{List, Span, Text};
use crate::model::selector::ServerName;
use crate::model::{
    Fault, Pair, Policy, RelayMode, ServeTls, Tls, UpstreamEntry, UpstreamSpec, UpstreamTls, units,
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// TLS: { cert = "app.pem", key = "app.key" } ends it here, { upstream = true } begins it here; or "off".
    #[schemars(extend("default" = "off", "examples" = [{ "cert": "app.pem", "key": "app.key" }]))]
    tls: Option<OrTable<Off, TypedTls>>,
    /// How long a client may take to begin TLS, at an address whose routes have `sni` or `alpn`: then it goes to the
    /// route without. And how long its handshake may take, where TLS ends here: then it is reset. At least "1ms".
    #[schemars(extend("default" = "5s", "examples" = ["5s"]))]
    sniff_timeout: Option<Span>,
}

/// `tls`: where it ends here, and where it begins here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TypedTls {
    /// A file (PEM) with the certificate that clients are shown, and after it those between it and an authority that they
    /// know. Absolute, or from the folder of this file. It is watched, as all files here.
    #[schemars(extend("examples" = ["/etc/portway/app.pem"]))]
    cert: Option<Text>,
    /// A file (PEM) with its private key.
    #[schemars(extend("examples" = ["/etc/portway/app.key"]))]
    key: Option<Text>,
    /// A file (PEM) with the authorities of which clients must have a certificate. Without it clients need none.
    #[schemars(extend("examples" = ["/etc/portway/clients.pem"]))]
    client_ca: Option<Text>,
    /// A file (PEM, or DER), or a list of files, with the certificates that these authorities have revoked. With it each
    /// authority needs a list, and one that is too old refuses all its clients.
    #[schemars(extend("examples" = ["/etc/portway/revoked.pem"]))]
    crl: Option<List>,
    /// Whether TLS is spoken to the upstream, which is always verified: true, or a table.
    #[schemars(extend("examples" = [true]))]
    upstream: Option<OrTable<Whether, TypedUpstreamTls>>,
}

/// `tls.upstream` as a table.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TypedUpstreamTls {
    /// A file (PEM) with the authorities of which the upstream must have its certificate. Without it: those of the system.
    #[schemars(extend("examples" = ["/etc/portway/internal-ca.pem"]))]
    ca: Option<Text>,
    /// The name that the upstream is asked for, and that its certificate must have. Without it: that of `upstream`.
    #[schemars(extend("examples" = ["db.internal"]))]
    server_name: Option<Text>,
    /// A file (PEM) with the certificate that the upstream is shown, if it asks for one.
    #[schemars(extend("examples" = ["/etc/portway/client.pem"]))]
    cert: Option<Text>,
    /// A file (PEM) with its private key.
    #[schemars(extend("examples" = ["/etc/portway/client.key"]))]
    key: Option<Text>,
}

typed_table!(Typed);
typed_table!(TypedTls);
typed_table!(TypedUpstreamTls);

pub(super) const FAMILY: Family = Family {
    schema: Typed::schema,
    read: |place, policy, faults| {
        let typed: Typed = place::read(place, faults);
        if let Some(value) = tls(place, typed.tls, faults) {
            policy.tls = value;
        }
        if let Some(value) = duration(place, "sniff_timeout", typed.sniff_timeout, faults) {
            policy.timeouts.sniff = value;
        }
    },
    entries: |policy| {
        vec![("tls", policy.tls.to_string()), ("sniff_timeout", units::show(policy.timeouts.sniff))]
    },
    tcp_only: &["tls", "sniff_timeout"],
    udp_only: &[],
    fit: None,
};

const EXAMPLE: &str =
    "{ cert = \"app.pem\", key = \"app.key\" } to end TLS here, { upstream = true } to begin it here";

/// `None` where the key is absent or has a fault.
fn tls(place: Place<'_>, typed: Option<OrTable<Off, TypedTls>>, faults: &mut Vec<Placed>) -> Option<Tls> {
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
    let place = Place::of::<TypedTls>(table, value.span());
    let typed: TypedTls = place::read(place, faults);
    if table.is_empty() {
        faults.push(Placed::new(
            value.span(),
            Fault::new("the table says nothing", format!("write {EXAMPLE}")),
        ));
    }
    let before = faults.len();
    let pair = pair(place, typed.cert, typed.key, faults);
    let client_ca = path(place, "client_ca", typed.client_ca, faults);
    if table.contains_key("client_ca") && !table.contains_key("cert") && !place::is_misspelt(place, "cert") {
        let fault = Fault::new(
            "`client_ca` has no use: TLS does not end here",
            "add `cert` and `key`; for the authority of the upstream write upstream = { ca = \"ca.pem\" }",
        );
        faults.push(Placed::new(place.value("client_ca"), fault));
    }
    let crl = revoked(place, typed.crl, faults);
    let upstream = upstream(place, typed.upstream, faults);
    let clients = pair.map(|pair| Arc::new(ServeTls { pair, client_ca, crl, alpn: Vec::new() }));
    (faults.len() == before).then_some(Tls { clients, upstream })
}

/// The files of `crl`.
fn revoked(place: Place<'_>, typed: Option<List>, faults: &mut Vec<Placed>) -> Vec<PathBuf> {
    let Some(List(typed)) = typed else { return Vec::new() };
    let example = "write the path of a file, or a list of paths: crl = \"revoked.pem\"";
    if typed.is_empty() {
        faults.push(Placed::new(place.value("crl"), Fault::new("`crl` is an empty list", example)));
    }
    if !place.table.contains_key("client_ca") && !place::is_misspelt(place, "client_ca") {
        let fault = Fault::new(
            "`crl` has no use: clients need no certificate",
            "add the authorities that they must have one from: client_ca = \"clients.pem\"",
        );
        faults.push(Placed::new(place.value("crl"), fault));
    }
    let paths = typed.iter().zip(place.items("crl"));
    paths.filter_map(|(typed, value)| path_of("crl", typed, value, faults)).collect()
}

/// A certificate and its key: both, or none.
fn pair(place: Place<'_>, cert: Option<Text>, key: Option<Text>, faults: &mut Vec<Placed>) -> Option<Pair> {
    let there = |key: &str| place.table.contains_key(key) || place::is_misspelt(place, key);
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
    typed: Option<OrTable<Whether, TypedUpstreamTls>>,
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
                     the address belongs in the route's own `upstream`",
                );
                faults.push(Placed::new(value.span(), fault));
                None
            }
        };
    };
    let place = Place::of::<TypedUpstreamTls>(table, value.span());
    if !table.is_empty() && !table.keys().any(|key| place.schema.has(key.get_ref())) {
        // Each key has its fault: what the table says is not known.
        return None;
    }
    let typed: TypedUpstreamTls = place::read(place, faults);
    let pair = pair(place, typed.cert, typed.key, faults);
    let ca = path(place, "ca", typed.ca, faults);
    let server_name = server_name(place, typed.server_name, faults);
    Some(Arc::new(UpstreamTls { ca, server_name, pair }))
}

fn server_name(place: Place<'_>, typed: Option<Text>, faults: &mut Vec<Placed>) -> Option<String> {
    let value = place.table.get("server_name")?;
    let text = text("server_name", typed.as_ref()?, value, faults)?;
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
pub(in crate::config) fn fit_route(
    place: Place<'_>,
    policy: &mut Policy,
    alpn: &mut Vec<At<String>>,
    upstream: &[At<UpstreamEntry>],
    faults: &mut Vec<Placed>,
) {
    let tls = &mut policy.tls;
    if tls.is_off() {
        return;
    }
    if let Some(clients) = &mut tls.clients {
        let offered = std::mem::take(alpn);
        Arc::make_mut(clients).alpn = offered.into_iter().map(|protocol| protocol.value).collect();
    }
    if policy.relay == RelayMode::Splice && place.table.contains_key("relay") {
        let fault = Fault::new(
            "`relay = \"splice\"` cannot be used with `tls`",
            "remove the line: what goes through kernel pipes cannot be encrypted on the way",
        );
        faults.push(Placed::new(place.value("relay"), fault));
    }
    let nameless = tls.upstream.as_ref().is_some_and(|tls| tls.server_name.is_none());
    let has_no_name = |spec: &UpstreamSpec| matches!(spec, UpstreamSpec::Unix(_) | UpstreamSpec::Original);
    if let Some(unnamed) = upstream.iter().find(|entry| has_no_name(&entry.value.spec))
        && nameless
    {
        let what = if unnamed.value.spec == UpstreamSpec::Original {
            "an original destination"
        } else {
            "a Unix socket"
        };
        let fault = Fault::new(
            format!("{what} has no name that a certificate could have"),
            "say which one it must have: tls = { upstream = { server_name = \"db.internal\" } }",
        );
        faults.push(Placed::new(unnamed.at.clone(), fault));
    }
}
