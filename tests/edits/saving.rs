//! R10: whatever a person edits, and whatever she saves it with, runs within 3 s.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::instance::*;

/// How soon an edit runs after the program that saved it has ended.
const SOON: Duration = Duration::from_secs(3);

/// Keys of nano: to the first line, cut to the end, insert a file, write out under the same name, leave.
fn nano(place: &Place, text: &str) {
    let new = beside(place, text);
    let command = format!("stty cols 200; nano --ignorercfiles '{}'", place.file().display());
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    // What is typed before nano reads it, the terminal would change.
    while !String::from_utf8_lossy(&shown).contains("Exit") {
        let read = screen.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&buffer[..read]);
    }
    write!(keys, "\x1b\\\x1bt\x12{new}\r\x0f\r\x18").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    assert!(terminal.wait().unwrap().success());
    assert_eq!(
        fs::read_to_string(place.file()).unwrap().trim_end(),
        text.trim_end(),
        "nano has saved something else"
    );
}

/// As VS Code saves: O_TRUNC, the text in chunks of 256 KiB, fdatasync, close (`src/vs/base/node/pfs.ts`).
fn vs_code(place: &Place, text: &str) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(place.file()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_data().unwrap();
}

fn vim(place: &Place, text: &str, set: &str) {
    let read = format!("silent 0read {}", beside(place, text));
    let commands = ["set backupskip=", set, "silent %d _", &read, "$d _", "wq!"];
    let commands = commands.into_iter().flat_map(|command| ["-c", command]);
    let file = place.file();
    let args = ["-es", "-u", "NONE", "-N"].into_iter().chain(commands);
    tool("vim", args.map(Path::new).chain([&*file]));
}

/// A file with this text, outside of the folder that is watched.
fn beside(place: &Place, text: &str) -> String {
    let new = place.root().join("new.toml");
    fs::write(&new, text).unwrap();
    new.to_str().unwrap().to_owned()
}

/// Runs a line of a shell: `$1` is a file with the text, `$2` the file of the routes.
fn shell(place: &Place, text: &str, line: &str) {
    let (new, file) = (beside(place, text), place.file());
    tool("sh", ["-ec", line, "sh", &new, file.to_str().unwrap()]);
}

