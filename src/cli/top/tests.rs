use std::path::PathBuf;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::json;

use super::deeds::{Deed, Of, Steer};
use super::screen::{Act, Key, Screen};
use super::{View, draw, key};
use crate::admin::api::ReloadOutcome;

/// What the proxy reports at one second of its life. Bytes and connections grow evenly, except for those of `db`, which
/// pauses.
fn view(second: u64, open: bool) -> View {
    let traffic = |opened: u64, up: u64, down: u64| {
        json!({ "open": 3, "opened": opened * second, "closed": (opened * second).saturating_sub(3),
                "bytes_up": up * second, "bytes_down": down * second })
    };
    let route = |name: &str, state: &str, reason: Option<&str>, traffic: serde_json::Value| {
        json!({ "name": name, "protocol": "tcp", "listen": ["127.0.0.1:8080"], "upstream": ["app-1:3000", "app-2:3000"],
                "state": state, "reason": reason, "traffic": traffic, "outcomes": {}, "turned_away": {},
                "retired": 0, "dropped": {} })
    };
    let upstream = |route: &str, name: &str, state: &str, reason: Option<&str>| {
        json!({ "route": route, "upstream": name, "weight": 1, "backup": name == "spare:3000",
                "max_connections": null, "state": state, "reason": reason, "more_addresses": 0, "addresses_up": 1,
                "addresses": [{ "address": "10.0.0.7:3000", "up": state == "up", "reason": reason, "load": 2,
                                "downs": 1, "check": { "up": state == "up", "downs": 1, "last": 0.5, "took": 0.0123,
                                                       "last_ok": reason.is_none(), "reason": reason,
                                                       "against": 0, "needed": 3 } }],
                "traffic": traffic(4, 1000, 20_000), "failed": 7 })
    };
    let connection = |id: u64, client: &str, speed: u64| {
        json!({ "id": id, "protocol": "tcp", "route": "app", "generation": 2, "client": client,
                "listener": "127.0.0.1:8080", "upstream": "app-1:3000", "peer": "10.0.0.7:3000",
                "started": "2026-11-25T02:00:00Z", "age": 60.0 + second as f64 - id as f64, "idle": 0.25,
                "bytes_up": speed * second, "bytes_down": 10 * speed * second, "connect": 0.001,
                "path": "splice", "why": "much moves one way", "tcp": null })
    };
    let mut app = traffic(12, 2_000_000, 0);
    app["bytes_down"] = json!(50_000_000 * second + 9_000_000 * (second % 5));
    let down = Some("10.0.0.9:5432: connection refused");
    let status = json!({ "version": "0.1.0", "pid": 17, "phase": "running", "started": "2026-11-25T01:00:00Z",
        "uptime": 3600.0 + second as f64, "generation": 4, "generation_since": "2026-11-25T01:50:00Z",
        "file": "/etc/portway/portway.toml", "pending": null, "pending_files": [], "warnings": [],
        "reload": { "at": "2026-11-25T01:50:00Z", "age": 600.0, "outcome": "reloaded", "succeeded": 3,
                    "refused": 0, "stale": false },
        "routes": { "all": 3, "up": 1, "degraded": 1, "down": 1, "disabled": 0 }, "listeners": 3,
        "traffic": traffic(15, 2_001_000, 50_020_000), "turned_away": 0,
        "limits": { "descriptors": { "used": 40, "most": 1024 }, "connections": { "used": 9, "most": 400 },
                    "preread": { "used": 1, "most": 100 }, "preread_memory": { "used": 8192, "most": 67_108_864 },
                    "sessions": { "used": 0, "most": 100 }, "pipes": { "used": 2, "most": 64 },
                    "memory": { "used": 1_048_576, "most": null } },
        "log_lines_lost": 0 });
    let mut routes = json!({ "generation": 4, "routes": [
        route("app", "degraded", Some("app-2:3000: timed out"), app),
        route("db", "down", down, traffic(0, 0, 0).as_object().map(|_| json!({ "open": 0, "opened": 5, "closed": 5,
            "bytes_up": 10, "bytes_down": 10 })).unwrap()),
        route("mail with a very long name", "up", None, traffic(3, 1000, 20_000)) ] });
    routes["routes"][2]["file"] = json!("/etc/portway/routes.d/mail.toml");
    let upstreams = json!({ "generation": 4, "upstreams": [
        upstream("app", "app-1:3000", "up", None), upstream("app", "app-2:3000", "down", Some("timed out")),
        upstream("app", "spare:3000", "unresolved", Some("the name does not resolve")) ] });
    let connections = json!({ "open": 9, "next": null, "connections": [
        connection(3, "192.0.2.7:40001", 5), connection(5, "[2001:db8::17]:40002", 900_000),
        connection(8, "198.51.100.1:40003", 0), connection(11, "evil\u{1b}[2J:1", 70) ] });
    View {
        status: serde_json::from_value(status).unwrap(),
        routes: serde_json::from_value(routes).unwrap(),
        upstreams: serde_json::from_value(upstreams).unwrap(),
        connections: open.then(|| serde_json::from_value(connections).unwrap()),
    }
}

