//! `plan`: what a file would change of what runs, said before it does.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::asker::{head, portway, start};
use crate::harness::instance::{Backend, Flow, Port, reached, route};
use crate::harness::ports::free_port;
use crate::harness::until;

/// The figures of the plan are those of the reload that follows.
#[test]
fn what_the_plan_says_is_what_the_reload_does() {
    let ports: Vec<Port> = (0..5).map(|_| Port::reserve()).collect();
    let backend = Backend::named("b");
    let at = |i: usize| ports[i].local();
    let same = route("same", &at(0), &backend, "");
    let before = same.clone()
        + &route("gone", &at(1), &backend, "on_change = \"cut\"\n")
        + &route("kept", &at(2), &backend, "");
    let (place, mut proxy, asker) = start(&(before + &route("cut", &at(3), &backend, "")));
    let open =
        |i: usize, count: usize| -> Vec<Flow> { (0..count).map(|_| Flow::open(ports[i].number)).collect() };
    let (mut same_flows, mut gone, mut kept, mut cut) = (open(0, 4), open(1, 3), open(2, 2), open(3, 1));
    let after = head(&place).replace("[log]\n", "[log]\nlevel = \"debug\"\n")
        + &same
        + &route("kept", &at(2), &backend, "idle_timeout = \"1h\"\n")
        + &route("cut", &at(3), &backend, "on_change = \"cut\"\n")
        + &route("new", &at(4), &backend, "");
    let file = place.root().join("after.toml");
    std::fs::write(&file, &after).unwrap();
    let printed = portway(&place.file(), &["plan", "--json", file.to_str().unwrap()]);
    assert_eq!(printed.code, 3, "{printed:?}");
    let plan: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(plan["changes"], true);
    assert_eq!(touched(&plan, "added"), ["new 0 null"]);
    assert_eq!(touched(&plan, "removed"), ["gone 3 \"cut\""]);
    assert_eq!(touched(&plan, "changed"), ["cut 1 \"cut\"", "kept 2 \"keep\""]);
    let keys = json!([{ "key": "idle_timeout", "from": "off", "to": "1h" }]);
    assert_eq!(plan["changed"][1]["keys"], keys);
    assert_eq!(plan["settings"], json!([{ "key": "log.level", "from": "info", "to": "debug" }]));
    let listener = json!([{ "protocol": "tcp", "address": at(4), "error": null, "help": null }]);
    assert_eq!((&plan["listeners"], &plan["closed"]), (&listener, &json!([at(1)])));
    assert_eq!(plan["upstreams"][0]["result"], "connects");
    assert!(plan["descriptors"]["needed"].as_u64() < plan["descriptors"]["limit"].as_u64());
    // It has changed nothing.
    assert_eq!(asker.get("/v1/status")["generation"], 1);
    for flow in same_flows.iter_mut().chain(&mut gone).chain(&mut kept).chain(&mut cut) {
        flow.ping().unwrap();
    }

    place.save(&after);
    let line = proxy.phase("reloaded");
    assert_eq!(line["plan"], "added new; removed gone; changed cut, kept; changed [log]");
    assert_eq!(gone.iter_mut().filter_map(|flow| flow.was_reset().then_some(())).count(), 3);
    assert!(cut.iter_mut().all(Flow::was_reset));
    for flow in same_flows.iter_mut().chain(&mut kept) {
        flow.ping().unwrap();
    }
    assert_eq!(reached(ports[4].number), "b");
    let killed = |name: &str| asker.route(name)["outcomes"]["drained"].clone();
    until("the cut one is counted", || killed("cut") == 1);
    assert_eq!(asker.route("kept")["retired"], 2);
    // Now there is nothing left to do.
    let again = portway(&place.file(), &["plan"]);
    assert_eq!(
        (again.code, again.out.as_str()),
        (0, "nothing to do: the file is what runs (generation 2)\n")
    );
    drop((same_flows, kept));
    proxy.stop();
}

/// Each route of a list with its open connections, and what becomes of them.
fn touched(plan: &Value, list: &str) -> Vec<String> {
    let routes = plan[list].as_array().unwrap().iter();
    let said = |route: &Value| {
        format!("{} {} {}", route["name"].as_str().unwrap(), route["open"], route["on_change"])
    };
    routes.map(said).collect()
}

