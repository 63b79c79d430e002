//! Open connections: found, page by page and by what they are; ended by a person.

use std::process::Command;

use serde_json::{Value, json};

use super::asker::{portway, start};
use super::concern::{Session, save, udp_server};
use crate::harness::instance::{Backend, Flow, Port, route};
use crate::harness::ports::free_port;
use crate::harness::until;

fn ids(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

#[test]
fn pages_follow_each_other_and_filters_leave_what_they_say() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = route("one", &one.local(), &backend, "") + &route("two", &two.local(), &backend, "");
    let (place, proxy, asker) = start(&routes);
    let flows: Vec<Flow> = (0..25).map(|i| Flow::open([one.number, two.number][i % 2])).collect();
    let all = ids(&asker.connections("limit=1000"));
    assert_eq!(all.len(), 25);
    assert!(all.is_sorted(), "the oldest first: {all:?}");
    let (mut paged, mut after) = (Vec::new(), 0);
    loop {
        let page = asker.get(&format!("/v1/connections?limit=7&after={after}"));
        assert_eq!(page["open"], 25);
        paged.extend(ids(page["connections"].as_array().unwrap()));
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(paged, all);
    let found = |query: &str| asker.connections(query).len();
    assert_eq!((found("route=one"), found("route=two")), (13, 12));
    assert_eq!(asker.ask("GET", "/v1/connections?route=three", "").status, 404);
    assert_eq!(
        (found("client=127.0.0.0/8"), found("client=10.0.0.0/8"), found("client=127.0.0.1")),
        (25, 0, 25)
    );
    assert_eq!((found("older=1h"), found("older=0s")), (0, 25));
    let client = asker.connections("limit=1")[0]["client"].as_str().unwrap().to_owned();
    assert_eq!(ids(&asker.connections(&format!("client={client}"))), all[..1]);
    // The command goes through all pages.
    let shown = portway(&place.file(), &["connections", "--route", "two", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((shown.code, rows.len()), (0, 12));
    let shown = portway(&place.file(), &["connections"]);
    assert_eq!((shown.code, shown.out.lines().count()), (0, 26), "{}", shown.out);
    for wrong in ["client=nobody", "older=5", "after=x", "limit=-1", "colour=red", "route=%zz"] {
        let answer = asker.ask("GET", &format!("/v1/connections?{wrong}"), "");
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(!answer.json()["help"].as_str().unwrap().is_empty(), "{wrong}");
    }
    drop(flows);
    until("all have ended", || asker.connections("").is_empty());
    proxy.stop();
}

/// The upstreams of a route that does not exist are not none.
#[test]
fn upstreams_are_asked_for_by_the_name_of_their_route() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = route("one", &one.local(), &backend, "") + &route("two", &two.local(), &backend, "");
    let (place, proxy, asker) = start(&routes);
    let all = asker.get("/v1/upstreams?route=two")["upstreams"].clone();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["route"]), (1, &json!("two")));
    let shown = portway(&place.file(), &["upstreams", "--route", "two"]);
    assert_eq!((shown.code, shown.out.lines().count()), (0, 2), "{shown:?}");
    let typo = portway(&place.file(), &["upstreams", "--route", "twe"]);
    assert_eq!((typo.code, &*typo.out), (2, ""), "{typo:?}");
    assert!(
        typo.err.contains("there is no route `twe`") && typo.err.contains("did you mean `two`?"),
        "{typo:?}"
    );
    assert_eq!(asker.ask("GET", "/v1/upstreams?route=three", "").status, 404);
    for wrong in ["colour=red", "route=%zz"] {
        assert_eq!(asker.ask("GET", &format!("/v1/upstreams?{wrong}"), "").status, 400, "{wrong}");
    }
    proxy.stop();
}

