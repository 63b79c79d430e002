//! realm: each endpoint becomes a route. Reference: github.com/zhboner/realm, readme.

use toml::de::{DeTable, DeValue};

use super::misread::Misread;
use super::program::Program;
use super::sheet::{Fate, Route, Said, Sheet, Upstream};
use super::tree::{Entry, Node, Value};
use super::values::{Lines, listen, quote, upstream};
use super::yaml;
use crate::config::parse;

/// Reads a file, in either of its languages.
pub(super) fn read(text: &str) -> Result<Sheet, Misread> {
    let root = match text.trim_start().starts_with('{') {
        true => yaml::parse(text)?,
        false => toml_tree(text)?,
    };
    let mut sheet = Sheet::of(Program::Realm);
    let network = root.get("network").map_or(&[][..], Node::entries);
    for entry in root.entries() {
        match entry.key.as_str() {
            "log" => entry.node.entries().iter().for_each(|entry| log(entry, &mut sheet)),
            "dns" => {
                let why = "names are looked up as this system does it: /etc/resolv.conf, /etc/hosts";
                entry.node.entries().iter().for_each(|entry| sheet.note(&said(entry), why));
            }
            // Each endpoint takes it that has none of its own.
            "network" => network.iter().for_each(|entry| sheet.same(&said(entry))),
            "endpoints" => entry.node.items().iter().for_each(|one| endpoint(one, network, &mut sheet)),
            _ => sheet.note(&said(entry), "Portway does not know it"),
        }
    }
    Ok(sheet)
}

/// TOML as a tree.
fn toml_tree(text: &str) -> Result<Node, Misread> {
    let wrong = |at, message: String| Misread::new(at, message, "look at quotes, brackets and `=`");
    let (table, faults) =
        parse::document(text).map_err(|at| wrong(at, "the key has too many parts".to_owned()))?;
    if let Some(fault) = faults.first() {
        return Err(wrong(
            fault.span().unwrap_or_default(),
            format!("this is not TOML: {}", fault.message()),
        ));
    }
    let lines = Lines::of(text);
    Ok(Node { line: 1, value: table_of(&table, &lines) })
}

fn table_of(table: &DeTable<'_>, lines: &Lines) -> Value {
    let entry = |key: &str, at: usize, value: &toml::Spanned<DeValue<'_>>| Entry {
        key: key.to_owned(),
        line: lines.at(at),
        node: node_of(value, lines),
    };
    let mut entries: Vec<Entry> =
        table.iter().map(|(key, value)| entry(key.get_ref(), key.span().start, value)).collect();
    entries.sort_by_key(|entry| entry.line);
    Value::Table(entries)
}

fn node_of(value: &toml::Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let inner = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Float(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Boolean(is) => Value::Text(is.to_string()),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node_of(item, lines)).collect()),
        DeValue::Table(table) => table_of(table, lines),
    };
    Node { line: lines.at(value.span().start), value: inner }
}

fn said(entry: &Entry) -> Said {
    Said::new(entry.line, &format!("{} = {}", entry.key, entry.node.show()))
}

fn log(entry: &Entry, sheet: &mut Sheet) {
    let level = entry.node.text().filter(|_| entry.key == "level");
    match level.map(str::to_ascii_lowercase) {
        Some(level) if ["off", "error", "warn", "info", "debug", "trace"].contains(&level.as_str()) => {
            sheet.log.set("level", quote(&level));
            sheet.carried(&said(entry));
        }
        _ => sheet.fate(&said(entry), Fate::Apart),
    }
}

/// What `network` says.
#[derive(Default)]
struct Network {
    no_tcp: bool,
    use_udp: bool,
    ipv6_only: bool,
    /// The statement of `udp_timeout`, with its seconds.
    udp_timeout: Option<(Said, String)>,
}

fn seconds(text: &str) -> Option<String> {
    text.parse::<u64>().ok().filter(|seconds| *seconds > 0).map(|seconds| quote(&format!("{seconds}s")))
}

