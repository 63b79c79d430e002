//! Statements of a server that mean something together: TLS, the PROXY header, access, limits.

use super::defaults::is_pattern;
use super::lex::Directive;
use super::listen::{Listen, Role};
use super::stream::Stream;
use crate::config::import::networks::{self, Rule, Who};
use crate::config::import::sheet::{Route, Sheet};
use crate::config::import::values::{count, quote, quote_all};

/// The statements of one server that are read together.
struct Parts<'d> {
    all: &'d [&'d Directive],
}

impl<'d> Parts<'d> {
    fn named(&self, name: &str) -> impl Iterator<Item = &'d Directive> {
        let name = name.to_owned();
        self.all.iter().copied().filter(move |directive| directive.name == name)
    }

    /// The last of this name.
    fn one(&self, name: &str) -> Option<&'d Directive> {
        self.named(name).last()
    }

    fn is_on(&self, name: &str) -> bool {
        self.one(name).is_some_and(|directive| directive.arg(0) == "on")
    }
}

/// Writes them into the route.
pub(super) fn take(
    stream: &Stream<'_>,
    others: &[&Directive],
    listens: &[Listen],
    route: &mut Route,
    sheet: &mut Sheet,
) {
    let parts = Parts { all: others };
    access(&parts, route, sheet);
    limits(stream, &parts, route, sheet);
    header(&parts, listens, route, sheet);
    clients_tls(&parts, listens.iter().any(|listen| listen.ssl), route, sheet);
    upstream_tls(&parts, route, sheet);
    names(&parts, listens.first().map(|listen| listen.role).unwrap_or_default(), route, sheet);
    // A connection half closed goes on here, and hellos are read where a route asks for it.
    for same in ["proxy_half_close", "ssl_preread"] {
        parts.named(same).for_each(|directive| sheet.same(&directive.said()));
    }
}

fn access(parts: &Parts<'_>, route: &mut Route, sheet: &mut Sheet) {
    let mut rules = Vec::new();
    for directive in parts.all.iter().filter(|one| one.name == "allow" || one.name == "deny") {
        let (said, word) = (directive.said(), directive.arg(0));
        let who = match word {
            "all" => Who::All,
            "unix:" => {
                route.note(&said, "who comes through a Unix socket is let in by the `mode` of its file");
                continue;
            }
            word => match networks::network(word) {
                Some(network) => Who::In(network),
                None => {
                    route.lacks(&said, "it is no network");
                    continue;
                }
            },
        };
        sheet.carried(&said);
        rules.push(Rule { said, allows: directive.name == "allow", who });
    }
    networks::rules(&[&rules], route);
}

fn limits(stream: &Stream<'_>, parts: &Parts<'_>, route: &mut Route, sheet: &mut Sheet) {
    for directive in parts.named("limit_conn") {
        let said = directive.said();
        let zone = stream.zone(directive.arg(0));
        let key = match zone.map_or("", |zone| zone.arg(0)) {
            "$binary_remote_addr" | "$remote_addr" => "max_connections_per_client",
            "$server_port" | "$server_addr" | "$server_name" => "max_connections",
            other => {
                let why = format!(
                    "it counts by `{other}`: `max_connections` counts by route, \
                    `max_connections_per_client` by address"
                );
                route.note(&said, why.clone());
                zone.into_iter().for_each(|zone| sheet.note(&zone.said(), why.clone()));
                continue;
            }
        };
        match count(directive.arg(1)) {
            Some(count) => {
                route.fields.set(key, count);
                sheet.carried(&said);
                zone.into_iter().for_each(|zone| sheet.carried(&zone.said()));
            }
            None => route.note(&said, "it is no number"),
        }
    }
}

fn header(parts: &Parts<'_>, listens: &[Listen], route: &mut Route, sheet: &mut Sheet) {
    let timeout = route.fields.get("proxy_protocol.timeout").map(str::to_owned);
    route.fields.remove("proxy_protocol");
    if listens.iter().any(|listen| listen.proxy_protocol) {
        route.fields.set("proxy_protocol.accept", "true");
        let mut trusted = Vec::new();
        for directive in parts.named("set_real_ip_from") {
            let (said, word) = (directive.said(), directive.arg(0));
            match networks::network(word) {
                Some(network) => trusted.push(network.to_string()),
                None if word == "unix:" => trusted.push(word.to_owned()),
                None => {
                    route.note(&said, "names are not looked up for this: write the addresses into `trusted`");
                    continue;
                }
            }
            sheet.carried(&said);
        }
        if trusted.is_empty() {
            trusted.push("127.0.0.1".to_owned());
            let why = "without `set_real_ip_from` nginx reads the header and believes nobody's: write into `trusted` whose \
                       header is believed";
            let asking = |listen: &&Directive| listen.args.iter().any(|word| word == "proxy_protocol");
            parts.named("listen").filter(asking).for_each(|listen| route.lacks(&listen.said(), why));
        }
        route.fields.set("proxy_protocol.trusted", quote_all(&trusted));
        if let Some(timeout) = timeout {
            route.fields.set("proxy_protocol.timeout", timeout);
        }
    } else {
        parts.named("set_real_ip_from").for_each(|directive| sheet.same(&directive.said()));
    }
    let version = parts.one("proxy_protocol_version");
    let send = version.filter(|one| one.arg(0) == "2").map_or("v1", |_| "v2");
    for directive in parts.named("proxy_protocol") {
        if directive.arg(0) == "on" {
            route.fields.set("proxy_protocol.send", quote(send));
            sheet.carried(&directive.said());
            version.into_iter().for_each(|version| sheet.carried(&version.said()));
        } else {
            sheet.same(&directive.said());
        }
    }
}

