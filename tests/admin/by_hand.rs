//! O3: one upstream, or one route, steered by hand: at once, over edits, shown everywhere, and for its time.

use serde_json::{Value, json};

use super::asker::{Asker, Printed, head, portway, start};
use super::concern::{Session, save, udp_port, udp_server};
use crate::harness::instance::{Backend, Flow, Place, Port, Portway, is_refused, reached, route};
use crate::harness::until;

/// A route with these upstreams.
pub fn pool(listen: &Port, upstream: &[&Backend], more: &str) -> String {
    let list: Vec<String> = upstream.iter().map(|backend| format!("\"{}\"", backend.addr)).collect();
    format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = [{}]\n{more}\n",
        listen.local(),
        list.join(", ")
    )
}

/// What is known of one upstream.
pub fn upstream(asker: &Asker, addr: &str) -> Value {
    let all = asker.get("/v1/upstreams");
    let mut found = all["upstreams"].as_array().unwrap().iter();
    found.find(|upstream| upstream["upstream"] == addr).unwrap_or_else(|| panic!("{addr}: {all}")).clone()
}

pub fn fine(printed: Printed) -> String {
    assert_eq!(printed.code, 0, "{printed:?}");
    printed.out
}

/// The names of the upstreams that the next clients reach, each once.
fn reaches(port: u16, clients: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..clients).map(|_| reached(port)).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn o3_an_upstream_that_drains_keeps_what_it_has_over_edits_and_gets_nothing_new() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let (place, mut proxy, asker) = start(&pool(&port, &[&a, &b], ""));
    let file = place.file();
    let mut flows: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    let at = b.addr.to_string();
    let said = fine(portway(&file, &["drain", "web", "--upstream", &at]));
    assert_eq!(said, format!("{at} gets no new connections; 2 open connections go on\n"));
    assert_eq!(reaches(port.number, 6), ["a"]);
    flows.iter_mut().for_each(|flow| flow.ping().unwrap());

    // It is shown, with who and when.
    let shown = upstream(&asker, &at);
    let deed = &shown["by_hand"][0];
    assert_eq!(
        (&shown["state"], &deed["act"], &deed["ends"]),
        (&json!("drained"), &json!("drain"), &Value::Null)
    );
    assert!(
        !deed["by"].as_str().unwrap().is_empty() && deed["at"].as_str().unwrap().ends_with('Z'),
        "{deed}"
    );
    let table = fine(portway(&file, &["upstreams"]));
    assert!(table.contains("drained") && table.contains("by hand: drain, by "), "{table}");
    let status = fine(portway(&file, &["status"]));
    assert!(status.contains(&format!("by hand      web {at}: drain, by ")), "{status}");
    let routes = fine(portway(&file, &["routes"]));
    assert!(routes.contains(&format!("  {}, {at} (drained by hand)\n", a.addr)), "{routes}");
    let elsewhere = format!("nothing was done by hand to web itself; {at} is drained: `--upstream {at}`\n");
    assert_eq!(fine(portway(&file, &["enable", "web"])), elsewhere);
    let metrics = asker.ask("GET", "/metrics", "").body;
    let sample = format!("portway_by_hand{{route=\"web\",upstream=\"{at}\",act=\"drain\"}} 1");
    assert!(metrics.contains(&sample), "{metrics}");
    assert!(metrics.contains(&format!("portway_upstream_up{{route=\"web\",upstream=\"{at}\"}} 1")));
    assert_eq!(asker.route("web")["state"], "up", "the others are up");

    // An edit of the route, of another key, and of a comment leave it as it is.
    for more in ["deny = [\"192.0.2.0/24\"]", "idle_timeout = \"1h\""] {
        save(&place, &mut proxy, &pool(&port, &[&a, &b], more));
        assert_eq!(reaches(port.number, 4), ["a"], "{more}");
    }
    flows.iter_mut().for_each(|flow| flow.ping().unwrap());

    // Nobody takes the last one by mistake.
    let last = portway(&file, &["drain", "web", "--upstream", &a.addr.to_string()]);
    assert_eq!(
        (last.code, last.err.contains("is the last upstream"), last.err.contains("--force")),
        (1, true, true)
    );
    assert_eq!(reaches(port.number, 2), ["a"]);
    fine(portway(&file, &["drain", "web", "--upstream", &a.addr.to_string(), "--force"]));
    assert!(Flow::try_open(port.number).is_err());
    assert_eq!(asker.route("web")["state"], "down");
    assert!(asker.route("web")["reason"].as_str().unwrap().contains("gets new connections"));

    fine(portway(&file, &["enable", "web", "--upstream", &a.addr.to_string()]));
    let said = fine(portway(&file, &["enable", "web", "--upstream", &at]));
    assert_eq!(said, format!("{at} follows the file again\n"));
    assert_eq!(reaches(port.number, 6), ["a", "b"]);
    assert_eq!(upstream(&asker, &at)["by_hand"], json!([]));
    let again = fine(portway(&file, &["enable", "web", "--upstream", &at]));
    assert_eq!(again, format!("nothing was done by hand to {at}\n"));

    // What leaves the file is forgotten.
    fine(portway(&file, &["drain", "web", "--upstream", &at]));
    save(&place, &mut proxy, &pool(&port, &[&a], ""));
    save(&place, &mut proxy, &pool(&port, &[&a, &b], ""));
    assert_eq!(reaches(port.number, 6), ["a", "b"]);
    drop(flows);
    proxy.stop();
}

