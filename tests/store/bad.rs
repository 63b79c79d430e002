//! What is bad in a store: nothing is written, it is said once and shown, and the next good text heals it.

use super::*;
use crate::harness::instance::{Flow, reached};

/// A proxy that runs, with a flow through it that must live.
struct Steady {
    fleet: Fleet,
    flow: Flow,
    portway: Portway,
    good: String,
    healed: usize,
}

impl Steady {
    fn new(more: &[&str]) -> Steady {
        let a = Backend::named("a");
        let fleet = Fleet::new(&a);
        fleet.publish(&a);
        let mut portway = Portway::start(&mut fleet.command(more));
        portway.until("it has looked", |_| fleet.store.count("/edge.toml", 200) > 0);
        let (flow, good) = (Flow::open(fleet.port.number), fleet.text(&a));
        Steady { fleet, flow, portway, good, healed: 0 }
    }

    /// Puts something bad into the store, and then the good text again.
    fn bears(&mut self, what: &str, answer: Option<Answer>, told: (&str, &str)) {
        let (phase, why) = told;
        match answer {
            Some(answer) => self.fleet.store.put("/edge.toml", answer),
            None => self.fleet.store.remove("/edge.toml"),
        }
        let line = self.portway.phase_of(&[REFUSED, AWAY, WRITTEN]);
        assert!(line["message"].as_str().unwrap().starts_with(phase), "{what}: {line}");
        assert!(line["why"].as_str().unwrap().contains(why), "{what}: {line}");
        let shown = self.fleet.status();
        let key = if phase == AWAY { "away" } else { "refused" };
        assert_eq!(shown[key]["why"], line["why"], "{what}: {shown}");
        // It is asked again, and not told again.
        let (asked, said) = (self.fleet.store.asked().len(), self.portway.count(phase));
        let store = &self.fleet.store;
        self.portway.until("it is asked again", |_| store.asked().len() > asked + 1);
        assert_eq!(self.portway.count(phase), said, "{what}: told again");
        self.flow.ping().unwrap();
        assert_eq!(
            (reached(self.fleet.port.number).as_str(), &self.fleet.on_disk()),
            ("a", &self.good),
            "{what}"
        );
        self.fleet.store.put("/edge.toml", Answer::text(&self.good));
        self.portway.phase_of(&["the store has again", "the store answers again"]);
        self.healed += 1;
        let fleet = &self.fleet;
        self.portway.until("nothing is shown", |_| {
            let source = fleet.status();
            source["refused"].is_null() && source["away"].is_null()
        });
    }

    fn stop(mut self) {
        drop(self.flow);
        assert!(self.healed > 0);
        assert_eq!(self.portway.count("reloaded") + self.portway.count("edit refused"), 0);
        self.fleet.stop(self.portway);
    }
}

#[test]
fn texts_that_could_not_run_are_not_written() {
    let mut steady = Steady::new(&[]);
    let torn = &steady.good[..steady.good.len() - 20].to_owned();
    for (what, text, why) in [
        ("a fault", "[[route]]\nlisten = \"8080\"\nupstrem = \"a:1\"\n", "the text:3:1: "),
        ("a torn text", torn, "the text:"),
        ("no route", "", "the text"),
        ("only a head", HEAD, "the text"),
        (
            "a certificate that is not here",
            "[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\ntls = { cert = \"/x\", key = \"/y\" }\n",
            "no such file",
        ),
        ("another language", "server { listen 80; }", "the text:"),
    ] {
        steady.bears(what, Some(Answer::text(text)), (REFUSED, why));
    }
    steady.bears("no text", Some(Answer::Text(vec![0xff, 0xfe, 0])), (REFUSED, "the text:"));
    steady.stop();
}

#[test]
fn answers_that_are_none_are_refused() {
    let mut steady = Steady::new(&[]);
    let page = Answer::head("200 OK", "Content-Type: text/html; charset=utf-8", "<h1>Please log in</h1>");
    steady.bears("a web page", Some(page), (REFUSED, "text/html"));
    steady.bears("a text that vanishes", None, (REFUSED, "no such text"));
    steady.bears("100 MB", Some(Answer::Zeros(100 << 20)), (REFUSED, "larger than 16384 KiB"));
    let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n".as_bytes()].concat();
    let chunks =
        [format!("{}\r\n10000\r\n", "#".repeat(65_536)).repeat(300).into_bytes(), vec![b'#'; 100]].concat();
    steady.bears(
        "more than 16 MiB without a length",
        Some(Answer::Raw([chunked, chunks].concat())),
        (REFUSED, "larger"),
    );
    let endless = b"HTTP/1.1 200 OK\r\n\r\n[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\n".to_vec();
    steady.bears("no length", Some(Answer::Raw(endless)), (REFUSED, "has no length"));
    let circle = Answer::head("302 Found", "Location: /edge.toml", "");
    steady.bears("a circle", Some(circle), (REFUSED, "redirects again and again"));
    let elsewhere = Answer::head("302 Found", "Location: http://192.0.2.1/edge.toml", "");
    steady.bears("another host in plain text", Some(elsewhere), (REFUSED, "is another host"));
    steady.bears("another status", Some(Answer::head("418 Teapot", "X: y", "")), (REFUSED, "418"));
    steady.stop();
}

#[test]
fn a_store_that_fails_is_away() {
    let mut steady = Steady::new(&[]);
    let torn = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{}", steady.good);
    steady.bears(
        "a torn answer",
        Some(Answer::Raw(torn.into_bytes())),
        (AWAY, "in the middle of its answer"),
    );
    steady.bears("503", Some(Answer::head("503 Busy", "X: y", "")), (AWAY, "503"));
    steady.bears("403", Some(Answer::head("403 Forbidden", "X: y", "")), (AWAY, "--token-file"));
    steady.bears("no answer", Some(Answer::Raw(Vec::new())), (AWAY, ""));
    steady.stop();
}

/// The limit of a request is 30 seconds.
#[test]
fn a_slow_answer_ends_with_its_time() {
    let mut steady = Steady::new(&[]);
    steady.fleet.store.put("/edge.toml", Answer::Silence);
    let why = steady.portway.phase(AWAY)["why"].clone();
    assert!(why.as_str().unwrap().contains("in time"), "{why}");
    steady.flow.ping().unwrap();
    steady.fleet.store.put("/edge.toml", Answer::text(&steady.good));
    steady.portway.phase("the store answers again");
    steady.healed += 1;
    steady.stop();
}