/// Both versions are served, and no others.
fn versions(directive: &Directive, route: &mut Route, sheet: &mut Sheet) {
    let said = directive.said();
    let has = |version: &str| directive.args.iter().any(|word| word == version);
    match has("TLSv1.2") && has("TLSv1.3") && directive.args.len() == 2 {
        true => sheet.same(&said),
        false => route.note(&said, "TLS 1.2 and 1.3 are spoken, both, and no older ones"),
    }
}

fn clients_tls(parts: &Parts<'_>, ends_here: bool, route: &mut Route, sheet: &mut Sheet) {
    let all = [
        "ssl_client_certificate",
        "ssl_trusted_certificate",
        "ssl_crl",
        "ssl_verify_client",
        "ssl_protocols",
    ];
    let all = all.iter().flat_map(|name| parts.named(name)).chain(parts.named("ssl_alpn"));
    if !ends_here {
        route.fields.remove("tls.cert");
        route.fields.remove("tls.key");
        all.for_each(|directive| sheet.same(&directive.said()));
        return;
    }
    if !route.fields.has("tls.cert") {
        let why = "`ssl` without `ssl_certificate`: write tls = { cert = \"app.pem\", key = \"app.key\" }";
        let listens = parts.named("listen").filter(|listen| listen.args.iter().any(|word| word == "ssl"));
        listens.for_each(|listen| route.lacks(&listen.said(), why));
    }
    let verify = parts.one("ssl_verify_client").map_or("off", |directive| directive.arg(0));
    for directive in all {
        let said = directive.said();
        match (directive.name.as_str(), directive.arg(0)) {
            ("ssl_protocols", _) => versions(directive, route, sheet),
            ("ssl_alpn", _) => {
                route.fields.set("alpn", quote_all(&directive.args));
                sheet.carried(&said);
            }
            ("ssl_verify_client", "off") => sheet.same(&said),
            ("ssl_verify_client", "on") => sheet.carried(&said),
            ("ssl_verify_client", _) => {
                route.note(&said, "clients must have a certificate (`client_ca`), or are asked for none");
            }
            ("ssl_client_certificate" | "ssl_trusted_certificate", path) if verify == "on" => {
                route.fields.set("tls.client_ca", quote(path));
                sheet.carried(&said);
            }
            ("ssl_crl", path) if verify == "on" => {
                route.fields.set("tls.crl", quote(path));
                sheet.carried(&said);
            }
            _ => sheet.same(&said),
        }
    }
}

fn upstream_tls(parts: &Parts<'_>, route: &mut Route, sheet: &mut Sheet) {
    let is_on = parts.is_on("proxy_ssl");
    for directive in parts.named("proxy_ssl") {
        match directive.arg(0) {
            "on" => sheet.carried(&directive.said()),
            _ => sheet.same(&directive.said()),
        }
    }
    let settings = ["proxy_ssl_verify", "proxy_ssl_protocols"];
    if !is_on {
        route.fields.remove("tls.upstream");
        settings
            .iter()
            .flat_map(|name| parts.named(name))
            .for_each(|directive| sheet.same(&directive.said()));
        return;
    }
    route.fields.set("tls.upstream", "true");
    parts.named("proxy_ssl_protocols").for_each(|directive| versions(directive, route, sheet));
    parts.named("proxy_ssl_verify").for_each(|directive| sheet.same(&directive.said()));
    if !parts.is_on("proxy_ssl_verify") {
        let says = parts.one("proxy_ssl_verify").or_else(|| parts.one("proxy_ssl"));
        says.into_iter().for_each(|directive| route.note(&directive.said(), sheet.unverified()));
    }
}

/// Servers that share an address are told apart by name.
fn names(parts: &Parts<'_>, role: Role, route: &mut Route, sheet: &mut Sheet) {
    for directive in parts.named("server_name") {
        let said = directive.said();
        if role == Role::Default {
            sheet.same(&said);
            continue;
        }
        if role == Role::Mixed {
            let why = "nginx serves by this server also the names that no other one has: write a second route like it, without \
                       `sni`";
            route.note(&said, why);
        }
        let plain = |word: &&String| !is_pattern(word);
        let names: Vec<String> = directive.args.iter().filter(plain).cloned().collect();
        let names: Vec<String> = names
            .into_iter()
            .flat_map(|name| match name.strip_prefix('.') {
                Some(bare) => vec![bare.to_owned(), format!("*.{bare}")],
                None => vec![name],
            })
            .filter(|name| name != "_" && !name.is_empty())
            .collect();
        let why = "server names are exact, or all below one (\"*.example.com\"): write them into `sni`";
        if !directive.args.iter().all(|word| plain(&word)) {
            route.off(&said, why);
        } else if names.is_empty() {
            route.note(&said, why);
        }
        if !names.is_empty() {
            route.fields.set("sni", quote_all(&names));
            sheet.carried(&said);
        }
    }
}
