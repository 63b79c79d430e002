//! A process that is to take over and fails, at a step that the test names. It is a test of this program itself, which does
//! nothing unless it is started as one.

use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::harness::instance::{Place, install};
use crate::harness::pass;

/// Which step fails.
const STEP: &str = "PORTWAY_FAKE_STEP";

/// A program that fails at this step.
pub fn fails_at(place: &Place, step: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let test = "upgrade::fake::plays_a_successor_if_it_is_started_as_one";
    script(place, &format!("{STEP}={step} exec '{}' --exact {test} -q >&2 2>&-", own.display()))
}

/// A program of these shell commands.
pub fn script(place: &Place, commands: &str) -> PathBuf {
    let path = place.root().join("program");
    let text = place.root().join("program.text");
    std::fs::write(&text, format!("#!/bin/sh\n{commands}\n")).unwrap();
    install(text, &path);
    path
}

/// One word of the old process.
fn hear() -> Option<String> {
    let mut packet = [0; 64 * 1024];
    let (_, length) = recv(std::io::stdin().as_fd(), &mut packet[..], RecvFlags::empty()).ok()?;
    // Connections come without a word.
    let word = match packet[0] {
        2 => "connections".into(),
        3 => "sessions".into(),
        _ => String::from_utf8_lossy(&packet[2..length.max(2)]).into_owned(),
    };
    (length > 2).then_some(word)
}

fn say(word: &str) {
    let packet = [&[1, 1], word.as_bytes()].concat();
    let _ = send(std::io::stdin().as_fd(), &packet, SendFlags::NOSIGNAL);
}

fn hang() -> ! {
    loop {
        pass(std::time::Duration::from_secs(60));
    }
}

#[test]
fn plays_a_successor_if_it_is_started_as_one() {
    let Ok(step) = std::env::var(STEP) else { return };
    rustix::io::ioctl_fionbio(std::io::stdin(), false).unwrap();
    let hello = |formats: &str| format!("{{\"hello\":{{{formats},\"build\":\"fake\",\"pid\":1}}}}");
    while let Some(word) = hear() {
        let due = word.trim_start_matches(['{', '"']).split('"').next().unwrap_or_default().to_owned();
        match (due.as_str(), step.as_str()) {
            (due, step) if step == format!("abort-at-{due}") => std::process::abort(),
            (due, step) if step == format!("exit-at-{due}") => std::process::exit(7),
            (due, step) if step == format!("hang-at-{due}") => hang(),
            (due, step) if step == format!("dance-at-{due}") => say("\"dance\""),
            ("hello", "gap") => say(&hello("\"oldest\":7,\"newest\":9")),
            ("hello", _) => say(&hello("\"oldest\":1,\"newest\":1")),
            ("sockets", _) => say("\"taken\""),
            ("prepare", "refuses") => say("{\"refused\":\"error: a fault of the file\"}"),
            ("prepare" | "check", _) => say("\"ready\""),
            _ => say("\"serving\""),
        }
    }
}
