//! The rules of the architecture that the compiler does not keep: imports go down only and in no circle, files stay short,
//! the lower layers stay pure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock"
)]

mod circles;
mod strangers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and its layer. A module may use lower layers only; modules of one layer do not know each other.
const LAYERS: &[(&str, u8)] = &[
    ("model", 1),
    ("wire", 1),
    ("config", 2),
    ("state", 2),
    ("net", 3),
    ("sink", 3),
    ("tasks", 3),
    ("files", 4),
    ("proxy", 4),
    ("server", 5),
    ("admin", 6),
    ("cli", 7),
];

/// Inside `proxy` imports go to the left only.
const PROXY: &[(&str, u8)] =
    &[("upstream", 1), ("route", 2), ("record", 3), ("connection", 4), ("udp", 4), ("listener", 5)];

/// What a layer may not mention: (highest layer of the ban, text, why).
const BANS: &[(u8, &str, &str)] = &[
    (2, "tokio", "layers 1 and 2 are pure"),
    (2, "std::fs", "layers 1 and 2 open no file"),
    (2, "std::thread", "layers 1 and 2 start no thread"),
    (2, "TcpStream", "layers 1 and 2 have no socket"),
    (2, "UdpSocket", "layers 1 and 2 have no socket"),
    (2, "Instant::now", "layers 1 and 2 take `now` as an argument"),
    (2, "SystemTime::now", "layers 1 and 2 take `now` as an argument"),
    (3, "tracing::", "only layers 4 to 7 log"),
];

const LONGEST_FILE: usize = 400;

fn layer(layers: &[(&str, u8)], module: &str) -> Option<u8> {
    layers.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The files of `src/`: the path from there, and the text.
fn sources() -> BTreeMap<PathBuf, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&src);
    assert!(files.len() > 20, "found only {} files", files.len());
    let own = |path: &PathBuf| path.strip_prefix(&src).unwrap().to_path_buf();
    files.iter().map(|path| (own(path), fs::read_to_string(path).unwrap())).collect()
}

/// The module that a file of `src/` belongs to; `None` for `lib.rs` and `main.rs`, which stand above all layers.
fn module(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// What a text names directly below this path, in `use` groups as well.
fn named(text: &str, below: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices(below) {
        let rest = &text[at + below.len()..];
        let groups = match rest.strip_prefix('{') {
            // `use crate::{a::b, c}`: the names at the first level of the braces.
            Some(inside) => circles::first_level(inside),
            None => vec![rest.to_owned()],
        };
        for part in groups {
            let name: String =
                part.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            named.push(name);
        }
    }
    named
}

/// Imports of a file that go up or sideways.
fn upward(path: &Path, code: &str, own: &str, (layers, below): (&[(&str, u8)], &str)) -> Vec<String> {
    let Some(mine) = layer(layers, own) else {
        return vec![format!("{}: the module `{own}` has no layer", path.display())];
    };
    let others = named(code, below).into_iter().filter(|other| other != own);
    let higher = others.filter_map(|other| Some((layer(layers, &other)?, other)));
    let higher = higher.filter(|(layer, _)| *layer >= mine);
    higher
        .map(|(layer, other)| {
            format!("{}: `{own}` (layer {mine}) uses `{other}` (layer {layer})", path.display())
        })
        .collect()
}

/// Everything wrong with one file of `src/`, each as one line.
fn faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("{}: {lines} lines; cut it where its story divides", path.display()));
    }
    if path.ends_with("mod.rs") && !text.starts_with("//!") {
        faults.push(format!("{}: says nothing of what this module may and may not do", path.display()));
    }
    let Some(own) = module(path) else { return faults };
    faults.extend(upward(path, &code, &own, (LAYERS, "crate::")));
    let folder = path.components().nth(1).and_then(|part| part.as_os_str().to_str());
    if let Some(part) = folder.filter(|part| own == "proxy" && *part != "mod.rs") {
        faults.extend(upward(path, &code, part, (PROXY, "crate::proxy::")));
    }
    let Some(layer) = layer(LAYERS, &own) else { return faults };
    // A test needs some first `Instant`, and there is no other.
    let is_test =
        |text: &str| path.file_name().is_some_and(|name| name == "tests.rs") || text.contains("#[cfg(test)]");
    for (highest, banned, why) in BANS {
        let in_tests = *banned == "Instant::now" && is_test(text);
        if layer <= *highest && !in_tests && code.contains(banned) {
            faults.push(format!("{}: `{banned}`: {why}", path.display()));
        }
    }
    faults
}

