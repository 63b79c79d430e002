//! With a key: only what its owner has signed is written, each text once, stage by stage.

use std::process::Stdio;

use super::signer::Signer;
use super::*;
use crate::admin::asker::Asker;
use crate::harness::instance::{has, reached};

/// A fleet of one node, and a publisher.
struct Signed {
    fleet: Fleet,
    signer: Signer,
    key: String,
}

impl Signed {
    fn new(local: &Backend) -> Signed {
        let (fleet, signer) = (Fleet::new(local), Signer::new(1));
        let key = fleet.place.root().join("edge.pub");
        std::fs::write(&key, signer.public()).unwrap();
        Signed { fleet, signer, key: key.to_str().unwrap().to_owned() }
    }

    fn start(&self) -> Portway {
        Portway::start(&mut self.fleet.command(&["--key", &self.key]))
    }

    /// The text first, as a publisher should.
    fn publish(&self, to: &Backend, comment: &str) {
        self.fleet.publish(to);
        self.sign(&self.fleet.text(to), comment);
    }

    fn sign(&self, text: &str, comment: &str) {
        self.fleet.store.put("/edge.toml.minisig", Answer::text(&self.signer.sign(text, comment)));
    }

    /// The line of the next refusal; what runs is what ran.
    #[track_caller]
    fn refuses(&self, portway: &mut Portway, why: &str) {
        let line = portway.phase_of(&[REFUSED, WRITTEN]);
        assert!(line["why"].as_str().is_some_and(|said| said.contains(why)), "not `{why}`: {line}");
        assert_eq!(self.fleet.status()["refused"]["why"], line["why"]);
    }
}

#[test]
fn a_signed_text_runs_and_one_with_a_lower_serial_never_again() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let signed = Signed::new(&a);
    let mut portway = signed.start();
    signed.refuses(&mut portway, "no signature beside the text");
    signed.publish(&b, "serial=7");
    assert_eq!(taken(&mut portway).written["serial"], 7);
    assert_eq!(
        (reached(signed.fleet.port.number).as_str(), &signed.fleet.status()["serial"]),
        ("b", &7.into())
    );
    let page = Asker::tcp(signed.fleet.admin.number).ask("GET", "/metrics", "").body;
    for sample in
        ["portway_source_serial 7", "portway_source_offered_serial 7", "portway_source_age_seconds 0"]
    {
        assert!(page.lines().any(|line| line.starts_with(sample)), "{sample}: {page}");
    }
    let asked = signed.fleet.store.count("/edge.toml", 200);
    // An older one, rightly signed.
    signed.publish(&c, "serial=6");
    signed.refuses(&mut portway, "serial 6 is not above 7");
    assert_eq!(signed.fleet.store.count("/edge.toml", 200), asked, "its text was not fetched");
    // The same serial for another text.
    signed.publish(&c, "serial=7 stage=100%");
    signed.refuses(&mut portway, "serial 7 is the one of the file");
    // And the right one again.
    signed.publish(&b, "serial=7");
    portway.phase("the store has again");
    assert_eq!(signed.fleet.on_disk(), signed.fleet.text(&b));
    // A start remembers, also without the store.
    signed.fleet.place.root();
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
    drop(portway);
    signed.publish(&c, "serial=3");
    let mut portway = signed.start();
    signed.refuses(&mut portway, "serial 3 is not above 7");
    assert_eq!(reached(signed.fleet.port.number), "b");
    signed.publish(&c, "serial=8");
    assert_eq!(taken(&mut portway).written["serial"], 8);
    assert_eq!(reached(signed.fleet.port.number), "c");
    signed.fleet.stop(portway);
}

/// Its signature is still there, with the serial that the store has.
#[test]
fn a_file_that_was_deleted_is_pulled_again() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let signed = Signed::new(&a);
    signed.publish(&b, "serial=7");
    let mut portway = signed.start();
    portway.phase("reloaded");
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
    drop(portway);
    std::fs::remove_file(signed.fleet.place.file()).unwrap();
    let portway = signed.start();
    assert_eq!(reached(signed.fleet.port.number), "b");
    assert_eq!(signed.fleet.on_disk(), signed.fleet.text(&b));
    signed.fleet.stop(portway);
}

