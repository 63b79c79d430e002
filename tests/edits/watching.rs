//! The watch itself: what it must not miss (D6), what it must not do (D7), and what it must bear (D8).

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::instance::*;

/// A file by which the log tells of every look.
fn with_looks(file: &str) -> String {
    file.replacen("[[route]]", "level = \"info,portway::files::watch=debug\"\n[[route]]", 1)
}

/// D7: one edit is one reload, and the looks that follow are quiet.
#[test]
fn looking_does_not_cause_looks() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend| with_looks(&file(&[("web", port.local(), backend)]));
    let place = Place::with(&text(&a));
    let mut portway = Portway::run(&place.file());
    place.save(&text(&b));
    portway.phase("reloaded");
    let reloaded = Instant::now();
    let looks = portway.count("looked at the file");
    portway.until("five more looks", |portway| portway.count("looked at the file") >= looks + 5);
    // At most one of them may come of an event that was on its way; the others are polls, 2 s apart.
    assert!(reloaded.elapsed() > Duration::from_secs(6), "five looks in {:?}", reloaded.elapsed());
    assert_eq!(portway.count("reloaded"), 1);
    assert_eq!(portway.count("nothing changed"), 0);
    portway.stop();
}

/// The file in a busy folder, such as /tmp: what happens to its neighbours is no reason to look.
#[test]
fn neighbours_cause_no_looks() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend| with_looks(&file(&[("web", port.local(), backend)]));
    let place = Place::with(&text(&a));
    let mut portway = Portway::run(&place.file());
    portway.until("a look", |portway| portway.count("looked at the file") > 0);
    let (start, looks) = (Instant::now(), portway.count("looked at the file"));
    while start.elapsed() < Duration::from_secs(3) {
        std::fs::write(place.folder().join("neighbour"), "one more line").unwrap();
        std::fs::rename(place.folder().join("neighbour"), place.folder().join("other")).unwrap();
        pass(Duration::from_millis(10));
    }
    place.save(&text(&b));
    portway.phase("reloaded");
    let looks = portway.count("looked at the file") - looks;
    // Polls, and the edit with the looks by which it settles.
    assert!(looks <= 8, "{looks} looks in {:?}", start.elapsed());
    portway.stop();
}

/// D8: 100 edits a second are taken in about once a second, at little cost.
#[test]
fn a_storm_of_edits_is_taken_in_now_and_then() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let text = |turn: u32| file(&[(&format!("web{}", turn + 1000), port.local(), &a)]);
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    let (start, seconds) = (Instant::now(), 8);
    let mut flow = Flow::open(port.number);
    let mut turn = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        turn += 1;
        match turn % 2 {
            0 => std::fs::write(place.file(), text(turn)).unwrap(),
            _ => place.save(&text(turn)),
        }
        flow.ping().unwrap();
        pass(Duration::from_millis(10));
    }
    let reloads = portway.count("reloaded");
    assert!(
        (3..=9).contains(&reloads),
        "{reloads} reloads of {turn} edits in {seconds} s\n{}",
        portway.log()
    );
    let used = cpu_time(portway.pid());
    assert!(used < Duration::from_secs(seconds) / 4, "{used:?} of processor time in {seconds} s");
    let last = format!("added web{};", turn + 1000);
    portway.until("the last text runs", |portway| {
        portway.seen.iter().rev().any(|line| line["plan"].as_str().is_some_and(|p| p.starts_with(&last)))
    });
    // A writer that is held up after it has emptied the file is all that may be told of.
    let refused = portway.seen.iter().filter_map(|line| line["headline"].as_str());
    assert_eq!(refused.filter(|headline| !headline.contains("is empty")).count(), 0, "{}", portway.log());
    drop(flow);
    portway.stop();
}

/// User and system time so far (proc_pid_stat(5)).
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // USER_HZ is 100 wherever Linux runs today.
    Duration::from_millis(ticks * 10)
}

/// D6: without inotify (no instance, or no watch to be had) the polls find the edit, and it is said once.
#[test]
fn without_events_polling_goes_on() {
    let userns = Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success());
    if !can("user namespaces", userns) {
        return;
    }
    for (limit, cure) in
        [("max_inotify_instances", "max_user_instances"), ("max_inotify_watches", "max_user_watches")]
    {
        let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
        let text = |backend| file(&[("web", port.local(), backend)]);
        let place = Place::with(&text(&a));
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec {PORTWAY} run --config \"$0\"");
        let mut command = Command::new("unshare");
        let mut portway = Portway::start(
            command.args(["-Ur", "sh", "-c", &script]).arg(place.file()).env("PORTWAY_CONFIG", ""),
        );
        assert_eq!(portway.count("the file system cannot report changes"), 1, "{}", portway.log());
        assert!(portway.log().contains(&format!("raise fs.inotify.{cure}")), "{}", portway.log());
        for (backend, name) in [(&b, "b"), (&a, "a")] {
            let saved = Instant::now();
            place.save(&text(backend));
            portway.phase("reloaded");
            assert!(saved.elapsed() < Duration::from_secs(5), "{:?}", saved.elapsed());
            assert_eq!(reached(port.number), name);
        }
        assert_eq!(portway.count("the file system cannot report changes"), 1);
        portway.stop();
    }
}

/// A folder that was removed for a while, and a file system that gives the new one the old one's inode number.
#[test]
fn a_folder_that_was_away_is_watched_again() {
    let (port, backends) = (Port::reserve(), [Backend::named("a"), Backend::named("b")]);
    let text = |turn: usize| with_looks(&file(&[("web", port.local(), &backends[turn % 2])]));
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    for turn in [1_usize, 3, 5] {
        std::fs::remove_dir_all(place.folder()).unwrap();
        assert!(portway.refused().contains("no such file"), "{}", portway.log());
        assert_eq!(portway.count("edit refused"), turn.div_ceil(2));
        std::fs::create_dir(place.folder()).unwrap();
        std::fs::write(place.file(), text(turn)).unwrap();
        portway.phase("reloaded");
        portway.phase("fault healed");
        // Events come again: an edit just after a poll does not wait for the next one, 2 s later.
        let looks = portway.count("looked at the file");
        portway.until("the polls are all that is left", |portway| {
            portway.count("looked at the file") >= looks + 3
        });
        let saved = Instant::now();
        place.save(&text(turn + 1));
        portway.phase("reloaded");
        assert!(saved.elapsed() < Duration::from_millis(1500), "{:?}", saved.elapsed());
    }
    portway.stop();
}
