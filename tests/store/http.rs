//! Over HTTP: ETag, Consul's long poll, a store that is away, a start without it, TLS with a token and a certificate.

use super::*;
use crate::admin::asker::start_with;
use crate::edits::probation::visit;
use crate::harness::instance::{Flow, reached};
use crate::harness::until;

#[test]
fn a_text_is_fetched_once_written_and_runs() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let fleet = Fleet::new(&a);
    fleet.publish(&a);
    let mut portway = fleet.run();
    portway.until("its ETag is known", |_| fleet.store.count("/edge.toml", 304) > 2);
    assert_eq!(fleet.store.count("/edge.toml", 200), 1);
    assert_eq!(portway.count(WRITTEN), 0, "the file had it already");
    let mut flow = Flow::open(fleet.port.number);
    fleet.publish(&b);
    assert!(taken(&mut portway).reloaded["plan"].as_str().unwrap().contains("web"));
    assert_eq!(reached(fleet.port.number), "b");
    assert_eq!(fleet.on_disk(), fleet.text(&b));
    // Nothing else is left in its folder.
    assert_eq!(std::fs::read_dir(fleet.place.folder()).unwrap().count(), 1);
    flow.ping().unwrap();
    drop(flow);
    let source = fleet.status();
    assert!(source["age"].as_f64().unwrap() < 30.0 && source["refused"].is_null(), "{source}");
    assert_eq!(source["url"], fleet.store.url("/edge.toml"));
    assert_eq!(fleet.store.count("/edge.toml", 200), 2);
    fleet.stop(portway);
}

#[test]
fn consul_is_asked_with_its_index_and_waits() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let fleet = Fleet::new(&a);
    let publish = |to: &Backend, index| {
        fleet.store.put("/edge.toml", Answer::Consul(fleet.text(to).into_bytes(), index));
    };
    publish(&a, 7);
    let mut portway = fleet.run();
    let next = |number: usize| {
        let fleet = &fleet;
        move |_: &mut Portway| fleet.store.asked().len() > number
    };
    portway.until("it was asked", next(0));
    publish(&b, 9);
    taken(&mut portway);
    assert_eq!(reached(fleet.port.number), "b");
    let paths: Vec<String> = fleet.store.asked().into_iter().map(|asked| asked.path).collect();
    // The wait begins with the next request, whose answer is the change.
    assert_eq!(paths[..2], ["/edge.toml", "/edge.toml?index=7&wait=60s"], "{paths:?}");
    let asked = fleet.store.asked().len();
    publish(&a, 10);
    portway.phase(WRITTEN);
    let after = fleet.store.asked().len();
    assert!(after <= asked + 1, "it waits: {after} after {asked}");
    fleet.stop(portway);
}

#[test]
fn a_token_goes_to_the_store_and_to_nobody_that_it_redirects_to() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (fleet, other) = (Fleet::new(&a), Store::start());
    let location = format!("Location: {}", other.url("/there.toml"));
    fleet.store.put("/edge.toml", Answer::head("302 Found", &location, ""));
    other.put("/there.toml", Answer::text(&fleet.text(&b)));
    let token = fleet.place.root().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let mut portway = Portway::start(&mut fleet.command(&["--token-file", token.to_str().unwrap()]));
    portway.phase(WRITTEN);
    assert!(
        fleet.store.asked()[0].head.contains("authorization: bearer secret"),
        "{:?}",
        fleet.store.asked()
    );
    assert!(!other.asked()[0].head.contains("secret"), "{:?}", other.asked());
    // A token that is gone is like a store that is.
    std::fs::remove_file(&token).unwrap();
    assert!(portway.phase(AWAY)["why"].as_str().unwrap().contains("the token of"));
    std::fs::write(&token, "other").unwrap();
    portway.phase("the store answers again");
    // One connection is kept for the next request: to the store, or to the other.
    fleet.stop_beside(portway);
}

#[test]
fn without_the_store_what_runs_goes_on_and_its_end_is_seen() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let mut fleet = Fleet::new(&a);
    fleet.publish(&a);
    fleet.store.go_away();
    // The start needs no store.
    let mut portway = fleet.run();
    assert!(portway.phase(AWAY)["why"].as_str().unwrap().contains("refused"));
    assert_eq!(reached(fleet.port.number), "a");
    let source = fleet.status();
    assert!(source["away"]["why"].as_str().unwrap().contains("refused"), "{source}");
    let age = source["age"].as_f64().unwrap();
    portway.until("the age grows", |_| fleet.status()["age"].as_f64().unwrap() > age);
    fleet.store.come_back();
    portway.phase("the store answers again");
    fleet.publish(&b);
    taken(&mut portway);
    assert_eq!((portway.count(AWAY), reached(fleet.port.number).as_str()), (1, "b"));
    assert!(fleet.status()["away"].is_null());
    // Away while it runs, and it is told once more.
    fleet.store.go_away();
    portway.phase(AWAY);
    Flow::open(fleet.port.number).ping().unwrap();
    fleet.stop(portway);
}