#[test]
fn a_kill_resets_whom_it_names_and_nobody_else() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = route("one", &one.local(), &backend, "") + &route("two", &two.local(), &backend, "");
    let (place, mut proxy, asker) = start(&routes);
    let mut flows: Vec<Flow> = (0..4).map(|_| Flow::open(one.number)).collect();
    let mut other = Flow::open(two.number);
    let first = ids(&asker.connections("route=one"))[0].to_string();
    let killed = portway(&place.file(), &["kill", &first]);
    assert_eq!((killed.code, killed.out.as_str()), (0, "1 connection reset\n"), "{killed:?}");
    assert!(flows.remove(0).was_reset());
    flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    until("it is gone", || asker.connections("").len() == 4);
    let again = portway(&place.file(), &["kill", &first]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains(&format!("no open connection has the id {first}")), "{}", again.err);
    // Nobody means all by saying nothing.
    let nothing = portway(&place.file(), &["kill"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("which connections"), "{}", nothing.err);
    assert_eq!(asker.ask("POST", "/v1/kill", "{\"filter\":{}}").status, 400);
    assert_eq!(asker.ask("POST", "/v1/kill", "{\"everything\":true}").status, 400);

    let killed = portway(&place.file(), &["kill", "--route", "one", "--client", "127.0.0.0/8", "--json"]);
    let said: Value = serde_json::from_str(&killed.out).unwrap();
    assert_eq!(said, json!({ "killed": 3, "unknown": [] }));
    // Who it was is in the log, for whoever asks later.
    let me = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    for (connections, which) in [(1, "by id"), (3, "route one, client 127.0.0.0/8")] {
        let line = proxy.phase("killed by hand");
        assert_eq!((&line["connections"], &line["which"]), (&json!(connections), &json!(which)), "{line}");
        assert_eq!(line["by"], me.trim(), "{line}");
    }
    assert!(flows.iter_mut().all(Flow::was_reset));
    other.ping().unwrap();
    until("they are counted", || asker.route("one")["traffic"]["closed"] == 4);
    assert_eq!(asker.route("one")["outcomes"], json!({ "killed": 4 }));
    drop(other);
    proxy.stop();
}

/// A client that waits for an upstream, and one that has not said yet where it wants to go, can be killed too.
#[test]
fn a_kill_reaches_who_has_no_upstream_yet() {
    let (port, dead, sni, backend) = (Port::reserve(), Port::reserve(), Port::reserve(), Backend::named("b"));
    let text = format!(
        "[[route]]\nname = \"held\"\nlisten = \"{}\"\nupstream = \"{}\"\nwhen_down = \"hold 1h\"\n",
        port.local(),
        dead.local()
    ) + &route("tls", &sni.local(), &backend, "sni = \"a.example\"\nsniff_timeout = \"1h\"\n");
    let (_place, proxy, asker) = start(&text);
    let held = std::net::TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let silent = std::net::TcpStream::connect(("127.0.0.1", sni.number)).unwrap();
    until("both are there", || asker.connections("").len() == 2);
    let rows = asker.connections("");
    let of =
        |route: &str| rows.iter().find(|row| row["route"] == route).unwrap_or_else(|| panic!("{rows:?}"));
    assert_eq!((&of("held")["upstream"], &of("held")["path"]), (&Value::Null, &json!("none")));
    assert_eq!(of("-")["upstream"], Value::Null);
    asker.post("/v1/kill", &json!({ "ids": ids(&rows) }));
    for mut client in [held, silent] {
        client.set_read_timeout(Some(crate::harness::instance::PATIENCE)).unwrap();
        let mut byte = [0];
        assert!(std::io::Read::read(&mut client, &mut byte).is_err(), "reset");
    }
    until("both are gone", || asker.connections("").is_empty());
    proxy.stop();
}

/// From every interface to one address, and back: each time another listener serves it.
#[test]
fn a_kill_reaches_a_session_that_an_edit_of_listen_has_moved() {
    let (port, server) = (free_port(), udp_server("u"));
    let text = |listen: &str| {
        format!(
            "[[route]]\nname = \"udp\"\nprotocol = \"udp\"\nlisten = \"{listen}\"\nupstream = \"{server}\"\n"
        )
    };
    let (place, mut proxy, asker) = start(&text(&port.to_string()));
    let listens = [format!("127.0.0.1:{port}"), port.to_string()];
    for (listen, killed) in listens.iter().zip(1..) {
        let session = Session::open(port);
        let before = ids(&asker.connections(""));
        save(&place, &mut proxy, &text(listen));
        assert_eq!(session.ask(), "u");
        assert_eq!((ids(&asker.connections("")), before.len()), (before.clone(), 1));
        let said = portway(&place.file(), &["kill", &before[0].to_string()]);
        assert_eq!((said.code, said.out.as_str()), (0, "1 connection reset\n"), "{said:?}");
        until("it is gone", || asker.connections("").is_empty());
        assert_eq!(asker.route("udp")["outcomes"], json!({ "killed": killed }), "{listen}");
    }
    proxy.stop();
}