#[test]
fn what_is_not_signed_by_the_key_is_refused() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let signed = Signed::new(&a);
    signed.publish(&a, "serial=1");
    let mut portway = signed.start();
    portway.phase(WRITTEN);
    let text = signed.fleet.text(&b);
    let put = |signature: &str| signed.fleet.store.put("/edge.toml.minisig", Answer::text(signature));
    signed.fleet.publish(&b);
    put(&Signer::new(2).sign(&text, "serial=2"));
    signed.refuses(&mut portway, "another key");
    put(&Signer::new(1).sign(&text, "serial=2"));
    signed.refuses(&mut portway, "not that of this text");
    put(&signed.signer.sign("another text", "serial=3"));
    signed.fleet.store.remove("/edge.toml");
    signed.refuses(&mut portway, "no such text");
    put("<h1>Please log in</h1>");
    signed.refuses(&mut portway, "no signature of minisign");
    put(&signed.signer.sign(&text, "version 2"));
    signed.refuses(&mut portway, "serial=N");
    put(&signed.signer.sign(&text, "serial=2 stage=many"));
    signed.refuses(&mut portway, "stage=10%");
    // A comment that somebody has changed on the way.
    signed.fleet.publish(&b);
    put(&signed.signer.sign(&text, "serial=2 stage=0%").replace("stage=0%", "stage=100%"));
    signed.refuses(&mut portway, "not that of this text");
    assert_eq!((portway.count("reloaded"), reached(signed.fleet.port.number).as_str()), (0, "a"));
    signed.sign(&text, "serial=2");
    assert_eq!(taken(&mut portway).written["serial"], 2);
    assert!(signed.fleet.status()["refused"].is_null());
    signed.fleet.stop(portway);
}

#[test]
fn a_text_and_its_signature_may_come_one_after_the_other() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let signed = Signed::new(&a);
    signed.publish(&a, "serial=1");
    let mut portway = signed.start();
    portway.phase(WRITTEN);
    // The signature comes first: the text is waited for, however long that takes.
    signed.sign(&signed.fleet.text(&b), "serial=2");
    signed.refuses(&mut portway, "not that of");
    signed.fleet.publish(&b);
    taken(&mut portway);
    assert_eq!(reached(signed.fleet.port.number), "b");
    // The text comes first: nobody looks at it.
    signed.fleet.publish(&c);
    let asked = signed.fleet.store.asked().len();
    portway.until("it was asked", |_| signed.fleet.store.asked().len() > asked + 3);
    assert!(signed.fleet.store.asked()[asked..].iter().all(|asked| asked.path.ends_with(".minisig")));
    signed.sign(&signed.fleet.text(&c), "serial=3");
    assert_eq!(portway.phase_of(&[WRITTEN, REFUSED])["serial"], 3);
    signed.fleet.stop(portway);
}

#[test]
fn a_node_takes_a_text_at_its_stage_and_no_sooner() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let signed = Signed::new(&a);
    signed.publish(&a, "serial=1 stage=100%");
    let mut portway = signed.start();
    portway.phase(WRITTEN);
    signed.publish(&b, "serial=2 stage=0%");
    let line = portway.phase_of(&["a text for other nodes", WRITTEN, REFUSED]);
    assert_eq!((&line["serial"], &line["stage"]), (&2.into(), &"0%".into()), "{line}");
    let source = signed.fleet.status();
    assert_eq!((&source["serial"], &source["offered_serial"]), (&1.into(), &2.into()), "{source}");
    assert_eq!((&source["offered_stage"], &source["refused"]), (&0.0.into(), &serde_json::Value::Null));
    assert_eq!(reached(signed.fleet.port.number), "a");
    signed.sign(&signed.fleet.text(&b), "serial=2 stage=100%");
    taken(&mut portway);
    assert_eq!(reached(signed.fleet.port.number), "b");
    signed.fleet.stop(portway);
}

/// The program itself: its files are read, and its hashed form.
#[test]
fn minisign_signs() {
    if !has("minisign") {
        return;
    }
    let a = Backend::named("a");
    let fleet = Fleet::new(&a);
    let at = |name: &str| fleet.place.root().join(name).to_str().unwrap().to_owned();
    let minisign = |args: &[&str]| {
        let output = Command::new("minisign").args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (public, secret, text) = (at("edge.pub"), at("edge.key"), at("edge.toml"));
    minisign(&["-G", "-W", "-p", &public, "-s", &secret]);
    std::fs::write(&text, fleet.text(&a)).unwrap();
    minisign(&["-S", "-s", &secret, "-m", &text, "-t", "serial=4 stage=12.5%"]);
    let signature = std::fs::read(at("edge.toml.minisig")).unwrap();
    fleet.publish(&a);
    fleet.store.put("/edge.toml.minisig", Answer::Text(signature));
    let mut portway = Portway::start(&mut fleet.command(&["--key", &public]));
    let line = portway.phase_of(&["a text for other nodes", WRITTEN, REFUSED]);
    assert_eq!(line["serial"], 4, "{line}");
    minisign(&["-S", "-s", &secret, "-m", &text, "-t", "serial=5 stage=100%"]);
    fleet.store.put("/edge.toml.minisig", Answer::Text(std::fs::read(at("edge.toml.minisig")).unwrap()));
    portway.until("serial 5 is written", |_| fleet.status()["serial"] == 5);
    fleet.stop(portway);
}
