//! Texts of 64 KiB that ask for much: each is compiled or refused, with little time and memory.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const SIZE: usize = 64 * 1024;
/// Of heap and stacks together; a text may cost 256 MiB.
const MEMORY: &str = "--data=268435456";
/// Seconds of processor time. A release build has to do with one; an unoptimized one takes some ten times as long.
const TIME: &str = if cfg!(debug_assertions) { "--cpu=12" } else { "--cpu=1" };

/// `head`, then as many of `piece` (by number) as fit, then `tail`.
fn fill(head: &str, piece: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let piece = piece(number);
        if text.len() + piece.len() + tail.len() > SIZE {
            break;
        }
        text.push_str(&piece);
    }
    text + tail
}

fn repeat(piece: &str) -> String {
    fill("", |_| piece.to_owned(), "")
}

/// A route with one more key, whose list has so many entries.
fn list(key: &str, item: impl Fn(usize) -> String) -> String {
    let head = format!("[[route]]\nlisten = \"127.0.0.1:1\"\nupstream = \"a:1\"\n{key} = [");
    fill(&head, |number| format!("\"{}\",", item(number)), "]\n")
}

/// Many routes.
fn routes(route: impl Fn(usize) -> String) -> String {
    fill("", |number| format!("[[route]]\n{}", route(number)), "")
}

fn at(number: usize) -> String {
    format!("listen=\"127.0.{}.{}:1\"\nupstream=\"a:1\"\n", number / 250, number % 250)
}

fn syntax() -> Vec<(&'static str, String)> {
    let mut pieces = vec![
        ("brackets", repeat("[")),
        ("braces", fill("a = ", |_| "{a=".into(), "")),
        ("lists", fill("a = ", |_| "[".into(), "")),
        ("dots", fill("a", |_| ".a".into(), " = 1\n")),
        ("lines of dots", repeat("a.b.c.d.e.f.g.h = 1\n")),
        ("headers", repeat("[a]\n")),
        ("deep headers", fill("", |n| format!("[a{n}.b.c.d.e.f]\n"), "")),
        ("one key twice", repeat("a=1\n")),
        ("keys", fill("", |n| format!("a{n}=1\n"), "")),
        ("keys of a route", fill("[[route]]\n", |n| format!("listem{n}=1\n"), "")),
        ("quotes", repeat("\"")),
        ("triple quotes", repeat("\"\"\"\n")),
        ("escapes", fill("a = \"", |_| "\\u0041".into(), "\"\n")),
        ("one key", fill("", |_| "k".into(), " = 1\n")),
        ("one word", fill("level = \"", |_| "x".into(), "\"\n")),
        ("comments", repeat("#\n")),
        ("wide characters", fill("[[route]]\nlisten = \"", |_| "\u{1f600}".into(), "\"\n")),
        ("conflict markers", repeat("<<<<<<< HEAD\n=======\n>>>>>>> x\n")),
        ("equals signs", repeat("=\n")),
        ("a list that does not end", fill("a = [", |_| "1,\n".into(), "")),
        ("tables that do not end", repeat("a = {\n")),
        ("secrets and faults", {
            let half = fill("[admin]\n", |n| format!("tok{n}=\"w{n}xyz\"\n"), "");
            fill(&half[..SIZE / 2], |n| format!("\nx{n}=\"w{n}xyz\""), "")
        }),
    ];
    pieces.push(("everything at once", pieces.iter().map(|(_, text)| &text[..2000]).collect()));
    pieces
}