#[test]
fn o3_an_upstream_is_disabled_and_its_connections_are_reset() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let (place, proxy, asker) = start(&pool(&port, &[&a, &b], ""));
    let flows: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    let (mut stay, mut go): (Vec<Flow>, Vec<Flow>) = flows.into_iter().partition(|flow| flow.reached == "a");
    let at = b.addr.to_string();
    let said = fine(portway(&place.file(), &["disable", "web", "--upstream", &at, "--for", "2s"]));
    assert_eq!(said, format!("{at} is disabled; 2 connections reset\n"));
    assert!(go.iter_mut().all(Flow::was_reset));
    stay.iter_mut().for_each(|flow| flow.ping().unwrap());
    assert_eq!(upstream(&asker, &at)["state"], "disabled");
    assert!(upstream(&asker, &at)["by_hand"][0]["ends"].as_f64().unwrap() <= 2.0);
    assert_eq!(reaches(port.number, 4), ["a"]);
    // It ends by itself.
    until("its time is over", || upstream(&asker, &at)["state"] == "up");
    assert_eq!(reaches(port.number, 6), ["a", "b"]);
    drop(stay);
    proxy.stop();
}

#[test]
fn o3_a_weight_by_hand_counts_and_stays_over_edits() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let (place, mut proxy, asker) = start(&pool(&port, &[&a, &b], ""));
    let at = b.addr.to_string();
    fine(portway(&place.file(), &["weight", "web", "--upstream", &at, "3"]));
    let count = || (0..8).filter(|_| reached(port.number) == "b").count();
    assert_eq!(count(), 6);
    save(&place, &mut proxy, &pool(&port, &[&a, &b], "idle_timeout = \"1h\""));
    assert_eq!(count(), 6);
    assert_eq!(
        (&upstream(&asker, &at)["weight"], &upstream(&asker, &at)["by_hand"][0]["weight"]),
        (&json!(1), &json!(3))
    );
    fine(portway(&place.file(), &["weight", "web", "--upstream", &at, "0"]));
    assert_eq!(count(), 0);
    let wrong = portway(&place.file(), &["weight", "web", "--upstream", &at, "1001"]);
    assert_eq!((wrong.code, wrong.err.contains("no weight")), (2, true), "{wrong:?}");
    fine(portway(&place.file(), &["enable", "web", "--upstream", &at]));
    assert_eq!(count(), 4);
    proxy.stop();
}

