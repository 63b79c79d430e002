//! The unit files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::is_root;
use crate::harness::launch::{Launch, PORTWAY, echo, lacks, until};

/// As they are shipped, on every systemd since that of Debian 12.
#[test]
fn o9_the_units_are_right() {
    if lacks(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for unit in ["portway.service", "portway.socket"] {
        let text = fs::read_to_string(deploy.join(unit)).unwrap();
        // `verify` looks for the program.
        let text = text.replace("/usr/bin/portway", PORTWAY);
        fs::write(folder.path().join(unit), text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(["portway.service", "portway.socket"].map(|unit| folder.path().join(unit)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
    // The score that its text tells, in tenths: a higher one fails.
    let rated = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=16"])
        .arg(folder.path().join("portway.service"))
        .output()
        .unwrap();
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
    let text = fs::read_to_string(deploy.join("portway.service")).unwrap();
    assert!(text.contains("rates it 1.6."));
    // What systemd 253 brought, a newer `verify` does not complain about.
    assert!(text.contains("\nType=notify\n") && text.contains("\nExecReload=kill -HUP $MAINPID\n"), "{text}");
}

/// The system calls of a set of systemd's, and of the sets in it.
fn calls_of(set: &str) -> BTreeSet<String> {
    let listed = Command::new("systemd-analyze").args(["syscall-filter", set]).output().unwrap();
    assert!(listed.status.success(), "{set}");
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .flat_map(|line| if line.starts_with('@') { calls_of(line) } else { [line.to_owned()].into() })
        .collect()
}

#[test]
fn the_unit_allows_each_system_call_of_a_life() {
    if lacks(&["systemd-analyze", "strace"]) {
        return;
    }
    let unit =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/portway.service")).unwrap();
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        for set in line.trim_start_matches('~').split(' ') {
            match line.starts_with('~') {
                false if !set.starts_with('@') => drop(allowed.insert(set.to_owned())),
                false => allowed.extend(calls_of(set)),
                true => allowed = &allowed - &calls_of(set),
            }
        }
    }
    assert!(allowed.contains("accept4") && !allowed.contains("chroot"), "{allowed:?}");

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Who is not root can give a file only to a group of its own.
    let group = if is_root() { 65534 } else { rustix::process::getegid().as_raw() };
    let text = |keepalive: &str| {
        format!(
            "[admin]\nlisten = \"unix:{}\"\n[log]\naccess = \"{}\"\n\
             [[route]]\nlisten = {{ address = \"unix:{}\", mode = \"0666\", group = {group} }}\nupstream = \"localhost:{}\"\n\
             keepalive = \"{keepalive}\"\n",
            at("admin"),
            at("access"),
            at("front"),
            echo().port()
        )
    };
    fs::write(at("portway.toml"), text("60s")).unwrap();
    let trace = ["strace", "-D", "-f", "-qq", "-o", &at("calls")];
    let launch = Launch::default().under(&trace).args(&["run", "--config", &at("portway.toml")]);
    let mut portway = launch.start().ready();
    let mut client = UnixStream::connect(at("front")).unwrap();
    let mut answer = [0; 5];
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut answer).unwrap();
    drop(client);
    let status = Command::new(PORTWAY).args(["status", "--config", &at("portway.toml")]).output().unwrap();
    assert!(status.status.success());
    fs::write(at("portway.toml"), text("61s")).unwrap();
    portway.lines.wait_for(" reloaded ");
    portway.signal(Signal::HUP);
    portway.lines.wait_for(" nothing changed");
    portway.signal(Signal::USR1);
    portway.lines.wait_for("log files are opened again");
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());

    // strace writes on for a moment. `PID name(...`: other lines are the ends of calls, signals and exits.
    let calls = || fs::read_to_string(at("calls")).unwrap();
    until("strace has seen the end", || calls().contains("exit_group("));
    let calls = calls();
    let made = calls.lines().filter_map(|line| line.split_whitespace().nth(1)?.split_once('('));
    // `???`: the thread was gone before its call could be told.
    let made: BTreeSet<String> = made.map(|(name, _)| name.to_owned()).filter(|name| name != "???").collect();
    assert!(made.contains("accept4") && made.len() > 30, "{made:?}");
    assert_eq!(&made - &allowed, BTreeSet::new());
}

/// A version stands in several files, for people and engines: it is that of the program everywhere.
#[test]
fn what_is_shipped_names_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let read = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let changes = read("deploy/CHANGELOG.md");
    let first =
        changes.lines().find(|line| line.starts_with("## [") && !line.contains("Unreleased")).unwrap();
    assert!(first.starts_with(&format!("## [{version}] - 20")), "{first}");
    assert!(read("deploy/Dockerfile").contains(&format!("org.opencontainers.image.version=\"{version}\"\n")));
    for file in ["deploy/kubernetes.yaml", "deploy/kubernetes-daemonset.yaml"] {
        assert!(read(file).contains(&format!("/portway:{version}\n")), "{file}");
    }
}