/// What a person reads: the golden picture of it.
#[test]
fn the_plan_reads_as_it_always_did() {
    let (backend, mut ports) = (Backend::named("b"), Vec::from_iter((0..5).map(|_| Port::reserve())));
    // Addresses are listed in this order.
    ports.sort_by_key(|port| port.number);
    let at = |i: usize| ports[i].local();
    let dead = Port::reserve();
    let (taken, _listening) = (at(4), std::net::TcpListener::bind(at(4)).unwrap());
    let (place, proxy, _asker) = start(
        &(route("drained", &at(0), &backend, "on_change = \"drain\"\n")
            + &route("changed", &at(1), &backend, "")
            + &route("unused", &at(2), &backend, "")),
    );
    let flow = Flow::open(ports[0].number);
    let flows = [Flow::open(ports[1].number), Flow::open(ports[1].number)];
    let upstream = backend.addr;
    let after = head(&place)
        + &route("changed", &at(1), &backend, "balance = \"first\"\nkeepalive = \"30s\"\n")
        + &route("taken", &taken, &backend, "")
        + &format!(
            "[[route]]\nname = \"new\"\nlisten = \"{}\"\nupstream = [\"{}\", \"nowhere.invalid:80\"]\n",
            at(3),
            dead.local()
        );
    let file = place.root().join("after.toml");
    std::fs::write(&file, after).unwrap();
    let printed = portway(&place.file(), &["plan", file.to_str().unwrap()]);
    assert_eq!(printed.code, 2, "a port cannot be opened: {printed:?}");
    let mut text = printed.out;
    let numbers: Vec<String> = (0..4).map(at).chain([dead.local(), taken, upstream.to_string()]).collect();
    for (name, addr) in
        ["DRAINED", "CHANGED", "UNUSED", "NEW", "DEAD", "TAKEN", "BACKEND"].iter().zip(numbers)
    {
        let port = addr.split(':').nth(1).unwrap();
        text = text.replace(&addr, &format!("<{name}>")).replace(&format!(":{port}'"), ":<PORT>'");
    }
    let text: String = text
        .lines()
        .map(|line| match line.split_once("descriptors: ") {
            // Those depend on the machine.
            Some((head, rest)) => head.to_owned() + "descriptors: " + &rest.replace(char::is_numeric, "#"),
            None => match line.split_once("does not resolve: ") {
                Some((head, _)) => format!("{head}does not resolve: <WHY>"),
                None => line.to_owned(),
            },
        })
        .map(|line| line + "\n")
        .collect();
    let text = squeezed(&text);
    golden("plan.txt", &text);
    drop((flow, flows));
    proxy.stop();
}

/// Runs of `#` are one: a number has as many digits as it likes.
fn squeezed(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !(c == '#' && out.ends_with('#')) {
            out.push(c);
        }
    }
    out
}

/// Compares with a file in `tests/golden/admin`, or writes it under `PORTWAY_BLESS=1`.
pub fn golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/admin").join(name);
    if std::env::var_os("PORTWAY_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{}\nexpected:\n{expected}\nfound:\n{found}", path.display());
}

#[test]
fn a_text_with_faults_is_shown_them_and_tries_nothing() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, proxy, asker) = start(&route("one", &port.local(), &backend, ""));
    let file = place.root().join("wrong.toml");
    std::fs::write(&file, "[[route]]\nlisten = \"1\"\nupstreem = \"a:1\"\n").unwrap();
    let printed = portway(&place.file(), &["plan", file.to_str().unwrap()]);
    assert_eq!((printed.code, printed.out.as_str()), (2, ""));
    assert!(
        printed.err.contains("did you mean `upstream`?") && printed.err.contains("^^^^"),
        "{}",
        printed.err
    );
    let answer = asker.ask("POST", "/v1/plan", "listen");
    assert_eq!(answer.status, 422);
    assert!(answer.json()["report"].as_str().unwrap().contains("^"), "{answer:?}");
    let missing = portway(&place.file(), &["plan", "/nowhere.toml"]);
    assert!(missing.code == 2 && missing.err.contains("there is no such file"), "{missing:?}");
    proxy.stop();
}

#[test]
fn neighbouring_ports_that_are_new_are_one_line() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let web = route("web", &port.local(), &backend, "");
    let (place, proxy, _asker) = start(&web);
    let three = |first: &u16| (1..3).all(|more| TcpListener::bind(("127.0.0.1", first + more)).is_ok());
    let first = (0..100).map(|_| free_port()).find(three).unwrap();
    let range = format!("127.0.0.1:{first}-{}", first + 2);
    let file = place.root().join("after.toml");
    std::fs::write(&file, head(&place) + &web + &route("range", &range, &backend, "")).unwrap();
    let printed = portway(&place.file(), &["plan", file.to_str().unwrap()]);
    let told = format!("  can listen on {range} (3 sockets)\n");
    assert!(printed.out.contains(&told) && printed.out.matches("can listen").count() == 1, "{printed:?}");
    proxy.stop();
}