impl Network {
    /// One key of it.
    fn take(&mut self, entry: &Entry, route: &mut Route, sheet: &mut Sheet) {
        let said = said(entry);
        let text = entry.node.text().unwrap_or_default();
        let on = text == "true";
        let mut set = |key: &str, value: Option<String>| match value {
            Some(value) => {
                route.fields.set(key, value);
                Fate::Carried
            }
            None => Fate::Named,
        };
        let fate = match entry.key.as_str() {
            "no_tcp" => {
                self.no_tcp = on;
                if on { Fate::Carried } else { Fate::Same }
            }
            "use_udp" => {
                self.use_udp = on;
                if on { Fate::Carried } else { Fate::Same }
            }
            "ipv6_only" => {
                self.ipv6_only = on;
                Fate::Same
            }
            "tcp_timeout" => set("connect_timeout", seconds(text)),
            "tcp_keepalive" => {
                set("keepalive", seconds(text).or_else(|| (text == "0").then(|| quote("off"))))
            }
            "udp_timeout" => {
                self.udp_timeout = seconds(text).map(|time| (said.clone(), time));
                Fate::Carried
            }
            "send_proxy" if on => set("proxy_protocol.send", Some(quote("v2"))),
            "accept_proxy" if on => {
                set("proxy_protocol.trusted", Some("[\"0.0.0.0/0\", \"::/0\"]".to_owned()));
                set("proxy_protocol.accept", Some("true".to_owned()))
            }
            "send_proxy_version" | "accept_proxy_timeout" => Fate::Carried,
            "tcp_keepalive_probe"
            | "tcp_fast_open"
            | "fast_open"
            | "zero_copy"
            | "send_proxy"
            | "accept_proxy" => Fate::Same,
            "send_mptcp" | "accept_mptcp" if !on => Fate::Same,
            _ => Fate::Named,
        };
        match fate {
            Fate::Named => route.note(&said, "it has no counterpart here"),
            fate => sheet.fate(&said, fate),
        }
    }

    /// What depends on others: the version of a header that is sent, how long one may take.
    fn rest(&self, entries: &[Entry], route: &mut Route) {
        let text = |key: &str| {
            entries.iter().rev().find(|entry| entry.key == key).and_then(|entry| entry.node.text())
        };
        if text("send_proxy_version") == Some("1") && route.fields.has("proxy_protocol.send") {
            route.fields.set("proxy_protocol.send", quote("v1"));
        }
        if route.fields.has("proxy_protocol.accept") {
            route.remark("realm takes a PROXY header from anyone: name your proxies in `trusted`.");
            if let Some(time) = text("accept_proxy_timeout").and_then(seconds) {
                route.fields.set("proxy_protocol.timeout", time);
            }
        }
    }

    fn protocol(&self, route: &mut Route) {
        match (self.no_tcp, self.use_udp) {
            (true, _) => route.udp(),
            (false, true) => route.fields.set("protocol", quote("tcp+udp")),
            (false, false) => {}
        }
        match (&self.udp_timeout, self.use_udp) {
            (Some((_, time)), _) if self.no_tcp => route.fields.set("idle_timeout", time.clone()),
            (None, true) if self.no_tcp => {
                route.fields.set("idle_timeout", quote("30s"));
                route.fields.remark("idle_timeout", "realm's default");
            }
            (Some((said, _)), true) => route.note(
                said,
                "`idle_timeout` of a route of both protocols holds for connections, too: for sessions it is \"60s\"; \
                 another time needs a route of its own",
            ),
            _ => {}
        }
    }
}

fn endpoint(node: &Node, defaults: &[Entry], sheet: &mut Sheet) {
    let from = node.get("listen").map_or(node.line, |listen| listen.line.min(node.line.max(1)));
    let mut route = Route::new(&Said::new(from, "[[endpoints]]"));
    let own = node.get("network").map_or(&[][..], Node::entries);
    let inherited = defaults.iter().filter(|entry| !own.iter().any(|other| other.key == entry.key));
    let all: Vec<Entry> = inherited.chain(own).cloned().collect();
    let mut network = Network::default();
    all.iter().for_each(|entry| network.take(entry, &mut route, sheet));
    network.rest(&all, &mut route);
    let balance = node.get("balance").and_then(Node::text).unwrap_or("off");
    for entry in node.entries() {
        if let Err(why) = key(entry, balance, &mut Making { route: &mut route, network: &network }, sheet) {
            route.note(&said(entry), why);
        }
    }
    if network.no_tcp && !network.use_udp {
        sheet.give_up(&route);
        return sheet.note(&route.said, "it forwards neither connections nor datagrams");
    }
    if let Some(why) = transport(node) {
        for entry in node.entries().iter().filter(|entry| entry.key != "network") {
            sheet.note(&said(entry), why);
        }
        return;
    }
    network.protocol(&mut route);
    weights(balance, &mut route);
    sheet.add(route);
}

/// A transport that Portway does not speak: without it the route would forward other bytes.
fn transport(node: &Node) -> Option<&'static str> {
    let texts = ["listen_transport", "remote_transport"].iter().filter_map(|key| node.get(key)?.text());
    let mut words = texts.flat_map(|text| text.split(';'));
    words
        .any(|word| word.trim() == "ws")
        .then_some("WebSocket is not spoken here: leave this endpoint to realm")
}

