//! What the new process knows of the life of the old one.

use serde_json::{Value, json};

use super::upgrade;
use crate::admin::asker::{Asker, portway as command, start};
use crate::harness::instance::{Backend, Flow, Port, is_refused, reached, route};
use crate::harness::until;

/// Connections and bytes of the route, and how its connections have ended.
fn counted(asker: &Asker) -> (Value, Value) {
    let route = asker.route("one");
    (route["traffic"].clone(), route["outcomes"].clone())
}

fn number(counted: &Value, key: &str) -> u64 {
    counted[key].as_u64().unwrap()
}

#[test]
fn u13_counters_go_on_and_count_nothing_twice() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (_place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    for _ in 0..3 {
        Flow::open(port.number).ping().unwrap();
    }
    let mut flow = Flow::open(port.number);
    flow.ping().unwrap();
    until("three have ended", || number(&counted(&asker).0, "closed") == 3);
    let (before, _) = counted(&asker);
    assert_eq!((number(&before, "opened"), number(&before, "bytes_up")), (4, 20));
    for upgrades in 1..=2 {
        upgrade(&mut portway, &asker);
        let (after, outcomes) = counted(&asker);
        assert_eq!((&after, &outcomes), (&before, &json!({ "client-closed": 3 })), "after {upgrades}");
        assert_eq!(asker.get("/v1/status")["traffic"], after);
        let upstream = &asker.get("/v1/upstreams")["upstreams"][0]["traffic"];
        assert_eq!(upstream, &after, "of the upstream");
    }
    // What moves and ends in the oldest process counts in the newest one.
    flow.ping().unwrap();
    Flow::open(port.number).ping().unwrap();
    until("it is told", || number(&counted(&asker).0, "bytes_up") == 30);
    drop(flow);
    portway.old_ones_have_ended();
    until("all have ended", || number(&counted(&asker).0, "open") == 0);
    let (all, outcomes) = counted(&asker);
    assert_eq!((number(&all, "opened"), number(&all, "closed")), (5, 5));
    assert_eq!((number(&all, "bytes_up"), number(&all, "bytes_down")), (30, 40));
    assert_eq!(outcomes, json!({ "client-closed": 5 }));
    portway.stop();
}

#[test]
fn u14_what_was_done_by_hand_stays() {
    let (one, two) = (Port::reserve(), Port::reserve());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let both = format!(
        "[[route]]\nname = \"one\"\nlisten = \"{}\"\nupstream = [\"{}\", \"{}\"]\n",
        one.local(),
        a.addr,
        b.addr
    );
    let (place, mut portway, asker) = start(&(both + &route("two", &two.local(), &b, "")));
    let upstream = a.addr.to_string();
    for args in [&["drain", "one", "--upstream", &upstream, "--for", "1h"][..], &["disable", "two"]] {
        let done = command(&place.file(), args);
        assert_eq!(done.code, 0, "{done:?}");
    }
    let deeds = |asker: &Asker| {
        let status = asker.get("/v1/status");
        let deeds = status["by_hand"].as_array().unwrap().iter();
        deeds
            .map(|deed| format!("{} {} {} {}", deed["route"], deed["upstream"], deed["act"], deed["by"]))
            .collect::<Vec<_>>()
    };
    let before = deeds(&asker);
    assert_eq!(before.len(), 2);
    upgrade(&mut portway, &asker);
    assert_eq!(deeds(&asker), before);
    assert!(is_refused(two.number));
    for _ in 0..4 {
        assert_eq!(reached(one.number), "b");
    }
    let done = command(&place.file(), &["enable", "two"]);
    assert_eq!((done.code, reached(two.number).as_str()), (0, "b"), "{done:?}");
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u15_ids_generation_and_edits_go_on() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let text = route("one", &port.local(), &backend, "");
    let (place, mut portway, asker) = start(&text);
    place.save(&(crate::admin::asker::head(&place) + &text + "idle_timeout = \"1h\"\n"));
    portway.phase("reloaded");
    let flow = Flow::open(port.number);
    let newest = asker.connections("")[0]["id"].as_u64().unwrap();
    let figures = |asker: &Asker| {
        let metrics = asker.ask("GET", "/metrics", "").body;
        let of = |name: &str| metrics.lines().find(|line| line.starts_with(name)).map(ToOwned::to_owned);
        ["portway_config_generation ", "portway_config_reloads"].map(of)
    };
    let before = figures(&asker);
    assert!(before.iter().all(Option::is_some), "{before:?}");
    upgrade(&mut portway, &asker);
    assert_eq!(figures(&asker), before);
    let newcomer = Flow::open(port.number);
    let ids = asker.connections("");
    let next = ids.iter().filter_map(|row| row["id"].as_u64()).max().unwrap();
    assert!(next > newest, "{next} after {newest}");
    drop((flow, newcomer));
    portway.old_ones_have_ended();
    portway.stop();
}

/// A name that only the last answer knows, and an upstream that is down.
#[test]
fn u16_health_and_the_addresses_of_names_stay() {
    let (port, backend, gone) = (Port::reserve(), Backend::named("b"), Port::reserve());
    let upstreams = format!("[\"127.0.0.1:{}\", \"localhost:{}\"]", gone.number, backend.addr.port());
    let text = format!(
        "[[route]]\nname = \"one\"\nlisten = \"{}\"\nupstream = {upstreams}\nbalance = \"first\"\n",
        port.local()
    );
    let (_place, mut portway, asker) = start(&text);
    let mut flows: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    let health = |asker: &Asker| {
        let all = asker.get("/v1/upstreams")["upstreams"].clone();
        let gone = all
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["upstream"].as_str().unwrap().contains("127.0.0.1"));
        let gone = gone.unwrap();
        // Its time to be down may be over on a busy machine, and then it is tried.
        (gone["reason"].clone(), gone["downs"].clone())
    };
    let before = health(&asker);
    assert!(before.0.as_str().is_some_and(|why| why.contains("refused")), "{before:?}");
    let answer = upgrade(&mut portway, &asker);
    assert_eq!(answer["moved"], 4, "to an address of a name: {answer}");
    assert_eq!(health(&asker), before);
    flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    drop(flows);
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u17_who_is_over_a_limit_is_so_afterwards() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let limits = "rate_per_client = \"3/h burst 3\"\nmax_connections_per_client = 2\n";
    let (_place, mut portway, asker) = start(&route("one", &port.local(), &backend, limits));
    let refused = || Flow::try_open(port.number).is_err();
    let (mut first, second) = (Flow::open(port.number), Flow::open(port.number));
    assert!(refused(), "two are open");
    upgrade(&mut portway, &asker);
    portway.old_ones_have_ended();
    assert!(refused(), "two are open there");
    drop(second);
    until("one has ended", || asker.get("/v1/status")["traffic"]["open"] == 1);
    drop(Flow::open(port.number));
    until("it has ended", || asker.get("/v1/status")["traffic"]["open"] == 1);
    assert!(refused(), "that was the third of the hour");
    upgrade(&mut portway, &asker);
    assert!(refused(), "and so it is in the next one");
    first.ping().unwrap();
    drop(first);
    portway.old_ones_have_ended();
    portway.stop();
}