#[test]
fn o3_sessions_of_an_upstream_that_drains_go_on() {
    let (port, a, b) = (udp_port(), udp_server("a"), udp_server("b"));
    let text = format!(
        "[[route]]\nname = \"dns\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:{port}\"\nupstream = [\"{a}\", \"{b}\"]\n",
    );
    let (place, proxy, asker) = start(&text);
    let sessions: Vec<Session> = (0..4).map(|_| Session::open(port)).collect();
    fine(portway(&place.file(), &["drain", "dns", "--upstream", &b]));
    assert!((0..4).all(|_| Session::open(port).reached == "a"));
    assert!(sessions.iter().all(|session| session.ask() == session.reached));
    let of_b = asker.connections(&format!("upstream={b}"));
    assert_eq!(of_b.len(), 2);
    fine(portway(&place.file(), &["disable", "dns", "--upstream", &b]));
    until("they are reset", || asker.connections(&format!("upstream={b}")).is_empty());
    assert!(sessions.iter().all(|session| session.ask() == "a"), "each finds the other");
    let killed = portway(&place.file(), &["kill", "--upstream", &a, "--json"]);
    assert!(killed.out.contains("\"killed\": 8"), "{killed:?}");
    proxy.stop();
}

/// The route that O3 is about: it stays out over the edit of another route and of a comment.
#[test]
fn o3_a_route_that_was_drained_stays_out_over_edits() {
    let (one, two, a) = (Port::reserve(), Port::reserve(), Backend::named("a"));
    let text = |more: &str| route("web", &one.local(), &a, "") + &route("other", &two.local(), &a, more);
    let (place, mut proxy, asker) = start(&text(""));
    let file = place.file();
    let mut flow = Flow::open(one.number);
    fine(portway(&file, &["drain", "web", "--no-wait"]));
    assert!(is_refused(one.number));
    for more in ["idle_timeout = \"1h\"\n", "deny = [\"192.0.2.0/24\"]\n"] {
        save(&place, &mut proxy, &text(more));
        assert!(is_refused(one.number), "{more}");
    }
    place.save(&(head(&place) + &text("deny = [\"192.0.2.0/24\"]\n") + "# a comment\n"));
    proxy.until("the comment is judged", |proxy| proxy.log().contains("nothing changed"));
    assert!(is_refused(one.number));
    flow.ping().unwrap();
    let shown = asker.route("web");
    let deed = &shown["by_hand"];
    assert_eq!(
        (&shown["state"], &deed["act"], &shown["retired"]),
        (&json!("drained"), &json!("drain"), &json!(1))
    );
    let table = fine(portway(&file, &["status"]));
    assert!(table.contains("drained") && table.contains("by hand: drain, by "), "{table}");
    let metrics = asker.ask("GET", "/metrics", "").body;
    assert!(metrics.contains("portway_by_hand{route=\"web\",upstream=\"\",act=\"drain\"} 1"), "{metrics}");
    assert!(metrics.contains("portway_route_connections{route=\"web\"} 1"), "its counters stay");
    // An edit of its own text is taken, and serves once it is back.
    let b = Backend::named("b");
    let edited = route("web", &one.local(), &b, "") + &route("other", &two.local(), &a, "");
    save(&place, &mut proxy, &edited);
    assert!(is_refused(one.number));
    fine(portway(&file, &["enable", "web"]));
    assert_eq!(reached(one.number), "b");
    assert_eq!(asker.route("web")["by_hand"], Value::Null);
    flow.ping().unwrap();
    // For a time.
    fine(portway(&file, &["disable", "web", "--for", "1s"]));
    assert!(flow.was_reset());
    until("it is back", || asker.route("web")["state"] == "up");
    assert_eq!(reached(one.number), "b");
    proxy.stop();
}

#[test]
fn o3_a_route_whose_address_was_taken_meanwhile_stays_out_and_says_why() {
    let (one, two, a) = (Port::reserve(), Port::reserve(), Backend::named("a"));
    let (place, proxy, asker) =
        start(&(route("web", &one.local(), &a, "") + &route("other", &two.local(), &a, "")));
    fine(portway(&place.file(), &["disable", "web"]));
    let taken = std::net::TcpListener::bind(("127.0.0.1", one.number)).unwrap();
    let said = portway(&place.file(), &["enable", "web"]);
    assert_eq!((said.code, said.err.contains("stays out")), (1, true), "{said:?}");
    assert_eq!(asker.route("web")["state"], "disabled");
    drop(taken);
    fine(portway(&place.file(), &["enable", "web"]));
    assert_eq!(reached(one.number), "a");
    proxy.stop();
}