/// A route in the making.
struct Making<'m> {
    route: &'m mut Route,
    network: &'m Network,
}

/// A key of an endpoint. `Err`: why it is not carried over.
fn key(entry: &Entry, balance: &str, making: &mut Making<'_>, sheet: &mut Sheet) -> Result<(), String> {
    let text = entry.node.text().unwrap_or_default();
    let route = &mut *making.route;
    match entry.key.as_str() {
        "listen" => {
            // Of realm `[::]` is both families, unless it says otherwise.
            let both = text.strip_prefix("[::]:").filter(|_| !making.network.ipv6_only);
            route.listen.push(listen(both.unwrap_or(text))?);
        }
        "remote" => route.upstream.insert(0, Upstream::at(upstream(text)?)),
        "extra_remotes" if balance.trim() == "off" => {
            return Err("without `balance` realm uses none of them".to_owned());
        }
        "extra_remotes" => {
            for item in entry.node.items() {
                route.upstream.push(Upstream::at(upstream(item.text().unwrap_or_default())?));
            }
        }
        "balance" => match balance.split(':').next().unwrap_or_default().trim() {
            "off" | "roundrobin" => {}
            "iphash" => route.fields.set("balance", quote("source-hash")),
            _ => return Err("connections are shared by \"round-robin\" or \"source-hash\"".to_owned()),
        },
        "through" => {
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            let host = if text.parse::<std::net::IpAddr>().is_ok() { text } else { host };
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            let ip = ip.map_err(|_| "it is no address of this host".to_owned())?;
            let key = if route.fields.has("source.interface") { "source.address" } else { "source" };
            route.fields.set(key, quote(&ip.to_string()));
        }
        "interface" => {
            if let Some(address) = route.fields.get("source").map(str::to_owned) {
                route.fields.remove("source");
                route.fields.set("source.address", address);
            }
            route.fields.set("source.interface", quote(text));
        }
        "listen_interface" => {
            route.lacks(&said(entry), format!("a socket listens on addresses: write those of {text}"));
            return Ok(());
        }
        "listen_transport" | "remote_transport" => {
            return tls(&entry.key, text, route).map(|()| sheet.carried(&said(entry)));
        }
        "network" => return Ok(()),
        _ => return Err("Portway does not know it".to_owned()),
    }
    sheet.carried(&said(entry));
    Ok(())
}

/// `tls;cert=a.pem;key=a.key`, `tls;sni=example.com;insecure`.
fn tls(key: &str, text: &str, route: &mut Route) -> Result<(), String> {
    let words: Vec<&str> = text.split(';').map(str::trim).collect();
    if !words.contains(&"tls") {
        return Ok(());
    }
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    if key == "listen_transport" {
        let (Some(cert), Some(key)) = (value("cert"), value("key")) else {
            route.fields.set("enabled", "false");
            return Err("a certificate is not made here, so that it is switched off: write tls = { cert = \"app.pem\", \
                        key = \"app.key\" }"
                .to_owned());
        };
        route.fields.set("tls.cert", quote(cert));
        route.fields.set("tls.key", quote(key));
        return Ok(());
    }
    match value("sni") {
        Some(name) => route.fields.set("tls.upstream.server_name", quote(name)),
        None => route.fields.set("tls.upstream", "true"),
    }
    if words.contains(&"insecure") {
        return Err("the upstream's certificate is always verified: tls = { upstream = { ca = \"ca.pem\" } } says of \
                    which authority it is"
            .to_owned());
    }
    Ok(())
}

/// `roundrobin: 4, 2, 1`: of the first, the second ...
fn weights(balance: &str, route: &mut Route) {
    let Some((_, weights)) = balance.split_once(':') else { return };
    for (upstream, weight) in route.upstream.iter_mut().zip(weights.split(',')) {
        match weight.trim().parse::<u32>() {
            Ok(1) | Err(_) => {}
            Ok(weight) => upstream.fields.set("weight", weight.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_the_same() {
        let toml =
            "[network]\nuse_udp = true\n\n[[endpoints]]\nlisten = \"[::]:443\"\nremote = \"10.0.0.5:443\"\n";
        let json = "{\"network\": {\"use_udp\": true},\n \"endpoints\": [{\"listen\": \"[::]:443\", \"remote\": \"10.0.0.5:443\"}]}";
        let (one, other) = (read(toml).unwrap(), read(json).unwrap());
        assert_eq!(
            (&one.routes[0].listen, &one.routes[0].fields),
            (&other.routes[0].listen, &other.routes[0].fields)
        );
        assert_eq!(one.routes[0].listen, ["443"]);
        assert_eq!(one.routes[0].fields.get("protocol"), Some("\"tcp+udp\""));
    }
}
