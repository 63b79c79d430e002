//! The README is run: each TOML block compiles, each command does what it says, each shown output is the real one.
//!
//! Blocks share one folder: `<!-- file: NAME -->` before a block puts it there. A `sh` block runs line by line; `portway run`,
//! `forward`, `whoami` and `demo` go on running until the block ends. `# exit code N` says what a line must return.
//! `<!-- output -->` before a block: it is what the line before has printed. `<!-- run by: PLACE -->`: that test runs it.
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

use harness::markdown::{Block, Stage, blocks, in_own_network};

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
    if !in_own_network("every_command_does_what_it_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path());
    let mut commands = 0;
    for block in readme() {
        if let Some(name) = block.note("file") {
            fs::write(folder.path().join(name), &block.text).unwrap();
        }
        if block.note("output").is_some() {
            assert_eq!(stage.printed.trim(), block.text.trim(), "the README shows another output");
        }
        if let Some(place) = block.note("run by") {
            assert_eq!(place, "tests/containers");
        } else if block.language == "sh" {
            for line in block.text.lines() {
                commands += 1;
                stage.act(line);
            }
            stage.clear();
        }
    }
    assert!(commands >= 8, "only {commands} commands");
}

#[test]
fn the_demo_does_what_its_screen_says() {
    if !in_own_network("the_demo_does_what_its_screen_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path());
    stage.act("cargo run --release -- demo");
    let screen = stage.screen();
    let shown: Vec<&str> = screen.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let [hello, edit, again, udp, break_it, mend] = shown[..] else { panic!("the demo shows\n{screen}") };
    stage.act(hello);
    assert!(stage.printed.contains("one[127.0.0.1:"), "{}", stage.printed);
    stage.act(edit);
    stage.wait_for("reloaded");
    stage.act(again);
    assert!(stage.printed.contains("two[127.0.0.1:"), "{}", stage.printed);
    stage.act(udp);
    assert!(stage.printed.contains("two[127.0.0.1:"), "{}", stage.printed);
    stage.act(break_it);
    stage.wait_for("did you mean `upstream`?");
    stage.act(again);
    assert!(stage.printed.contains("two[127.0.0.1:"), "{}", stage.printed);
    stage.act(mend);
    stage.wait_for("healed");
}
