//! The README is run as a person does who pastes its blocks, in order: each TOML block compiles, each command does what it
//! says, each shown output is the real one.
//!
//! All blocks share one folder: `<!-- file: NAME -->` before a block saves it there. A block is pasted into the first
//! terminal, or into the one that the paragraph before it names ("in a second terminal"). `# exit code N` says what a
//! line returns. `<!-- output -->`: the block is what the line before has printed. `<!-- run by: PLACE -->`: it is run there.
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

use harness::lacks;
use harness::markdown::{Block, blocks, in_own_network};
use harness::terminal::Person;

fn readme() -> Vec<Block> {
    blocks(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap())
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
    if lacks(&["script", "bash"]) || !in_own_network("every_command_does_what_it_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut person = Person::at(folder.path());
    let mut commands = 0;
    for block in readme() {
        if let Some(name) = block.note("file") {
            fs::write(folder.path().join(name), &block.text).unwrap();
        }
        if block.note("output").is_some() {
            assert_eq!(person.printed.trim(), block.text.trim(), "the README shows another output");
        }
        if let Some(place) = block.note("run by") {
            assert_eq!(place, "tests/containers");
        } else if block.language == "sh" {
            commands += block.text.lines().count();
            person.pastes(block.terminal(), &block.text);
        }
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