/// A commit with the text, which is checked out again after another one.
fn git(place: &Place, text: &str) {
    let line = "cd \"$(dirname \"$2\")\"; export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
        test -d .git || git init -q .
        git config user.name a; git config user.email a@example.org
        blob=$(git hash-object -w \"$1\")
        git update-index --add --cacheinfo 100644,$blob,portway.toml; git commit -q -m next
        git checkout -q HEAD -- portway.toml";
    shell(place, text, line);
}

fn config_map(place: &Place, text: &str) {
    let line =
        "cd \"$(dirname \"$2\")\"; version=..$(date +%s%N); mkdir $version; cp \"$1\" $version/portway.toml
        old=$(readlink ..data || true); ln -s $version ..data_tmp; mv -T ..data_tmp ..data
        test -L portway.toml || { ln -s ..data/portway.toml .link; mv -T .link portway.toml; }
        rm -rf \"./${old:-none}\"";
    shell(place, text, line);
}

/// What a person does with three routes; each also says which of them run afterwards.
fn edits(ports: &[Port; 4], a: &Backend) -> Vec<(&'static str, String)> {
    let more = "idle_timeout = \"1h\"\nmax_connections = 100\n\n";
    let [one, two, three, four] = [("one", 0), ("two", 1), ("three", 2), ("four", 3)]
        .map(|(name, at)| route(name, &ports[at].local(), a, more));
    let text = |routes: &[&str]| format!("{HEAD}{}", routes.concat());
    let changed = two.replace("100", "50");
    vec![
        ("added four", text(&[&one, &two, &three, &four])),
        ("changed two", text(&[&one, &changed, &three])),
        ("removed one", text(&[&two, &three])),
        ("removed two", text(&[&one, &three])),
        ("removed three", text(&[&one, &two])),
        ("removed three, two", text(&[&one])),
        ("removed one, two", text(&[&three])),
        // The text to return to.
        ("", text(&[&one, &two, &three])),
    ]
}

/// Each edit, saved in this way; in between the file returns to what it was.
fn every_edit(save: impl Fn(&Place, &str)) {
    let (ports, a) = ([0; 4].map(|_| Port::reserve()), Backend::named("a"));
    let mut edits = edits(&ports, &a);
    let (_, start) = edits.pop().unwrap();
    let place = Place::with(&start);
    let mut portway = Portway::run(&place.file());
    let mut flow = Flow::open(ports[0].number);
    for (plan, text) in &edits {
        for (text, back) in [(text, false), (&start, true)] {
            save(&place, text);
            let saved = Instant::now();
            let line = portway.phase_of(&["reloaded", "edit refused"]);
            assert!(back || line["plan"] == *plan, "{plan}: {line}");
            assert_eq!(message(&line), "reloaded");
            assert!(saved.elapsed() < SOON, "{plan}: {:?}", saved.elapsed());
        }
    }
    flow.ping().unwrap();
    drop(flow);
    portway.stop();
}

#[test]
fn r10_nano() {
    if !lacks(&["nano", "script"]) {
        every_edit(nano);
    }
}

#[test]
fn r10_vs_code() {
    every_edit(vs_code);
}

#[test]
fn r10_vim_with_a_backup() {
    every_edit(|place, text| vim(place, text, "set backup backupcopy=no"));
}

#[test]
fn r10_vim_without_a_backup() {
    every_edit(|place, text| vim(place, text, "set nobackup nowritebackup"));
}

#[test]
fn r10_vim_in_place() {
    every_edit(|place, text| vim(place, text, "set backupcopy=yes"));
}

#[test]
fn r10_sed() {
    every_edit(|place, text| shell(place, text, "sed -i -e \"1r $1\" -e d \"$2\""));
}

#[test]
fn r10_cp() {
    every_edit(|place, text| shell(place, text, "cp \"$1\" \"$2\""));
}

#[test]
fn r10_cp_with_times() {
    every_edit(|place, text| shell(place, text, "cp -p \"$1\" \"$2\""));
}

#[test]
fn r10_tee() {
    every_edit(|place, text| shell(place, text, "tee \"$2\" <\"$1\" >/dev/null"));
}

#[test]
fn r10_rsync() {
    if !lacks(&["rsync"]) {
        every_edit(|place, text| shell(place, text, "rsync --times --checksum \"$1\" \"$2\""));
    }
}

#[test]
fn r10_rsync_in_place() {
    if !lacks(&["rsync"]) {
        every_edit(|place, text| shell(place, text, "rsync --inplace --times --checksum \"$1\" \"$2\""));
    }
}

#[test]
fn r10_git_checkout() {
    if !lacks(&["git"]) {
        every_edit(git);
    }
}

#[test]
fn r10_a_config_map() {
    every_edit(config_map);
}

/// A list of addresses, saved in place: its last line deleted, and all but the first.
#[test]
fn r10_a_list_of_addresses() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let place =
        Place::with(&format!("{HEAD}{}", route("web", &port.local(), &a, "deny = { file = \"denied\" }\n")));
    let denied = place.folder().join("denied");
    fs::write(&denied, "192.0.2.1\n192.0.2.2\n127.0.0.0/8\n").unwrap();
    let mut portway = Portway::run(&place.file());
    assert!(Flow::try_open(port.number).is_err());
    fs::write(&denied, "192.0.2.1\n192.0.2.2\n").unwrap();
    let saved = Instant::now();
    portway.phase("list taken over");
    assert!(saved.elapsed() < SOON, "{:?}", saved.elapsed());
    assert_eq!(
        portway.count("the file ends after `192.0.2.2` now, and `127.0.0.0/8` is gone"),
        1,
        "{}",
        portway.log()
    );
    assert_eq!(reached(port.number), "a");
    // Cut off within a line: 192.0.2.1 may be the beginning of another address.
    fs::write(&denied, "192.0.2.2\n192.0.2.1").unwrap();
    portway.phase("list taken over");
    fs::write(&denied, "192.0.2").unwrap();
    portway.phase("list refused");
    let fresh = "10.0.0.0/8\n192.0.2.2\n192.0.2.1\n";
    fs::write(&denied, fresh).unwrap();
    portway.phase("list taken over");
    fs::write(&denied, "10.0.0.0").unwrap();
    let refused = portway.phase("list refused");
    assert!(refused["headline"].as_str().unwrap().contains("its last line has no end"), "{refused}");
    portway.stop();
}

/// The writer of a file that a test lets stop.
struct Writer {
    shell: std::process::Child,
}

impl Writer {
    /// Empties the file, writes a text, and waits with the file open.
    fn writes(place: &Place, text: &str) -> Writer {
        let new = beside(place, text);
        let script = "exec 3>\"$2\"; cat \"$1\" >&3; echo written; read line && cat \"$line\" >&3";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &new]).arg(place.file());
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 8];
        shell.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Writer { shell }
    }

    fn goes_on(mut self, rest: &Path) {
        writeln!(self.shell.stdin.take().unwrap(), "{}", rest.display()).unwrap();
        assert!(self.shell.wait().unwrap().success());
    }

    fn killed(mut self) {
        self.shell.kill().unwrap();
        self.shell.wait().unwrap();
    }
}