/// The same with a fault in the file.
fn faulty(second: u64) -> View {
    let mut view = view(second, false);
    let report = "error: `db` is not an address\n --> portway.toml:7:12\n  |\n7 | upstream = \"db\"\n  |            ^^^^\n  |\n  = help: write a port: \"db:5432\"\n\nportway.toml: 1 fault\n";
    let pending = json!({ "since": "2026-11-25T02:03:04Z", "headline": "portway.toml:7:12: `db` is not an address",
                          "report": report, "faults": 1 });
    view.status.pending = serde_json::from_value(pending).unwrap();
    view
}

fn picture(screen: &mut Screen, (width, height): (u16, u16), colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, screen, colour)).unwrap();
    terminal.backend().buffer().clone()
}

/// The text of a picture, with `>` before lines that are reversed.
fn text(buffer: &Buffer) -> String {
    let mut lines = String::new();
    for y in 0..buffer.area.height {
        let row: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        let reversed = (0..buffer.area.width).any(|x| buffer[(x, y)].modifier.contains(Modifier::REVERSED));
        lines += if reversed { ">" } else { " " };
        lines += row.trim_end();
        lines.push('\n');
    }
    lines
}

fn golden(name: &str, screen: &mut Screen, size: (u16, u16)) {
    let shown = text(&picture(screen, size, false));
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/golden/top", &format!("{name}.txt")].iter().collect();
    if std::env::var_os("PORTWAY_BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == expected, "{} came out otherwise:\n{shown}\nexpected:\n{expected}", path.display());
}

/// A screen that has watched for some seconds.
fn watching(seconds: u64) -> Screen {
    let mut screen = Screen::new(false);
    (1..=seconds).for_each(|second| screen.see(Ok(view(second, true))));
    screen
}

fn keys(screen: &mut Screen, keys: &str) {
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\u{1b}' => Key::Escape,
            other => Key::Char(other),
        };
        screen.key(key);
    }
}

#[test]
fn every_table_fits_into_80_by_24() {
    let mut screen = watching(20);
    golden("routes", &mut screen, (80, 24));
    screen.key(Key::End);
    golden("routes-included", &mut screen, (80, 24));
    screen.key(Key::Home);
    for (name, key) in [("upstreams", '2'), ("connections", '3'), ("faults-none", '4')] {
        screen.key(Key::Char(key));
        golden(name, &mut screen, (80, 24));
    }
    screen.key(Key::Char('1'));
    golden("routes-wide", &mut screen, (150, 12));
    screen.key(Key::Char('3'));
    golden("connections-wide", &mut screen, (150, 12));
    // A terminal that is smaller than anything: it may show little, but must not fail.
    for size in [(1, 1), (20, 5), (79, 3)] {
        picture(&mut screen, size, true);
    }
}

#[test]
fn a_fault_of_the_file_is_shown_with_its_picture_and_remembered() {
    let mut screen = watching(2);
    screen.see(Ok(faulty(3)));
    golden("refused", &mut screen, (80, 24));
    screen.key(Key::Char('4'));
    golden("faults", &mut screen, (80, 24));
    screen.see(Ok(view(4, false)));
    golden("faults-past", &mut screen, (80, 24));
}