#[test]
fn imports_go_down_files_stay_short_and_lower_layers_stay_pure() {
    let found: Vec<String> = sources().iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles::find(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_circle_is_seen() {
    let seen = |files: &[(&str, &str)]| {
        circles::find(&files.iter().map(|(path, text)| (path.into(), text.to_string())).collect()).len()
    };
    let line =
        [("net/mod.rs", "mod a;\nmod b;\npub use a::A;"), ("net/a.rs", "use super::b::B;\npub struct A;")];
    assert_eq!(seen(&[line[0], line[1], ("net/b.rs", "pub struct B;")]), 0);
    assert_eq!(seen(&[line[0], line[1], ("net/b.rs", "use super::a::A;\npub struct B;")]), 1, "of two files");
    assert_eq!(
        seen(&[line[0], line[1], ("net/b.rs", "use super::A;\npub struct B;")]),
        1,
        "through a re-export"
    );
    assert_eq!(
        seen(&[line[0], line[1], ("net/b.rs", "fn f() { crate::net::a::g() }")]),
        1,
        "without a `use`"
    );
    let parent = ("net/mod.rs", "mod a;\npub struct C;\nfn f() { a::g() }");
    assert_eq!(seen(&[parent, ("net/a.rs", "use super::C;\npub fn g() {}")]), 1, "of a parent and its child");
    assert_eq!(seen(&[parent, ("net/a.rs", "// use super::C;\npub fn g() {}")]), 0, "a comment");
}

#[test]
fn tests_are_short_and_wait_for_events_rather_than_for_time() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = rust_files(&tests);
    assert!(!files.is_empty());
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&tests).unwrap().display().to_string();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!("{name}: {lines} lines"));
        }
        let may_pause = name.contains("harness") || name.contains("bench") || name.starts_with("layers");
        if !may_pause && text.contains("sleep(") {
            found.push(format!(
                "{name}: sleeps; only the harness may, between two looks at what it waits for"
            ));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_broken_rule_is_seen() {
    let seen = |path: &str, text: &str| faults(Path::new(path), text).len();
    assert_eq!(seen("net/dial.rs", "use crate::model::Peer;"), 0);
    assert_eq!(seen("net/dial.rs", "use crate::proxy::route::Listener;"), 1, "up");
    assert_eq!(seen("net/dial.rs", "use crate::{model::Peer, tasks::Scope};"), 1, "sideways, in a group");
    assert_eq!(seen("net/dial.rs", "// use crate::proxy::route::Listener;"), 0, "a comment");
    assert_eq!(seen("state/pool.rs", "fn f() { let x = crate::config::compile(); }"), 1, "sideways, inline");
    assert_eq!(seen("state/pool.rs", "use tokio::time::sleep;"), 1, "not pure");
    assert_eq!(seen("state/pool.rs", "fn f() { Instant::now(); }"), 1, "a clock");
    assert_eq!(seen("net/bind.rs", "tracing::info!(\"\");"), 1, "logs");
    assert_eq!(seen("cli/mod.rs", "use crate::server::Server;"), 1, "a mod.rs without a heading");
    assert_eq!(seen("attic/junk.rs", ""), 1, "a module without a layer");
    assert_eq!(seen("cli/run.rs", &"\n".repeat(401)), 1, "too long");
    assert_eq!(seen("proxy/route/live.rs", "use crate::proxy::upstream::Name;"), 0);
    assert_eq!(seen("proxy/route/live.rs", "use crate::proxy::record::Shared;"), 1, "up, inside proxy");
    assert_eq!(
        seen("proxy/udp/serve.rs", "use crate::proxy::connection::serve;"),
        1,
        "sideways, inside proxy"
    );
}
