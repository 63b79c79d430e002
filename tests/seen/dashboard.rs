//! deploy/grafana-dashboard.json, held against what is exposed: every name and label of its queries is there; and a real
//! Prometheus that scrapes a real Portway understands each query, and has an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{TcpStream, UdpSocket};

use serde_json::Value;

use super::alerts::{authority, save};
use super::prometheus::{Prometheus, get, is_here};
use crate::harness::instance::*;
use crate::harness::ports::free_port;

fn dashboard() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana-dashboard.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every query of it, with what it is of. Its variables stand for what Grafana would put there.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((
                panel["title"].as_str().unwrap().to_owned(),
                target["expr"].as_str().unwrap().to_owned(),
            ));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        found.push(("annotation".to_owned(), annotation["expr"].as_str().unwrap().to_owned()));
    }
    let filled = |query: String| {
        query.replace("$__rate_interval", "4s").replace("$instance", ".*").replace("$route", ".*")
    };
    found.into_iter().map(|(title, query)| (title, filled(query))).collect()
}

/// Every family that is exposed, by the names of its series, with the labels that they have.
fn exposed(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            suffixes
                .iter()
                .for_each(|suffix| drop(series.insert(format!("{name}{suffix}"), BTreeSet::new())));
        } else if let Some((name, rest)) = line.split_once('{')
            && !line.starts_with('#')
        {
            let labels = rest.split("=\"").filter_map(|part| part.rsplit(['{', ',', '"']).next());
            let labels = labels.filter(|label| !label.is_empty() && !label.contains('}')).map(str::to_owned);
            series.get_mut(name).unwrap_or_else(|| panic!("no # TYPE of {name}")).extend(labels);
        }
    }
    series
}

/// The words of a query that are no text in quotes.
fn words(query: &str) -> Vec<String> {
    let plain: String = query.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
}

/// A proxy that has something to show in every panel.
fn scene() -> (Place, Portway, Port, u16, Backend) {
    let (admin, port, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let closed = Port::reserve();
    let udp = free_port();
    let tls = Port::reserve();
    let text = format!(
        "{HEAD}[admin]\nlisten = \"{}\"\n{}{}{}[[route]]\nname = \"udp\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:{udp}\"\n\
         upstream = \"127.0.0.1:9\"\ndeny = \"127.0.0.0/8\"\n",
        admin.local(),
        route("app", &port.local(), &backend, ""),
        route("denied", &closed.local(), &backend, "deny = \"127.0.0.0/8\"\n"),
        route("tls", &tls.local(), &backend, "tls = { cert = \"app.pem\", key = \"app.key\" }\n"),
    );
    let place = Place::with(&text);
    let (cert, key, _) = authority();
    save(&place, "app.pem", &cert);
    save(&place, "app.key", &key);
    let portway = Portway::run(&place.file());
    let denied = TcpStream::connect(closed.local()).and_then(|mut stream| stream.read(&mut [0]));
    assert!(denied.is_err());
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"denied", ("127.0.0.1", udp)).unwrap();
    (place, portway, admin, port.number, backend)
}

#[test]
fn the_dashboard_names_what_is_exposed_and_nothing_else() {
    let (_place, mut portway, admin, port, _backend) = scene();
    assert_eq!(reached(port), "app");
    portway.until("the connection is counted", |_| {
        get(&admin.local(), "/metrics").contains("portway_route_connections_closed_total{route=\"app\"")
    });
    let series = exposed(&get(&admin.local(), "/metrics"));
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() >= 30, "{} queries", queries.len());
    for (title, query) in &queries {
        let words = words(query);
        let named: Vec<&String> = words
            .iter()
            .filter(|word| word.starts_with("portway_") || word.starts_with("process_"))
            .collect();
        assert!(!named.is_empty(), "{title}: {query}");
        let mut labels: BTreeSet<&str> = ["instance", "job"].into();
        for name in named {
            let known = series.get(name).unwrap_or_else(|| panic!("{title}: {name} is not exposed"));
            assert!(!known.is_empty() || query.contains("instance="), "{title}: {query}");
            labels.extend(known.iter().map(String::as_str));
        }
        // What stands in braces before `=`, and in `by (...)`.
        let matched =
            query.split(['{', ',']).filter_map(|part| part.trim().split_once('=').map(|(name, _)| name));
        let grouped =
            query.split(" by (").skip(1).flat_map(|part| part.split(')').next().unwrap().split(", "));
        for label in matched.chain(grouped).filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
            assert!(labels.contains(label), "{title}: no label {label} in {labels:?}: {query}");
        }
    }
    // Each thing by its own number, and none over another.
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for cell in
            (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y)))
        {
            assert!(taken.insert(cell) && cell.0 < 24, "{} lies over another", panel["title"]);
        }
    }
    portway.stop();
}

#[test]
fn prometheus_understands_every_query_and_has_an_answer() {
    if !is_here() {
        return;
    }
    let (place, mut portway, admin, port, _backend) = scene();
    let settings = format!(
        "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}\n\
         scrape_configs:\n- job_name: portway\n  static_configs: [{{ targets: ['{}'] }}]\n",
        admin.local()
    );
    let prometheus = Prometheus::start(place.root(), &settings);
    let answer = |query: &str| prometheus.answer(query);
    let has = |answer: &Value| answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty());
    portway.until("Prometheus has begun", |_| prometheus.has_begun());
    portway.until("rates are known", |_| {
        assert_eq!(reached(port), "app");
        has(&answer("rate(portway_route_connections_closed_total{route=\"app\"}[4s]) > 0"))
    });
    for (title, query) in queries(&dashboard()) {
        let answer = answer(&query);
        assert_eq!(answer["status"], "success", "{title}: {answer}");
        // A condition may leave nothing.
        assert!(has(&answer) || query.ends_with("> 0"), "{title} has no answer: {query}");
    }
    drop(prometheus);
    portway.stop();
}