#[test]
fn what_was_read_without_a_change_is_what_runs_and_a_probation_is_shown() {
    let mut screen = Screen::new(false);
    let mut shown = |outcome, probation| {
        let mut view = view(1, false);
        (view.status.reload.outcome, view.status.reload.age) = (outcome, 32.0);
        view.status.reload.probation = probation;
        screen.see(Ok(view));
        text(&picture(&mut screen, (80, 8), false)).lines().nth(1).unwrap().to_owned()
    };
    let read = " generation 4, /etc/portway/portway.toml is what runs (read 32s ago, no change)";
    assert_eq!(shown(ReloadOutcome::Unchanged, None), read);
    let tried = " generation 4, /etc/portway/portway.toml reloaded 32s ago, on probation for 28s";
    assert_eq!(shown(ReloadOutcome::Reloaded, Some(28.0)), tried);
}

#[test]
fn nobody_that_answers_is_said_over_the_last_picture() {
    let mut screen = Screen::new(false);
    golden("asking", &mut screen, (80, 8));
    screen.see(Err("no running Portway answers at 127.0.0.1:9180: connection refused".to_owned()));
    golden("nobody", &mut screen, (80, 8));
    screen.see(Ok(view(1, false)));
    screen.see(Err("no running Portway answers at 127.0.0.1:9180: connection refused".to_owned()));
    golden("lost", &mut screen, (80, 12));
}

#[test]
fn a_kill_is_asked_for_first_and_is_of_the_row_that_was_chosen() {
    let mut screen = watching(3);
    keys(&mut screen, "3");
    // By what they move: 5, 11, 3, 8.
    keys(&mut screen, "j");
    screen.key(Key::Char('x'));
    golden("kill", &mut screen, (80, 24));
    assert_eq!(screen.key(Key::Enter), Act::Nothing);
    assert_eq!(screen.key(Key::Char('y')), Act::Do(Deed::Kill(vec![11])));
    keys(&mut screen, "x");
    assert_eq!(screen.key(Key::Char('n')), Act::Nothing);
    assert_eq!(screen.key(Key::Char('y')), Act::Nothing);
    // Sorted otherwise, the same row stays chosen.
    keys(&mut screen, "sr");
    assert_eq!(screen.view().unwrap().rows[screen.row()].key, "11");
    // All that match a filter; without a filter it is refused.
    keys(&mut screen, "X");
    assert!(screen.message.as_deref().unwrap().contains("filter"));
    keys(&mut screen, "/192.0.2\nX");
    golden("kill-filter", &mut screen, (80, 24));
    assert_eq!(screen.key(Key::Char('y')), Act::Do(Deed::Kill(vec![3])));
    keys(&mut screen, "1x");
    assert!(screen.message.as_deref().unwrap().contains("only connections"));
}

#[test]
fn o3_a_route_or_an_upstream_is_steered_after_a_question() {
    let mut screen = watching(3);
    let of = |route: &str, upstream: Option<&str>| Of {
        route: route.to_owned(),
        upstream: upstream.map(str::to_owned),
    };
    keys(&mut screen, "d");
    assert_eq!(screen.key(Key::Char('y')), Act::Do(Deed::Steer(Steer::Drain, of("app", None))));
    keys(&mut screen, "+");
    assert!(screen.message.as_deref().unwrap().contains("weight"));
    keys(&mut screen, "2jD");
    golden("disable", &mut screen, (80, 24));
    let second = || of("app", Some("app-2:3000"));
    assert_eq!(screen.key(Key::Char('y')), Act::Do(Deed::Steer(Steer::Disable, second())));
    keys(&mut screen, "+");
    assert_eq!(screen.key(Key::Char('y')), Act::Do(Deed::Steer(Steer::Weight(2), second())));
    keys(&mut screen, "e");
    assert_eq!(screen.key(Key::Char('n')), Act::Nothing);
    keys(&mut screen, "3d");
    assert!(screen.message.as_deref().unwrap().contains("go to 1 or 2"));
}