fn meanings() -> Vec<(&'static str, String)> {
    vec![
        (
            "wide ranges",
            routes(|n| format!("listen=\"127.9.{}.{}:1-65535\"\nupstream=\"a:1\"\n", n / 250, n % 250)),
        ),
        ("a wide range with many upstreams", {
            let head = "[[route]]\nlisten = \"127.0.0.1:1-65535\"\nupstream = [";
            fill(head, |n| format!("\"a{n}:1\","), "]\n")
        }),
        ("ranges that overlap", list("listen", |n| format!("127.0.0.1:{}-65535", n + 1))),
        ("routes", routes(at)),
        ("the same route", routes(|_| at(0))),
        (
            "a circle",
            routes(|n| format!("listen=\"127.0.0.1:{}\"\nupstream=\"127.0.0.1:{}\"\n", n + 1, n + 2)),
        ),
        ("routes of one name", routes(|n| format!("name=\"x\"\n{}", at(n)))),
        ("upstreams", list("upstream", |n| format!("a{n}:1"))),
        ("networks", list("allow", |n| format!("10.{}.{}.0/24", n / 256, n % 256))),
        ("networks that are none", list("deny", |n| format!("10.{n}.0.0/99"))),
        ("server names", list("sni", |n| format!("a{n}.example"))),
        (
            "shared addresses",
            routes(|n| {
                format!("name=\"{n}\"\nlisten=\"127.0.0.1:1-9999\"\nupstream=\"a:1\"\nsni=\"a{n}.example\"\n")
            }),
        ),
        ("server names and protocols", {
            let names = |n: usize| (0..20).map(|i| format!("\"a{i}x{n}\",")).collect::<String>();
            routes(|n| {
                format!(
                    "name=\"{n}\"\nlisten=\"127.0.0.1:1\"\nupstream=\"a:1\"\nsni=[{0}]\nalpn=[{0}]\n",
                    names(n)
                )
            })
        }),
    ]
}

fn files(folder: &Path) -> Vec<(&'static str, String)> {
    let (big, own) = (folder.join("big"), folder.join("tls.pem"));
    let spelled = |file: &Path, n: usize| {
        let (folder, name) = (file.parent().unwrap().display(), file.file_name().unwrap().display());
        format!("{folder}{}{name}", "/".repeat(n % 40 + 1) + &"./".repeat(n / 40))
    };
    vec![
        (
            "patterns",
            routes(|n| format!("{}health={{expect=\"regex:((((a{{9}}){{9}}){{9}}){{9}})b{n}\"}}\n", at(n))),
        ),
        (
            "patterns with repeats",
            routes(|n| format!("{}health={{expect=\"regex:[a-z]{{99}}{n}x{{999}}\"}}\n", at(n))),
        ),
        ("levels", fill("[log]\nlevel = \"", |n| format!("a{n}=info,"), "info\"\n")),
        ("a level with a pattern", "[log]\nlevel = \"[{a=(x|y)*x(x|y){20}}]=info\"\n".to_owned()),
        (
            "one list with many names",
            routes(|n| format!("{}deny={{file=\"{}\"}}\n", at(n), spelled(&big, n))),
        ),
        (
            "files that are not there",
            routes(|n| format!("{}deny={{file=\"{}{n}\"}}\n", at(n), big.display())),
        ),
        (
            "certificates with many names",
            routes(|n| format!("{}tls={{cert=\"{1}\",key=\"{1}\"}}\n", at(n), spelled(&own, n))),
        ),
        (
            "upstreams with the system's authorities",
            routes(|n| format!("{}tls={{upstream={{server_name=\"a{n}.x\"}}}}\n", at(n))),
        ),
    ]
}

/// Code 0 or 2, within the bounds: 137 and 152 are the kernel's.
fn checked(name: &str, path: &Path) {
    let child = Command::new("prlimit")
        .args([MEMORY, TIME, env!("CARGO_BIN_EXE_portway"), "check"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&child.stderr);
    let begins: String = shown.chars().take(300).collect();
    assert!(matches!(child.status.code(), Some(0 | 2)), "{name}: {:?}\n{begins}", child.status);
    assert!(child.stdout.len() + child.stderr.len() < 1 << 20, "{name}: {} bytes", shown.len());
}

#[test]
fn s8_no_text_of_64_kib_takes_much_time_or_memory() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..300_000).fold(String::new(), |mut lines, n| {
        writeln!(lines, "10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255).unwrap();
        lines
    });
    std::fs::write(folder.path().join("big"), lines).unwrap();
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let pem = own.cert.pem() + &own.signing_key.serialize_pem();
    std::fs::write(folder.path().join("tls.pem"), pem).unwrap();
    let path = folder.path().join("f.toml");
    for (name, text) in syntax().into_iter().chain(meanings()).chain(files(folder.path())) {
        assert!(text.len() <= SIZE && text.len() > 40, "{name}: {} bytes", text.len());
        std::fs::write(&path, text).unwrap();
        let begun = std::time::Instant::now();
        checked(name, &path);
        println!("{name}: {:?}", begun.elapsed());
    }
}