/// A text of three routes from which the first one is deleted, and what is written of it so far.
fn written(ports: &[Port; 4], a: &Backend) -> (String, String) {
    let mut edits = edits(ports, a);
    let (_, start) = edits.pop().unwrap();
    let (_, edited) = edits.swap_remove(2);
    (start, edited)
}

#[test]
fn r10_a_writer_that_still_writes_removes_nothing() {
    let (ports, a) = ([0; 4].map(|_| Port::reserve()), Backend::named("a"));
    let (start, edited) = written(&ports, &a);
    let place = Place::with(&start);
    let mut portway = Portway::run(&place.file());
    // Exactly to the end of a table: nothing but the open file says that there is more.
    let (half, rest) = edited.split_at(edited.find("[[route]]\nname = \"three\"").unwrap());
    let file = place.root().join("rest");
    fs::write(&file, rest).unwrap();
    let writer = Writer::writes(&place, half);
    pass(Duration::from_secs(2));
    for phase in ["reloaded", "edit refused", "nothing changed"] {
        assert_eq!(portway.count(phase), 0, "{}", portway.log());
    }
    writer.goes_on(&file);
    assert_eq!(portway.phase_of(&["reloaded", "edit refused"])["plan"], "removed one");
    assert_eq!(portway.count("the file ends after"), 0, "{}", portway.log());
    portway.stop();
}

#[test]
fn r10_a_writer_that_is_killed_removes_routes_only_at_the_end_of_a_table() {
    let (ports, a) = ([0; 4].map(|_| Port::reserve()), Backend::named("a"));
    let (start, edited) = written(&ports, &a);
    let place = Place::with(&start);
    let mut portway = Portway::run(&place.file());
    let end = edited.find("\n[[route]]\nname = \"three\"").unwrap();
    let at = |text: &str| edited.find(text).unwrap();
    let within = [
        (at("name = \"two\"") + 6, ""),
        (at("upstream"), ""),
        (
            at("idle_timeout"),
            "it ends within `two`, without its `idle_timeout`, `max_connections`, and `one`, `three` are gone",
        ),
        (at("max_connections"), "it ends within `two`, without its `max_connections`"),
        (at("max_connections = 100") + "max_connections = 10".len(), "its last line has no end"),
        (end - 1, "its last line has no end"),
    ];
    for (length, fault) in within {
        Writer::writes(&place, &edited[..length]).killed();
        let line = portway.phase_of(&["edit refused", "reloaded"]);
        let headline = line["headline"].as_str().unwrap_or_else(|| panic!("{length} bytes: {line}"));
        assert!(headline.contains(fault), "{length} bytes: {headline}");
        assert_eq!(ports.each_ref().map(|port| is_refused(port.number)), [false, false, false, true]);
    }
    Writer::writes(&place, &edited[..end]).killed();
    assert_eq!(portway.phase("reloaded")["plan"], "removed one, three");
    let warned = portway.seen.iter().find(|line| message(line).starts_with("the file ends after")).unwrap();
    assert!(message(warned).contains("after `two` now, and `one`, `three` are gone"), "{warned}");
    portway.stop();
}

/// Without events nobody tells that the file was closed: what takes a route away waits for 10 s, and nothing else does.
#[test]
fn r10_without_events_a_removal_waits_until_the_file_is_still() {
    let userns = Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success());
    if !can("user namespaces", userns) {
        return;
    }
    let (ports, a) = ([0; 4].map(|_| Port::reserve()), Backend::named("a"));
    let mut edits = edits(&ports, &a);
    let (_, start) = edits.pop().unwrap();
    let place = Place::with(&start);
    let script =
        format!("echo 0 > /proc/sys/user/max_inotify_instances && exec {PORTWAY} run --config \"$0\"");
    let mut portway =
        Portway::start(Command::new("unshare").args(["-Ur", "sh", "-c", &script]).arg(place.file()));
    let mut save = |text: &str| {
        let saved = Instant::now();
        fs::write(place.file(), text).unwrap();
        (
            portway.phase_of(&["reloaded", "edit refused"])["plan"].as_str().unwrap().to_owned(),
            saved.elapsed(),
        )
    };
    let (plan, took) = save(&edits[0].1);
    assert!(plan == "added four" && took < Duration::from_secs(6), "{plan} after {took:?}");
    let (plan, took) = save(&start);
    assert!(plan == "removed four" && took >= Duration::from_secs(10), "{plan} after {took:?}");
    portway.stop();
}