#[test]
fn a_program_that_takes_over_goes_on_with_the_store() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (mut store, port) = (Store::start(), Port::reserve());
    let url = store.url("/edge.toml");
    let routes = |to: &Backend| route("web", &port.local(), to, "");
    let (place, mut portway, asker) = start_with(&routes(&a), &["--from", &url, "--every", "100ms"]);
    let text = std::fs::read_to_string(place.file()).unwrap();
    store.put("/edge.toml", Answer::text(&text));
    portway.until("it has looked", |_| store.count("/edge.toml", 304) > 0);
    let answer = asker.post("/v1/upgrade", &serde_json::json!({}));
    portway.follow(u32::try_from(answer["pid"].as_u64().unwrap()).unwrap());
    store.put("/edge.toml", Answer::text(&text.replace(&routes(&a), &routes(&b))));
    taken(&mut portway);
    assert_eq!(reached(port.number), "b");
    assert_eq!(asker.get("/v1/status")["source"]["url"], url);
    store.go_away();
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

#[test]
fn without_a_file_it_waits_for_the_store() {
    let a = Backend::named("a");
    let mut fleet = Fleet::new(&a);
    std::fs::remove_file(fleet.place.file()).unwrap();
    fleet.publish(&a);
    fleet.store.go_away();
    let mut portway = Portway::spawn(&mut fleet.command(&[]));
    portway.until("it says what it waits for", |portway| portway.log().contains("there is no"));
    portway.until("it says why", |portway| portway.log().contains("refused"));
    fleet.store.come_back();
    portway.phase("ready");
    assert_eq!((reached(fleet.port.number).as_str(), fleet.on_disk()), ("a", fleet.text(&a)));
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

#[test]
fn a_stop_does_not_wait_for_the_store() {
    let a = Backend::named("a");
    let fleet = Fleet::new(&a);
    for answer in [Answer::Silence, Answer::Consul(fleet.text(&a).into_bytes(), 3)] {
        fleet.store.put("/edge.toml", answer);
        let asked = fleet.store.asked().len();
        let mut portway = fleet.run();
        portway.until("it waits for an answer", |_| {
            let asked = &fleet.store.asked()[asked..];
            asked.iter().any(|asked| asked.path.contains("index=") || asked.status == 0)
        });
        let begun = std::time::Instant::now();
        portway.signal(rustix::process::Signal::TERM);
        portway.phase("stopped");
        until("it ends", || ended(&portway));
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

/// Whether the process is gone, or waits for its parent to look.
fn ended(portway: &Portway) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", portway.pid())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn a_text_that_makes_things_worse_is_written_back_and_not_taken_again() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let nobody = Port::reserve();
    let gone = Backend { addr: nobody.local().parse().unwrap() };
    let fleet = Fleet::new(&a);
    // Nothing says that edits are on probation: those of a store are.
    fleet.publish(&a);
    let mut portway = fleet.run();
    (0..30).for_each(|_| assert!(visit(fleet.port.number)));
    fleet.publish(&gone);
    portway.phase(WRITTEN);
    portway.until("the edit is rolled back", |portway| {
        visit(fleet.port.number);
        portway.count("edit rolled back") == 1
    });
    until("the file has what runs", || fleet.on_disk() == fleet.text(&a));
    let refused = fleet.status()["refused"]["why"].as_str().unwrap_or_default().to_owned();
    assert!(refused.contains("rolled back at "), "{refused}");
    // The store still has it.
    let asked = fleet.store.asked().len();
    until("it has been asked again", || fleet.store.asked().len() > asked + 2);
    assert_eq!((fleet.on_disk(), reached(fleet.port.number).as_str()), (fleet.text(&a), "a"));
    fleet.publish(&b);
    portway.phase(WRITTEN);
    until("the next text runs", || reached(fleet.port.number) == "b");
    assert!(fleet.status()["refused"].is_null());
    fleet.stop(portway);
}

/// Two texts within one probation are undone together; and a store that waits with its answer holds nothing up.
#[test]
fn what_runs_again_is_written_back_while_the_store_waits_with_its_answer() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let nobody = Port::reserve();
    let gone = Backend { addr: nobody.local().parse().unwrap() };
    let fleet = Fleet::new(&a);
    let publish = |to: &Backend, index| {
        fleet.store.put("/edge.toml", Answer::Consul(fleet.text(to).into_bytes(), index));
    };
    publish(&a, 1);
    let mut portway = fleet.run();
    (0..30).for_each(|_| assert!(visit(fleet.port.number)));
    for (to, index) in [(&b, 2), (&gone, 3)] {
        publish(to, index);
        taken(&mut portway);
    }
    portway.until("the edit is rolled back", |portway| {
        visit(fleet.port.number);
        portway.count("edit rolled back") == 1
    });
    until("the file has what runs", || fleet.on_disk() == fleet.text(&a));
    let asked = fleet.store.asked();
    let mut waited = asked.iter().filter(|asked| asked.path.contains("index=3"));
    assert!(waited.all(|asked| asked.status == 0), "not before the store has answered: {asked:?}");
    assert_eq!(reached(fleet.port.number), "a");
    // The store was cut off, and is asked again.
    publish(&b, 4);
    portway.phase(WRITTEN);
    until("the next text runs", || reached(fleet.port.number) == "b");
    assert_eq!(portway.count(AWAY), 0);
    fleet.stop(portway);
}
