//! Files of the corpus, run by their program and, imported, by Portway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use portway::config::import;

use super::programs;
use super::rewrite::{self, Rewritten};
use super::stage::Stage;
use super::visit::{Way, connections, datagrams, kinds, short_sessions, summary};
use crate::clients::daemon::Daemon;
use crate::harness::header;
use crate::harness::hello;
use crate::harness::instance::*;

/// A program of the corpus.
struct Other {
    folder: &'static str,
    needs: &'static str,
    rewrite: fn(&str, &mut Stage) -> Rewritten,
    start: fn(&Path, &str, &[&Port]) -> Daemon,
    /// Beginnings of the names of files that do not run here, with the reason.
    without: &'static [(&'static str, &'static str)],
}

/// A route of the imported file, as far as a client sees it.
struct Route {
    ports: Vec<u16>,
    udp: bool,
    tcp: bool,
    balance: String,
    /// The weights of upstreams that are no backups, and get new connections.
    weights: Vec<u64>,
    prefaces: Vec<Vec<u8>>,
}

/// The first of a list, or the value.
fn texts(value: Option<&toml::Value>) -> Vec<String> {
    match value {
        Some(toml::Value::Array(items)) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        Some(toml::Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

fn weight(upstream: &toml::Value) -> Option<u64> {
    let Some(table) = upstream.as_table() else { return Some(1) };
    let spare = table.get("backup").is_some() || table.get("state").is_some();
    let weight = table.get("weight").and_then(toml::Value::as_integer).unwrap_or(1);
    (!spare).then(|| u64::try_from(weight).unwrap())
}

fn routes(text: &str) -> Vec<Route> {
    let file: toml::Table = text.parse().unwrap();
    let defaults = file.get("defaults").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let all = file["route"].as_array().unwrap().iter();
    let all = all.filter(|route| route.get("enabled") != Some(&toml::Value::Boolean(false)));
    let get = |route: &toml::Value, key: &str| route.get(key).or_else(|| defaults.get(key)).cloned();
    all.map(|route| {
        let word = |key: &str, default: &str| {
            get(route, key).map_or(default.to_owned(), |value| value.as_str().unwrap().to_owned())
        };
        let protocol = word("protocol", "tcp");
        let upstreams = match &route["upstream"] {
            toml::Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        let port = |text: String| text.rsplit_once(':').unwrap().1.parse().unwrap();
        Route {
            ports: texts(route.get("listen")).into_iter().map(port).collect(),
            udp: protocol.contains("udp"),
            tcp: protocol.contains("tcp"),
            balance: word("balance", "round-robin"),
            weights: upstreams.iter().filter_map(weight).collect(),
            prefaces: prefaces(
                route,
                get(route, "proxy_protocol").as_ref(),
                get(route, "sniff_timeout").is_some(),
            ),
        }
    })
    .collect()
}

/// What clients of a route say first.
fn prefaces(route: &toml::Value, header: Option<&toml::Value>, sniffs: bool) -> Vec<Vec<u8>> {
    let hello = |name: &str, alpn: &[&str]| {
        let message = hello::message(Some(name), alpn, 600);
        hello::records(&message, &[])
    };
    let names = texts(route.get("sni"));
    let protocols = texts(route.get("alpn"));
    if !names.is_empty() {
        return names.iter().map(|name| hello(&name.replace('*', "some"), &[])).collect();
    }
    if !protocols.is_empty() {
        return protocols.iter().map(|protocol| hello("nobody.example", &[protocol])).collect();
    }
    // A client without a name, where others have one: it speaks TLS, for who says nothing has to wait.
    if sniffs {
        return vec![hello("nobody.example", &[])];
    }
    let table = header.and_then(toml::Value::as_table);
    if table.is_some_and(|table| table.get("accept").is_some()) {
        let from = "192.0.2.77:4000".parse().unwrap();
        let to = "192.0.2.1:80".parse().unwrap();
        return vec![header::v1(from, to)];
    }
    vec![Vec::new()]
}

impl Other {
    fn run(&self) -> usize {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/corpus").join(self.folder);
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mut count = 0;
        for path in
            paths.iter().filter(|path| path.extension().is_some_and(|end| end == "conf" || end == "cfg"))
        {
            let name = path.file_name().unwrap().to_str().unwrap();
            if self.without.iter().any(|(start, _)| name.starts_with(start)) {
                continue;
            }
            println!("{}/{name}", self.folder);
            self.compare(name, &std::fs::read_to_string(path).unwrap());
            count += 1;
        }
        count
    }

    /// The same clients at both.
    fn compare(&self, name: &str, text: &str) {
        let mut stage = Stage::default();
        let (ours, theirs) = ((self.rewrite)(text, &mut stage), (self.rewrite)(text, &mut stage));
        let imported = import(name, ours.text.as_bytes(), None)
            .unwrap_or_else(|report| panic!("{report}\n{}", ours.text));
        let place = Place::with(&short_sessions(&format!("{HEAD}{}", imported.text)));
        let folder = tempfile::tempdir().unwrap();
        let routes = routes(&imported.text);
        // Where the other program listens for datagrams, nobody can look whether it does.
        let tcp: BTreeSet<u16> =
            routes.iter().filter(|route| route.tcp).flat_map(|route| route.ports.clone()).collect();
        let other_of: BTreeMap<u16, &Port> =
            ours.ports.iter().map(|(key, port)| (port.number, &theirs.ports[key])).collect();
        let looked: Vec<&Port> = tcp.iter().map(|port| other_of[port]).collect();
        let _other = (self.start)(folder.path(), &theirs.text, &looked);
        let portway = Portway::run(&place.file());
        let mut compared = 0;
        for route in &routes {
            for port in &route.ports {
                let ends = [*port, other_of[port].number];
                if route.tcp {
                    compared += streams(route, ends, &format!("{name}\n{}\n{}", theirs.text, imported.text));
                }
                if route.udp {
                    for from in SOURCES {
                        let answers = datagrams(&ends, from);
                        let reached =
                            |answer: &Option<String>| answer.as_ref().map(|text| stage_of(route, text));
                        assert_eq!(
                            reached(&answers[0]),
                            reached(&answers[1]),
                            "{name}: {answers:?}\n{}",
                            imported.text
                        );
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 0, "{name}");
        portway.stop();
    }
}

/// Where clients come from.
const SOURCES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9)];

/// An answer: of one upstream all of it; of several whichever answers.
fn stage_of(route: &Route, answer: &str) -> String {
    match route.weights.len() {
        1 => answer.to_owned(),
        _ => answer.rsplit(' ').next().unwrap().to_owned(),
    }
}

/// Compares connections to both ends of one address.
fn streams(route: &Route, [ours, theirs]: [u16; 2], what: &str) -> usize {
    let sum: u64 = route.weights.iter().sum();
    let smallest = route.weights.iter().copied().min().unwrap_or(1);
    let even = route.weights.iter().all(|weight| *weight == smallest);
    let count = if even { 2 * route.weights.len() } else { usize::try_from(sum).unwrap().min(12) };
    let exact = (even || sum <= 12)
        && ["round-robin", "least-connections", "first"].contains(&route.balance.as_str());
    let mut compared = 0;
    for from in SOURCES {
        for preface in &route.prefaces {
            let way = Way { from, preface: preface.clone() };
            let (mine, others) = (connections(ours, &way, count), connections(theirs, &way, count));
            assert_eq!(kinds(&mine), kinds(&others), "from {from}: {what}");
            let (mine, others) = (summary(&mine), summary(&others));
            match route.balance.as_str() {
                _ if exact => assert_eq!(mine, others, "from {from}: {what}"),
                // Each client has its upstream; which one is a matter of the hash.
                "source-hash" => assert_eq!(mine.len(), others.len(), "from {from}: {what}"),
                _ => {}
            }
            compared += 1;
        }
    }
    compared
}

const NGINX: Other = Other {
    folder: "nginx",
    needs: "nginx",
    rewrite: rewrite::nginx,
    start: programs::nginx,
    without: &[("06", "certificates"), ("09", "sockets of other machines")],
};

const HAPROXY: Other = Other {
    folder: "haproxy",
    needs: "haproxy",
    rewrite: rewrite::haproxy,
    start: programs::haproxy,
    without: &[("11", "port ranges, certificates")],
};

const RINETD: Other = Other {
    folder: "rinetd",
    needs: "rinetd",
    rewrite: rewrite::rinetd,
    start: programs::rinetd,
    without: &[("11", "a pattern for all that is no network: every route is switched off")],
};

fn same(other: &Other, least: usize) {
    if lacks(&[other.needs]) {
        return;
    }
    let count = other.run();
    assert!(count >= least, "only {count}");
}

#[test]
fn clients_see_the_same_as_behind_nginx() {
    same(&NGINX, 10);
}

#[test]
fn clients_see_the_same_as_behind_haproxy() {
    same(&HAPROXY, 11);
}

#[test]
fn clients_see_the_same_as_behind_rinetd() {
    same(&RINETD, 11);
}