#[test]
fn rows_are_sorted_and_filtered_and_the_chosen_one_is_kept() {
    let mut screen = watching(3);
    keys(&mut screen, "3");
    let order = |screen: &Screen| -> Vec<String> {
        screen.view().unwrap().rows.iter().map(|row| row.key.clone()).collect()
    };
    assert_eq!(order(&screen), ["5", "11", "3", "8"]);
    // The next column that is shown: around, to the id, the largest first.
    keys(&mut screen, "s");
    assert_eq!(order(&screen), ["11", "8", "5", "3"]);
    keys(&mut screen, "r");
    assert_eq!(order(&screen), ["3", "5", "8", "11"]);
    keys(&mut screen, "/db8");
    golden("filter", &mut screen, (80, 12));
    assert_eq!(order(&screen), ["5"]);
    keys(&mut screen, "\u{1b}");
    assert_eq!(order(&screen).len(), 4);
    // A held picture does not move, and goes on once it is released.
    keys(&mut screen, "p");
    screen.see(Ok(view(9, true)));
    assert_eq!(screen.view.as_ref().unwrap().status.uptime, 3603.0);
    assert_eq!(screen.key(Key::Char('p')), Act::Ask);
    screen.see(Ok(view(10, true)));
    assert_eq!(screen.view.as_ref().unwrap().status.uptime, 3610.0);
}

#[test]
fn without_colour_nothing_has_one_and_with_it_a_state_does() {
    let mut screen = watching(3);
    let coloured = |buffer: &Buffer| {
        let colours = buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        colours.count()
    };
    for tab in ['1', '2', '3', '4', '?'] {
        screen.key(Key::Char(tab));
        assert_eq!(coloured(&picture(&mut screen, (80, 24), false)), 0, "{tab}");
    }
    golden("help", &mut screen, (80, 24));
    screen.key(Key::Escape);
    screen.key(Key::Char('1'));
    assert!(coloured(&picture(&mut screen, (80, 24), true)) > 0);
    // A name from outside does nothing to the terminal.
    screen.key(Key::Char('3'));
    assert!(!text(&picture(&mut screen, (80, 24), true)).contains('\u{1b}'));
}

#[test]
fn bars_say_how_it_was_also_in_ascii() {
    let values = || [0.0, 1.0, 2.0, 4.0, 8.0].into_iter();
    assert_eq!(super::rates::bars(values(), 7, false), "   ▁▂▄█");
    assert_eq!(super::rates::bars(values(), 4, true), ".:=@");
    assert_eq!(super::rates::bars([].into_iter(), 3, true), "   ");
}

/// Counters that start over belong to another process, and are not a burst.
#[test]
fn a_restart_is_no_burst() {
    let mut screen = watching(5);
    let mut restarted = view(6, true);
    (restarted.status.pid, restarted.status.uptime) = (18, 1.0);
    screen.see(Ok(restarted.clone()));
    assert_eq!(screen.rates.all.now(), Default::default());
    restarted.status.uptime = 2.0;
    restarted.status.traffic.bytes_up += 500;
    screen.see(Ok(restarted));
    assert_eq!(screen.rates.all.now().up, 500.0);
}

#[test]
fn each_key_of_a_terminal_is_one_of_ours_or_none() {
    for (code, expected) in [
        (KeyCode::Char('j'), Some(Key::Char('j'))),
        (KeyCode::Char('c'), Some(Key::Char('c'))),
        (KeyCode::Enter, Some(Key::Enter)),
        (KeyCode::Esc, Some(Key::Escape)),
        (KeyCode::Backspace, Some(Key::Backspace)),
        (KeyCode::Delete, Some(Key::Char('x'))),
        (KeyCode::Tab, Some(Key::Tab)),
        (KeyCode::BackTab, Some(Key::BackTab)),
        (KeyCode::Up, Some(Key::Up)),
        (KeyCode::Down, Some(Key::Down)),
        (KeyCode::Left, Some(Key::Left)),
        (KeyCode::Right, Some(Key::Right)),
        (KeyCode::PageUp, Some(Key::PageUp)),
        (KeyCode::PageDown, Some(Key::PageDown)),
        (KeyCode::Home, Some(Key::Home)),
        (KeyCode::End, Some(Key::End)),
        (KeyCode::F(1), None),
    ] {
        assert_eq!(key(KeyEvent::new(code, KeyModifiers::NONE)), expected, "{code:?}");
    }
    let with_control = |c| key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
    assert_eq!(['c', 'd', 'x'].map(with_control), [Some(Key::Interrupt), Some(Key::Interrupt), None]);
    let release = KeyEventKind::Release;
    assert_eq!(key(KeyEvent::new_with_kind(KeyCode::Enter, KeyModifiers::NONE, release)), None);
}
