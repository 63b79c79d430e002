//! SIGHUP: reload now. E2: none is lost, during the start or another reload.

use std::process::Command;

use crate::harness::instance::*;

#[test]
fn a_hang_up_reloads_and_always_answers() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let place = Place::with(&file(&[("web", port.local(), &a)]));
    let mut portway = Portway::run(&place.file());
    portway.hang_up();
    assert_eq!(portway.phase("nothing changed")["generation"], 1);
    place.save(&file(&[("web", port.local(), &b)]));
    portway.hang_up();
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "b");
    assert_eq!(portway.count("reloaded"), 1);
    portway.stop();
}

/// Whether the process listens for SIGHUP by now: it catches SIGUSR1 (proc_pid_status(5), SigCgt), which comes after it.
/// tokio installs a handler some microseconds before it listens: a signal between the two has no answer, but the file is
/// read later than that.
fn listens_for_hang_up(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & (1 << 9) != 0))
}

#[test]
fn a_hang_up_during_the_start_is_answered_after_it() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let place = Place::with(&file(&[("web", port.local(), &a)]));
    for _ in 0..20 {
        let mut portway = Portway::spawn(Command::new(PORTWAY).arg("run").arg("--config").arg(place.file()));
        while !listens_for_hang_up(portway.pid()) {
            std::thread::yield_now();
        }
        portway.hang_up();
        portway.phase("ready");
        portway.phase("nothing changed");
        portway.signal(rustix::process::Signal::TERM);
        portway.phase("stopped");
    }
}

#[test]
fn the_last_of_many_hang_ups_sees_the_last_text() {
    let (port, backends) = (Port::reserve(), [Backend::named("a"), Backend::named("b")]);
    let text = |turn: usize| file(&[(&format!("web{turn}"), port.local(), &backends[turn % 2])]);
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    let mut flow = Flow::open(port.number);
    for turn in 1..=200 {
        place.save(&text(turn));
        portway.hang_up();
        if turn % 7 == 0 {
            pass(std::time::Duration::from_micros(300 * (turn as u64 % 11)));
        }
    }
    portway.until("the last text runs", |portway| {
        portway
            .seen
            .iter()
            .rev()
            .any(|line| line["plan"].as_str().is_some_and(|plan| plan.starts_with("added web200;")))
    });
    assert_eq!(reached(port.number), "a");
    flow.ping().unwrap();
    drop(flow);
    assert_eq!(portway.count("edit refused"), 0);
    portway.stop();
}
