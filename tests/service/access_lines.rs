//! Golden files of access-log lines: a record, a ruler, its line as text and as JSON. `PORTWAY_BLESS=1` writes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portway::model::{
    DataPath, ListenAddr, ListenSpec, LogFormat, Outcome, Peer, Policy, Route, UpstreamAddr, UpstreamSpec,
};
use portway::proxy::record::{Connected, Datagrams, Record, line};
use portway::state::Bytes;

const RULER: &str = "----------------------------------------\n";

fn micros(text: &str) -> Duration {
    Duration::from_micros(text.parse().unwrap())
}

fn listener(text: &str) -> ListenAddr {
    text.parse::<ListenSpec>().unwrap().addrs().next().unwrap().1
}

fn upstream(text: &str) -> UpstreamAddr {
    text.parse::<UpstreamSpec>().unwrap().at(0)
}

fn peer(text: &str) -> Peer {
    match text.strip_prefix("unix:") {
        Some("") => Peer::Unix(None),
        Some(path) => Peer::Unix(Some(path.into())),
        None => Peer::from_ip(text.parse().unwrap()),
    }
}

/// `\n` and `\u{..}` as in Rust.
fn unescape(text: &str) -> String {
    let mut plain = text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r");
    while let Some((before, rest)) = plain.split_once("\\u{") {
        let (code, after) = rest.split_once('}').unwrap();
        let c = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
        plain = format!("{before}{c}{after}");
    }
    plain
}

/// A record from lines of `key = value`; what is not given is that of a usual connection.
fn record(input: &str) -> Record {
    let get = |key: &str| {
        input
            .lines()
            .find_map(|line| line.split_once(" = ").filter(|(k, _)| *k == key).map(|(_, value)| value))
    };
    let or = |key: &str, usual: &'static str| get(key).map_or(usual.to_owned(), unescape);
    for line in input.lines() {
        let known = "route client listener upstream peer local outcome detail up down connect_us duration_us path id \
             datagrams";
        let key = line.split_once(" = ").unwrap_or_else(|| panic!("no `key = value`: {line}")).0;
        assert!(known.split(' ').any(|known| known == key), "no key of a record: {key}");
    }
    let written = or("upstream", "10.0.0.9:3000");
    let label = or("outcome", "client-closed");
    let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.label() == label).unwrap();
    Record {
        id: or("id", "7").parse().unwrap(),
        ended: humantime::parse_rfc3339("2026-11-23T01:59:59.000Z").unwrap()
            + micros(&or("duration_us", "1123456")),
        route: Arc::new(Route {
            name: or("route", "app"),
            listen: vec![],
            upstream: vec![],
            selector: Default::default(),
            policy: Policy::default().into(),
        }),
        listener: listener(&or("listener", "8080")).into(),
        client: peer(&or("client", "203.0.113.7:50123")),
        upstream: (written != "none").then(|| Connected {
            written: upstream(&written).into(),
            peer: peer(&get("peer").map_or(written.clone(), unescape)),
        }),
        local: get("local").map(peer),
        outcome,
        detail: get("detail").map(unescape),
        bytes: Bytes { up: or("up", "517").parse().unwrap(), down: or("down", "20481").parse().unwrap() },
        datagrams: get("datagrams").map(|text| {
            let (up, down) = text.split_once(' ').unwrap();
            Datagrams { up: up.parse().unwrap(), down: down.parse().unwrap() }
        }),
        connect: (written != "none").then(|| micros(&or("connect_us", "312"))),
        duration: micros(&or("duration_us", "1123456")),
        path: DataPath::ALL.into_iter().find(|path| path.label() == or("path", "copy")).unwrap(),
    }
}

#[test]
fn every_golden_record_becomes_its_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/access");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "found {} files", files.len());
    let mut outcomes = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (input, expected) = text.split_once(RULER).unwrap_or((&text, ""));
        let mut found = String::new();
        for block in input.split("\n\n") {
            let record = record(block.trim_end_matches('\n'));
            outcomes.push(record.outcome);
            for format in [LogFormat::Text, LogFormat::Json] {
                let line = line(&record, format);
                let breaks =
                    |c: char| c < ' ' || (format == LogFormat::Text && (c.is_control() || c == '\u{2028}'));
                assert!(line.ends_with('\n') && line.chars().filter(|c| breaks(*c)).count() == 1, "{line:?}");
                found.push_str(&line);
            }
        }
        if std::env::var_os("PORTWAY_BLESS").is_some() {
            fs::write(&file, format!("{input}{RULER}{found}")).unwrap();
        } else {
            assert_eq!(found, expected, "{}", file.display());
        }
    }
    for outcome in Outcome::ALL {
        assert!(outcomes.contains(&outcome), "no golden record for {outcome}");
    }
}
