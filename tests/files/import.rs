//! `portway import`: sixty files in the manner of real ones, twelve of each program. What comes of each stands beside it, as
//! `NAME.routes.toml`; `PORTWAY_BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portway::config::{Fate, Imported, Program, compile, import};

use super::import_counts as counts;

/// A file of the corpus.
pub struct Sample {
    pub program: Program,
    pub path: PathBuf,
    /// As the golden file has it.
    pub name: String,
    pub text: String,
}

const PROGRAMS: [(&str, Program); 5] = [
    ("nginx", Program::Nginx),
    ("haproxy", Program::Haproxy),
    ("realm", Program::Realm),
    ("rinetd", Program::Rinetd),
    ("compose", Program::Compose),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/corpus")
}

pub fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (folder, program) in PROGRAMS {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| !path.to_str().unwrap().ends_with(".routes.toml"));
        paths.sort();
        assert_eq!(paths.len(), 12, "{folder}");
        samples.extend(paths.into_iter().map(|path| Sample {
            program,
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
            path,
        }));
    }
    samples
}

fn imported(sample: &Sample) -> Imported {
    import(&sample.name, sample.text.as_bytes(), Some(sample.program))
        .unwrap_or_else(|report| panic!("{}: {report}", sample.path.display()))
}

#[test]
fn every_file_becomes_routes_that_are_fine() {
    let bless = std::env::var_os("PORTWAY_BLESS").is_some();
    let mut wrong = Vec::new();
    for sample in samples() {
        let found = imported(&sample);
        let guessed = import(&sample.name, sample.text.as_bytes(), None);
        assert_eq!(
            guessed.as_ref().ok(),
            Some(&found),
            "{}: whose it is, by its text",
            sample.path.display()
        );
        let compiled = compile("routes.toml", found.text.as_bytes());
        assert!(compiled.is_ok(), "{}: {}\n{}", sample.path.display(), compiled.unwrap_err(), found.text);
        let golden = sample.path.with_extension("routes.toml");
        if bless {
            std::fs::write(&golden, &found.text).unwrap();
        } else if std::fs::read_to_string(&golden).ok().as_deref() != Some(&found.text) {
            wrong.push(format!("{}\n{}", golden.display(), found.text));
        }
    }
    assert!(wrong.is_empty(), "{} files came out otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is not carried over has a comment with its line; and of the statements that concern layer 4, counted here in another
/// way, at least 95 of 100 are carried over or named, in each program's files.
#[test]
fn statements_are_carried_over_or_named() {
    let mut sums: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for sample in samples() {
        let found = imported(&sample);
        for statement in found.statements.iter().filter(|statement| statement.fate == Fate::Named) {
            let said = format!("line {}, not carried over:", statement.line);
            let route = format!("# line {}: ", statement.line);
            assert!(
                found.text.contains(&said) || found.text.contains(&route),
                "{}: no comment of {statement:?}\n{}",
                sample.path.display(),
                found.text
            );
        }
        let expected = counts::of(sample.program, &sample.text);
        let (mut all, mut lost) = (0, Vec::new());
        for (line, count) in expected {
            let there = found.statements.iter().filter(|statement| statement.line == line).count();
            all += count;
            lost.extend(std::iter::repeat_n(line, count.saturating_sub(there)));
        }
        let named = found.named();
        println!("{:40} {all:4} statements, {named:3} named, {:2} lost: {lost:?}", sample.name, lost.len());
        let sum = sums.entry(sample.program.to_string()).or_default();
        *sum = [sum[0] + all, sum[1] + named, sum[2] + lost.len()];
    }
    for (program, [all, named, lost]) in &sums {
        println!("{program:8} {all:5} statements, {named:4} named, {lost:3} lost");
        assert!(*all >= 60, "{program}: only {all}");
        assert!(lost * 20 <= *all, "{program}: {lost} of {all} are lost");
    }
}

/// The keys of a file, without its comments.
fn keys(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split("  # ").next().unwrap_or(line).trim_end().to_owned() + "\n").collect()
}

/// A statement that is said to be carried over makes a difference: without its line, other keys come out.
#[test]
fn what_is_carried_over_makes_a_difference() {
    let (mut all, mut idle) = (0, Vec::new());
    for sample in samples().iter().filter(|sample| sample.program != Program::Compose) {
        let found = imported(sample);
        let lines: Vec<&str> = sample.text.lines().collect();
        // Of the large files every fifth is enough.
        let step = if lines.len() > 150 { 5 } else { 1 };
        let carried = found.statements.iter().filter(|statement| statement.fate == Fate::Carried);
        for statement in carried.step_by(step) {
            let line = lines[statement.line - 1];
            let begins = ["listen ", "frontend ", "backend "].iter().any(|word| line.starts_with(word));
            // Of these the shorter one counts: where both say the same, either would do.
            let one_of_two =
                ["timeout client", "timeout server"].iter().any(|word| statement.text.starts_with(word));
            let on_line = found.statements.iter().filter(|other| other.line == statement.line).count();
            if one_of_two
                || on_line > 1
                || line.contains(['{', '}', '['])
                || (begins && sample.program == Program::Haproxy)
            {
                continue;
            }
            let mut without = lines.clone();
            without[statement.line - 1] = "";
            let other = import(&sample.name, without.join("\n").as_bytes(), Some(sample.program));
            all += 1;
            if other.is_ok_and(|other| keys(&other.text) == keys(&found.text)) {
                idle.push(format!("{}:{}: {}", sample.path.display(), statement.line, statement.text));
            }
        }
    }
    println!("{} of {all} make no difference:\n{}", idle.len(), idle.join("\n"));
    assert!(all > 350, "only {all}");
    assert!(idle.len() * 20 <= all, "{} of {all} make no difference:\n{}", idle.len(), idle.join("\n"));
}

/// Exit code, standard output, standard error.
fn run(args: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
    command.arg("import").args(args).env_remove("PORTWAY_CONFIG");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    // A command that does not read it breaks the pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_exit_code_says_whether_all_was_carried_over() {
    let all = "listen db\n bind :1\n server a 10.0.0.1:2\n";
    let (code, out, err) = run(&["-"], all);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("listen   = \"0.0.0.0:1\"\nupstream = \"10.0.0.1:2\"\n"), "{out}");
    let (code, out, err) = run(&["-"], &format!("{all} fullconn 5\n retries 3\n"));
    assert_eq!(
        (code, err.as_str()),
        (3, "standard input: 2 statements are not carried over; comments have them\n")
    );
    assert!(out.contains("# line 4, not carried over: fullconn 5\n"), "{out}");
    let (code, out, err) = run(&["-"], "listen db\n bind 'x\n");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("standard input:2:7") && err.contains("help: add '"), "{err}");
}

