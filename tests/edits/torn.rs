//! A file that is met half written, at every length.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::instance::*;

/// Writes every `shards`th prefix in place, by a writer that then closes the file. Nothing that runs may change, but where
/// the text ends with the first route: nobody can know that there was more.
fn every_prefix(shard: usize, shards: usize) {
    let (ports, a) = ([Port::reserve(), Port::reserve()], Backend::named("a"));
    let mut text = "log.format = \"json\"\n".to_owned();
    for port in &ports {
        text.push_str(&format!("[[route]]\nlisten = \"{}\"\nupstream = \"{}\"\n", port.local(), a.addr));
    }
    let first = text.rfind("[[route]]").unwrap();
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    let mut flow = Flow::open(ports[1].number);
    let lengths = (0..text.len()).filter(|length| length % shards == shard);
    let (mut tried, mut reloads) = (0, 0);
    for length in lengths {
        fs::write(place.file(), &text[..length]).unwrap();
        let line = portway.phase_of(&["edit refused", "nothing changed", "reloaded"]);
        if length == text.len() - 1 {
            assert!(line["message"].as_str().unwrap().starts_with("nothing changed"), "{line}");
            continue;
        }
        if length == first {
            assert_eq!(line["plan"], format!("removed {}", ports[1].local()));
            assert_eq!(portway.count("the file ends after"), 1, "{}", portway.log());
            fs::write(place.file(), &text).unwrap();
            portway.phase("reloaded");
            reloads += 2;
            continue;
        }
        let headline = line["headline"].as_str().unwrap_or_else(|| panic!("{length} bytes: {line}"));
        let within_a_line =
            length > 0 && !text[..length].ends_with('\n') && !text[length..].starts_with('\n');
        if within_a_line {
            // Told with its place: the end of the text.
            let (row, column) = end_of(&text[..length]);
            let place = format!("{}:{row}:{column}: the file looks cut off", place.file().display());
            assert!(headline.starts_with(&place), "{length} bytes: {headline}");
            assert!(
                headline.contains(&format!("`portway reload`, or kill -HUP {}", portway.pid())),
                "{headline}"
            );
        }
        tried += 1;
    }
    assert!(tried + 2 >= text.len() / shards, "only {tried} prefixes");
    fs::write(place.file(), &text).unwrap();
    portway.phase("fault healed");
    assert_eq!(portway.count("reloaded"), reloads);
    flow.ping().unwrap();
    drop(flow);
    assert_eq!(ports.each_ref().map(|port| reached(port.number)), ["a", "a"]);
    portway.stop();
}

fn end_of(text: &str) -> (usize, usize) {
    let line = text.rsplit('\n').next().unwrap_or_default();
    (1 + text.matches('\n').count(), 1 + line.chars().count())
}

#[test]
fn no_prefix_changes_anything_1() {
    every_prefix(0, 4);
}

#[test]
fn no_prefix_changes_anything_2() {
    every_prefix(1, 4);
}

#[test]
fn no_prefix_changes_anything_3() {
    every_prefix(2, 4);
}

#[test]
fn no_prefix_changes_anything_4() {
    every_prefix(3, 4);
}

/// The text of two routes, and where the first one ends.
fn two_routes(ports: &[Port; 2], a: &Backend) -> (String, usize) {
    let one = file(&[("one", ports[0].local(), a)]);
    (format!("{one}{}", route("two", &ports[1].local(), a, "")), one.len())
}

#[test]
fn a_shorter_file_by_rename_is_meant() {
    let (ports, a) = ([Port::reserve(), Port::reserve()], Backend::named("a"));
    let (text, first) = two_routes(&ports, &a);
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    place.save(&text[..first - 3]);
    assert!(portway.refused().contains("its last line has no end"), "{}", portway.log());
    place.save(&text[..first]);
    assert_eq!(portway.phase("reloaded")["plan"], "removed two");
    assert!(is_refused(ports[1].number));
    portway.stop();
}

#[test]
fn a_file_that_looks_cut_off_is_taken_when_a_person_asks() {
    let (ports, a) = ([Port::reserve(), Port::reserve()], Backend::named("a"));
    let (text, first) = two_routes(&ports, &a);
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    fs::write(place.file(), &text[..first - 1]).unwrap();
    assert!(portway.refused().contains("its last line has no end"), "{}", portway.log());
    assert_eq!(reached(ports[1].number), "a");
    portway.hang_up();
    assert_eq!(portway.phase("reloaded")["plan"], "removed two");
    portway.phase("fault healed");
    assert!(is_refused(ports[1].number));
    // What no person can mean is refused in spite of the question.
    for (text, fault) in [("", "is empty"), ("[[route]]\nlisten = \"", "")] {
        fs::write(place.file(), text).unwrap();
        portway.hang_up();
        assert!(portway.refused().contains(fault), "{}", portway.log());
        assert_eq!(reached(ports[0].number), "a");
    }
    fs::write(place.file(), file(&[("one", ports[0].local(), &a)])).unwrap();
    portway.phase("fault healed");
    portway.stop();
}

/// T1: of a file that never rests, halves are neither taken nor told of; a text that stays is.
#[test]
fn t1_halves_of_a_file_that_never_rests_change_nothing() {
    let (ports, a) = ([Port::reserve(), Port::reserve()], Backend::named("a"));
    let (text, first) = two_routes(&ports, &a);
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    // Whether it has never rested: on a busy machine this writer may be late.
    let for_a_while = |mut save: Box<dyn FnMut(usize) + '_>| {
        let (start, mut last, mut rested) = (Instant::now(), Instant::now(), false);
        for turn in 0.. {
            save(turn);
            rested |= last.elapsed() > Duration::from_millis(100);
            last = Instant::now();
            pass(Duration::from_millis(20));
            if start.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
        !rested
    };
    // Another half each time.
    let told = |portway: &mut Portway| portway.count("edit refused") + portway.count("reloaded");
    let conclusive = (0..10).any(|_| {
        let before = told(&mut portway);
        let conclusive = for_a_while(Box::new(|turn| place.save(&text[..first - 1 - turn % 20])));
        assert!(!conclusive || told(&mut portway) == before, "{}", portway.log());
        conclusive
    });
    assert!(conclusive, "this machine is too busy to write 50 times a second");
    // The same half, again and again.
    for_a_while(Box::new(|_| place.save(&text[..first - 1])));
    assert!(portway.count("edit refused") > 0, "{}", portway.log());
    assert_eq!(portway.count("reloaded"), 0, "{}", portway.log());
    // A whole text, again and again.
    let whole = file(&[("one", ports[0].local(), &a)]);
    for_a_while(Box::new(|_| place.save(&whole)));
    assert_eq!(portway.count("reloaded"), 1, "{}", portway.log());
    assert!(is_refused(ports[1].number));
    portway.stop();
}

#[test]
fn a_slow_writer_is_waited_for() {
    let (ports, a) = ([Port::reserve(), Port::reserve()], Backend::named("a"));
    let place = Place::with(&file(&[("zero", ports[0].local(), &a)]));
    let mut portway = Portway::run(&place.file());
    let (text, _) = two_routes(&ports, &a);
    let mut slow = fs::File::create(place.file()).unwrap();
    // For longer than an unquiet file is left alone, and never as long as the quiet period between two pieces.
    for piece in text.as_bytes().chunks(text.len() / 40) {
        std::io::Write::write_all(&mut slow, piece).unwrap();
        pass(Duration::from_millis(40));
    }
    drop(slow);
    assert_eq!(portway.phase_of(&["reloaded", "edit refused"])["plan"], "added one, two; removed zero");
    portway.stop();
}
