//! The README is run as a person does who pastes its blocks, in order: each TOML block compiles, each command does what it
//! says, each shown output is the real one.
//!
//! All blocks share one folder: `<!--file: NAME-->` before a block saves it there. A block is pasted into the first
//! terminal, or into the one that the paragraph before it names ("in a second terminal"); behind an output, without a word
//! between, into that of the command that printed it. `# exit code N` says what a
//! line returns. `<!--output-->`: the block is what the line before has printed; `<!--output: figures differ-->`: but
//! for figures, and the gaps in a table that come with them. `<!--run by: PLACE-->`: it is run there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the real clock from outside"
)]

#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared; each program of tests uses what it needs"
)]
mod harness;

use std::fs;

use harness::markdown::{Block, blocks, in_own_network};
use harness::terminal::Person;
use harness::{PATIENCE, comes_true, lacks};
use portway::model::{DataPath, Outcome};

fn readme() -> Vec<Block> {
    blocks(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap())
}

/// A text without its figures: each number is 0, each time is 0s, and gaps have one space.
fn alike(text: &str) -> String {
    let mut plain = String::new();
    for line in text.trim().lines() {
        for word in line.split_whitespace() {
            let mut digits = false;
            for (at, c) in word.char_indices() {
                let in_number = c.is_ascii_digit()
                    || c == '.' && digits && word[at + 1..].starts_with(|c: char| c.is_ascii_digit());
                if in_number && !digits {
                    plain.push('0');
                } else if !in_number {
                    plain.push(c);
                }
                digits = in_number;
            }
            plain.push(' ');
        }
        plain.push('\n');
    }
    // A minute and some seconds is a time as well.
    plain.replace("0m 0s", "0s").replace("0m ", "0s ")
}

#[test]
fn every_toml_block_compiles() {
    let toml: Vec<Block> = readme().into_iter().filter(|block| block.language == "toml").collect();
    assert!(toml.len() >= 5, "only {} blocks", toml.len());
    for block in toml {
        if let Err(report) = portway::config::compile("README.md", block.text.as_bytes()) {
            panic!("{report}");
        }
    }
}

#[test]
fn every_command_does_what_it_says() {
    if lacks(&["script", "bash", "openssl", "minisign", "python3"])
        || !in_own_network("every_command_does_what_it_says")
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut person = Person::at(folder.path());
    let (mut commands, mut terminal, mut after_output, mut last) = (0, 0, false, String::new());
    for mut block in readme() {
        // Another run may have left its socket among the temporary files, or use it.
        block.text = block.text.replace("/tmp/", &format!("{}/", folder.path().display()));
        if let Some(name) = block.note("file") {
            fs::write(folder.path().join(name), &block.text).unwrap();
        }
        match block.note("output") {
            None => {}
            Some("figures differ") => {
                // What it shows may take its time (a check, a line of the log): a person looks again.
                let alike = comes_true(PATIENCE, || {
                    let seen = alike(&person.printed) == alike(&block.text);
                    if !seen {
                        person.pastes(terminal, &last);
                    }
                    seen
                });
                assert!(
                    alike,
                    "`{last}` prints, but for figures, not what the README shows:\n{}",
                    person.printed
                );
            }
            Some(_) => {
                assert_eq!(person.printed.trim(), block.text.trim(), "the README shows another output")
            }
        }
        if let Some(place) = block.note("run by") {
            assert_eq!(place, "tests/containers");
        } else if block.language == "sh" {
            commands += block.text.lines().count();
            if !(after_output && block.goes_on()) {
                terminal = block.terminal();
            }
            person.pastes(terminal, &block.text);
            last = block.text.lines().last().unwrap_or_default().to_owned();
        }
        after_output = block.note("output").is_some();
    }
    assert!(commands >= 20, "only {commands} commands");
}

#[test]
fn the_demo_does_what_its_screen_says() {
    if lacks(&["script", "bash"]) || !in_own_network("the_demo_does_what_its_screen_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut person = Person::at(folder.path());
    person.pastes(0, "cargo run --release -- demo");
    let screen = person.sees(0, "ready");
    let shown: Vec<&str> = screen.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let [hello, edit, again, udp, break_it, mend] = shown[..] else { panic!("the demo shows\n{screen}") };
    person.pastes(1, hello);
    assert!(person.printed.contains("one[127.0.0.1:"), "{}", person.printed);
    person.pastes(1, edit);
    person.sees(0, "reloaded");
    person.pastes(1, again);
    assert!(person.printed.contains("two[127.0.0.1:"), "{}", person.printed);
    person.pastes(1, udp);
    assert!(person.printed.contains("two[127.0.0.1:"), "{}", person.printed);
    person.pastes(1, break_it);
    person.sees(0, "did you mean `upstream`?");
    person.pastes(1, again);
    assert!(person.printed.contains("two[127.0.0.1:"), "{}", person.printed);
    person.pastes(1, mend);
    person.sees(0, "healed");
}

/// The table of outcomes is the one that the binary has.
#[test]
fn each_outcome_and_data_path_has_its_row() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let outcomes = Outcome::ALL.map(|outcome| {
        let (meaning, look_at) = (outcome.meaning().trim_end_matches('.'), outcome.look_at());
        format!("`{outcome}` | {} | {meaning} | {look_at}", outcome.blame())
    });
    let paths = DataPath::ALL.map(|path| format!("`{path}` | {}", path.meaning().trim_end_matches('.')));
    let rows = outcomes.join("\n") + "\n\n" + &paths.join("\n");
    let missing: Vec<&str> = rows.lines().filter(|row| !text.contains(row)).collect();
    assert!(missing.is_empty(), "the README has not these rows; all of them are:\n{rows}\n{missing:#?}");
}

/// Each path that the lists "to add a ..." and the other pages for contributors name is there.
#[test]
fn the_pages_for_contributors_name_files_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for (page, least) in [(".github/CONTRIBUTING.md", 25), ("tests/README.md", 20)] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        let is_path = |word: &&&str| {
            let (first, _) = word.split_once('/').unwrap_or((word, ""));
            ["src", "tests", "config", "deploy", "README.md", "Cargo.toml", ".github", ".ci"].contains(&first)
        };
        let paths: Vec<&&str> = quoted.iter().filter(is_path).collect();
        assert!(paths.len() >= least, "{page}: only {paths:?}");
        let gone = paths.into_iter().map(|path| path.split(' ').next().unwrap());
        missing.extend(gone.filter(|path| !root.join(path).exists()).map(|path| format!("{page}: {path}")));
        for heading in ["policy key", "balance policy", "outcome", "admin call"] {
            assert!(
                page != ".github/CONTRIBUTING.md"
                    || text.contains(&format!(
                        "## To add a{} {heading}\n",
                        if heading.starts_with(['o', 'a']) { "n" } else { "" }
                    )),
                "{heading}"
            );
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