#[test]
fn a_file_that_cannot_be_read_is_shown_with_its_line_and_a_cure() {
    for (program, text, place, words) in [
        ("nginx", "stream {\n server {\n", ":2:9", "the block of `server` is not closed"),
        ("nginx", "stream { server { listen 1 } }", ":1:19", "add `;` behind it"),
        ("haproxy", "bind :1\n", ":1:1", "`bind` stands in no section"),
        ("rinetd", "0.0.0.0 80\n", ":1:1", "this line says nothing to rinetd"),
        ("realm", "[[endpoints]\n", ":1:", "this is not TOML"),
        ("compose", "services:\n  a: [1\n", ":", "this is not YAML"),
        ("nginx", "http { }\n", "", "nothing in this file of nginx"),
        ("compose", "services: {}\n", "", "nothing in this file of Compose"),
    ] {
        let (code, out, err) = run(&["--from", program, "-"], text);
        assert_eq!((code, out.as_str()), (2, ""), "{program}: {err}");
        assert!(err.contains(&format!("standard input{place}")) && err.contains(words), "{program}: {err}");
        assert!(err.contains("= help: "), "{err}");
    }
    let (code, _, err) = run(&["-"], "what is this\n");
    assert_eq!(code, 2);
    assert!(err.contains("--from nginx"), "{err}");
    let (code, _, err) = run(&["/nowhere/haproxy.cfg"], "");
    assert_eq!(code, 2);
    assert!(err.contains("there is no such file"), "{err}");
}

/// A route that the compiler refuses stands as a comment, and one that meets another is switched off: what comes out is fine.
#[test]
fn what_cannot_stand_beside_the_others_is_switched_off() {
    let text = "listen a\n bind :1\n server a 10.0.0.1:2\nlisten b\n bind 127.0.0.1:1\n server b 10.0.0.2:2\n\
                listen c\n bind :3\n server c 10.0.0.3:3 backup\n";
    let found = import("x.cfg", text.as_bytes(), None).unwrap();
    assert_eq!(found.named(), 2, "{}", found.text);
    let compiled = compile("routes.toml", found.text.as_bytes()).unwrap();
    assert_eq!((compiled.table.routes.len(), compiled.table.disabled.len()), (1, 1), "{}", found.text);
    assert!(
        found.text.contains("it meets another route") && found.text.contains("# [[route]]\n"),
        "{}",
        found.text
    );
}

/// A comment has up to 300 characters.
#[test]
fn a_long_comment_is_cut_behind_its_300th_character() {
    for (characters, cut) in [(300, false), (301, true)] {
        let said = "line 4, not carried over: bogus ";
        let text = format!(
            "listen a\n bind :1\n server a 10.0.0.1:2\n bogus {}\n",
            "a".repeat(characters - said.len())
        );
        let found = import("x.cfg", text.as_bytes(), None).unwrap().text;
        assert!(found.contains(said.trim_end()), "{found}");
        assert_eq!(found.contains("\n# ...\n"), cut, "{characters}: {found}");
    }
}
