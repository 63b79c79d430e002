//! The house rules that the compiler does not keep: imports go down only, files stay short, the lower floors stay pure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and its floor. A room may use lower floors only; rooms of one floor do not know each other.
const FLOORS: &[(&str, u8)] = &[
    ("model", 1),
    ("wire", 1),
    ("config", 2),
    ("state", 2),
    ("net", 3),
    ("sink", 3),
    ("tasks", 3),
    ("proxy", 4),
    ("server", 5),
    ("admin", 6),
    ("cli", 7),
];

/// What a floor may not mention: (highest floor of the ban, text, why).
const BANS: &[(u8, &str, &str)] = &[
    (2, "tokio", "floors 1 and 2 are pure"),
    (2, "std::fs", "floors 1 and 2 open no file"),
    (2, "std::thread", "floors 1 and 2 start no thread"),
    (2, "TcpStream", "floors 1 and 2 have no socket"),
    (2, "UdpSocket", "floors 1 and 2 have no socket"),
    (2, "Instant::now", "floors 1 and 2 take `now` as an argument"),
    (2, "SystemTime::now", "floors 1 and 2 take `now` as an argument"),
    (3, "tracing::", "only floors 4 to 7 log"),
];

const LONGEST_FILE: usize = 400;

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
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

/// The room that a file of `src/` belongs to; `None` for `lib.rs` and `main.rs`, which stand above all floors.
fn room(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// The rooms that a text names through `crate::`, in `use` groups as well.
fn rooms_named(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let groups = match rest.strip_prefix('{') {
            // `use crate::{a::b, c}`: the names at the first level of the braces.
            Some(inside) => first_level(inside),
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

fn first_level(inside: &str) -> Vec<String> {
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
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
        faults.push(format!("{}: says nothing of what this room may and may not do", path.display()));
    }
    let Some(room) = room(path) else { return faults };
    let Some(own) = floor(&room) else {
        faults.push(format!("{}: the room `{room}` has no floor", path.display()));
        return faults;
    };
    for named in rooms_named(&code) {
        if let Some(other) = floor(&named)
            && named != room
            && other >= own
        {
            faults.push(format!("{}: `{room}` (floor {own}) uses `{named}` (floor {other})", path.display()));
        }
    }
    // A test needs some first `Instant`, and there is no other.
    let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
    for (highest, text, why) in BANS.iter().filter(|(_, text, _)| !(is_test && *text == "Instant::now")) {
        if own <= *highest && code.contains(text) {
            faults.push(format!("{}: `{text}`: {why}", path.display()));
        }
    }
    faults
}

#[test]
fn imports_go_down_files_stay_short_and_lower_floors_stay_pure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&src);
    assert!(files.len() > 20, "found only {} files", files.len());
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| faults(path.strip_prefix(&src).unwrap(), &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
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
        let may_pause = name.contains("harness") || name.contains("bench") || name == "floors.rs";
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
    assert_eq!(seen("net/dial.rs", "use crate::proxy::Door;"), 1, "up");
    assert_eq!(seen("net/dial.rs", "use crate::{model::Peer, tasks::Scope};"), 1, "sideways, in a group");
    assert_eq!(seen("net/dial.rs", "// use crate::proxy::Door;"), 0, "a comment");
    assert_eq!(seen("state/pool.rs", "fn f() { let x = crate::config::compile(); }"), 1, "sideways, inline");
    assert_eq!(seen("state/pool.rs", "use tokio::time::sleep;"), 1, "not pure");
    assert_eq!(seen("net/bind.rs", "tracing::info!(\"\");"), 1, "logs");
    assert_eq!(seen("cli/mod.rs", "use crate::server::Server;"), 1, "a mod.rs without a heading");
    assert_eq!(seen("attic/junk.rs", ""), 1, "a room without a floor");
    assert_eq!(seen("cli/run.rs", &"\n".repeat(401)), 1, "too long");
}
