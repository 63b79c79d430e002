//! What happens while an upgrade is under way.

use rustix::process::Signal;
use serde_json::json;

use super::fake::fails_at;
use super::upgrade;
use crate::admin::asker::{head, start};
use crate::harness::instance::{Backend, Flow, Port, reached, route};
use crate::harness::successor::children;
use crate::harness::until;

#[test]
fn u8_a_second_upgrade_is_refused_and_the_status_is_answered() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    let program = fails_at(&place, "hang-at-prepare");
    let first = std::thread::spawn({
        let (asker, body) = (asker.with(&asker.head), json!({ "binary": program }).to_string());
        move || asker.ask("POST", "/v1/upgrade", &body)
    });
    until("it is under way", || !children(portway.pid()).is_empty());
    let second = asker.ask("POST", "/v1/upgrade", "{}");
    assert_eq!(second.status, 409, "{second:?}");
    assert_eq!(second.json()["error"], "another upgrade is under way");
    assert_eq!(asker.get("/v1/status")["pid"], portway.pid());
    assert_eq!(reached(port.number), "b");
    // An order of another kind waits.
    assert_eq!(asker.post("/v1/reload", &json!({}))["outcome"], "unchanged");
    assert_eq!(first.join().unwrap().status, 409);
    portway.phase("not upgraded");
    upgrade(&mut portway, &asker);
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u9_an_edit_meanwhile_is_taken_in_afterwards() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = route("one", &one.local(), &backend, "");
    let (place, mut portway, asker) = start(&routes);
    let program = fails_at(&place, "hang-at-prepare");
    let failing = std::thread::spawn({
        let (asker, body) = (asker.with(&asker.head), json!({ "binary": program }).to_string());
        move || asker.ask("POST", "/v1/upgrade", &body)
    });
    until("it is under way", || !children(portway.pid()).is_empty());
    let two_routes = routes + &route("two", &two.local(), &backend, "");
    place.save(&(head(&place) + &two_routes));
    assert_eq!(failing.join().unwrap().status, 409);
    portway.phase("reloaded");
    assert_eq!(reached(two.number), "b");
    // The new one follows the file too.
    upgrade(&mut portway, &asker);
    portway.phase("ready");
    place.save(&(head(&place) + &route("two", &two.local(), &backend, "")));
    portway.phase("reloaded");
    assert!(crate::harness::instance::is_refused(one.number));
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u10_a_stop_meanwhile_ends_both() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    for step in ["hang-at-prepare", "hang-at-serve"] {
        let (place, portway, asker) = start(&route("one", &port.local(), &backend, ""));
        let mut flow = Flow::open(port.number);
        let program = fails_at(&place, step);
        let asked = std::thread::spawn({
            let body = json!({ "binary": program }).to_string();
            move || asker.ask("POST", "/v1/upgrade", &body)
        });
        let mut new = None;
        until("it is under way", || {
            new = children(portway.pid()).first().copied();
            new.is_some()
        });
        let new = crate::harness::successor::Successor::of(new.unwrap());
        portway.signal(Signal::TERM);
        assert!(new.ends(crate::harness::PATIENCE));
        flow.ping().unwrap();
        drop(flow);
        drop(asked.join());
        portway.stopped();
    }
}

#[test]
fn u11_sigusr2_is_the_same_order() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (_place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    let old = portway.pid();
    portway.signal(Signal::USR2);
    let handed = portway.phase("handed over");
    let new = handed["pid"].as_u64().unwrap();
    assert_ne!(new, u64::from(old));
    portway.follow(u32::try_from(new).unwrap());
    assert_eq!(reached(port.number), "b");
    assert_eq!(asker.get("/v1/status")["pid"], new);
    portway.old_ones_have_ended();
    portway.stop();
}
