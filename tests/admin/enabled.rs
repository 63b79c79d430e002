//! `enabled = false`, on a running proxy: nothing serves the route, and everything that shows routes says so.

use super::asker::{Asker, head, portway, start};
use crate::harness::instance::{Backend, Flow, Port, is_refused, reached, route};
use crate::harness::until;

/// Every route with its state.
fn states(asker: &Asker) -> Vec<String> {
    let routes = asker.get("/v1/routes");
    let routes = routes["routes"].as_array().unwrap().iter();
    let text = |route: &serde_json::Value, key: &str| route[key].as_str().unwrap().to_owned();
    routes.map(|route| format!("{} {}", text(route, "name"), text(route, "state"))).collect()
}

#[test]
fn a_disabled_route_is_not_served_and_is_shown() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = |of_one: &str, of_two: &str| {
        route("one", &one.local(), &backend, of_one) + &route("two", &two.local(), &backend, of_two)
    };
    let off = "enabled = false\n";
    let (place, mut proxy, asker) = start(&routes("", ""));
    let mut open = Flow::open(one.number);
    let text = head(&place) + &routes(off, "");
    let new = place.root().join("new.toml");
    std::fs::write(&new, &text).unwrap();
    let new = new.to_str().unwrap();

    let plan = portway(&place.file(), &["plan", new]);
    assert_eq!(plan.code, 3, "{plan:?}");
    assert!(plan.out.contains("- one: "), "{plan:?}");
    assert!(plan.out.contains("~ routes with enabled = false: none -> one\n"), "{plan:?}");
    let checked = portway(&place.file(), &["check", new]);
    let summary = "fine, 1 route (1 more with enabled = false), 1 listener\n";
    assert!(checked.out.ends_with(summary), "{checked:?}");

    place.save(&text);
    proxy.phase("reloaded");
    assert!(is_refused(one.number));
    assert_eq!(reached(two.number), "b");
    // Its open connections are those of a route that was removed.
    open.ping().unwrap();
    assert_eq!(states(&asker), ["two up", "one disabled", "one removed"]);
    drop(open);
    until("the last connection ends", || states(&asker).len() == 2);
    let status = portway(&place.file(), &["status"]);
    let row = status.out.lines().find(|line| line.starts_with("one "));
    assert!(row.is_some_and(|row| row.contains(" disabled ")), "{status:?}");
    let counts = asker.get("/v1/status")["routes"].clone();
    assert_eq!((&counts["all"], &counts["disabled"]), (&1.into(), &1.into()), "{counts}");
    assert!(!asker.ask("GET", "/metrics", "").body.contains("portway_route_up{route=\"one\""));

    // All of them may be disabled, and come back.
    place.save(&(head(&place) + &routes(off, off)));
    until("no route is left", || states(&asker) == ["one disabled", "two disabled"]);
    assert!(is_refused(two.number));
    place.save(&(head(&place) + &routes("", "")));
    until("both are back", || states(&asker) == ["one up", "two up"]);
    assert_eq!((reached(one.number), reached(two.number)), ("b".to_owned(), "b".to_owned()));
    proxy.stop();
}