/// What its checks have found is known for a while after the last of them.
#[test]
fn o3_a_route_comes_back_with_what_is_known_of_its_upstreams() {
    let (port, dead, a) = (Port::reserve(), Port::reserve(), Backend::named("a"));
    let more = "health = { interval = \"1h\", timeout = \"1s\" }\n";
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = [\"{}\", \"{}\"]\n{more}",
        port.local(),
        a.addr,
        dead.local()
    );
    let (place, proxy, asker) = start(&text);
    let states = || [a.addr.to_string(), dead.local()].map(|addr| upstream(&asker, &addr)["state"].clone());
    let checked = || {
        let found = upstream(&asker, &a.addr.to_string());
        found["addresses"][0]["check"]["last"].is_number()
    };
    until("both are checked", || states() == [json!("up"), json!("down")] && checked());
    for act in ["drain", "disable"] {
        fine(portway(&place.file(), &[act, "web"]));
        fine(portway(&place.file(), &["enable", "web"]));
        assert_eq!((states(), checked()), ([json!("up"), json!("down")], true), "{act}");
    }
    proxy.stop();
}

/// What its text names stays read while it is out.
#[test]
fn o3_a_route_comes_back_with_its_lists() {
    let (one, two, a) = (Port::reserve(), Port::reserve(), Backend::named("a"));
    let place = Place::with("");
    let list = place.root().join("deny");
    std::fs::write(&list, "127.0.0.1\n").unwrap();
    let more = format!("deny = {{ file = \"{}\" }}\n", list.display());
    let text = |other: &str| {
        head(&place) + &route("web", &one.local(), &a, &more) + &route("other", &two.local(), &a, other)
    };
    place.save(&text(""));
    let mut proxy = Portway::run(&place.file());
    assert!(Flow::try_open(one.number).is_err(), "denied");
    let routes = fine(portway(&place.file(), &["routes"]));
    assert!(routes.contains("turned away: 1 by allow, deny\n"), "{routes}");
    fine(portway(&place.file(), &["disable", "web"]));
    place.save(&text("idle_timeout = \"1h\"\n"));
    proxy.phase("reloaded");
    fine(portway(&place.file(), &["enable", "web"]));
    assert!(Flow::try_open(one.number).is_err(), "denied");
    assert_eq!(reached(two.number), "a");
    proxy.stop();
}

#[test]
fn o3_the_file_drains_for_good() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |of_b: &str| {
        format!(
            "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = [\"{}\", {{ address = \"{}\"{of_b} }}]\n\
             on_change = \"cut\"\n",
            port.local(),
            a.addr,
            b.addr
        )
    };
    let (place, mut proxy, asker) = start(&text(""));
    let mut flows: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    for of_b in [", state = \"drain\"", ", weight = 0"] {
        save(&place, &mut proxy, &text(of_b));
        assert_eq!(reaches(port.number, 4), ["a"], "{of_b}");
        assert_eq!(upstream(&asker, &b.addr.to_string())["state"], "drained");
        flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    }
    save(&place, &mut proxy, &text(", state = \"drain\""));
    let said = portway(&place.file(), &["enable", "web", "--upstream", &b.addr.to_string()]);
    assert_eq!((said.code, said.err.contains("the file itself")), (1, true), "{said:?}");
    save(&place, &mut proxy, &text(", state = \"ready\""));
    assert_eq!(reaches(port.number, 4), ["a", "b"]);
    drop(flows);
    proxy.stop();
}

#[test]
fn o3_what_a_drained_route_still_has_is_reset_when_it_is_disabled() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &a, "drain_timeout = \"1h\"\n"));
    let mut flow = Flow::open(port.number);
    fine(portway(&place.file(), &["drain", "web", "--no-wait"]));
    flow.ping().unwrap();
    assert_eq!(asker.route("web")["retired"], 1);
    let said = fine(portway(&place.file(), &["disable", "web"]));
    assert!(said.contains("1 connection reset"), "{said}");
    assert!(flow.was_reset());
    proxy.stop();
}
