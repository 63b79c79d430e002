//! What goes wrong: the new one goes, and what runs goes on as before.

use serde_json::json;

use super::fake::{fails_at, script};
use super::serving::{Stream, ask, every_listener, udp_client};
use super::{refused, upgrade};
use crate::admin::asker::{Asker, head, portway as command, start};
use crate::harness::instance::{Backend, Flow, PORTWAY, Place, Port, Portway, install, reached, route};

#[test]
fn u4_a_program_that_cannot_be_started_is_named() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    let mut flow = Flow::open(port.number);
    let missing = place.root().join("missing");
    let said = refused(&mut portway, &asker, &missing);
    assert!(said.ends_with("cannot be started: No such file or directory (os error 2)"), "{said}");
    let plain = place.root().join("plain");
    std::fs::write(&plain, "text").unwrap();
    let said = refused(&mut portway, &asker, &plain);
    assert!(said.contains("cannot be started: Permission denied"), "{said}");
    install(&plain, &plain.with_extension("program"));
    let plain = plain.with_extension("program");
    let said = refused(&mut portway, &asker, &plain);
    assert!(said.contains("cannot be started: Exec format error"), "{said}");
    let said = refused(&mut portway, &asker, place.root());
    assert!(said.contains("cannot be started: Permission denied"), "{said}");
    flow.ping().unwrap();
    assert_eq!(reached(port.number), "b");
    // And then it can.
    upgrade(&mut portway, &asker);
    drop(flow);
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u5_a_new_process_that_fails_at_any_step_goes_and_no_client_notices() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    let mut flow = Flow::open(port.number);
    let steps = ["hello", "sockets", "prepare", "serve"];
    for step in steps {
        for way in ["exit", "abort", "dance"] {
            let said = refused(&mut portway, &asker, &fails_at(&place, &format!("{way}-at-{step}")));
            let why = match way {
                "exit" => "has ended before it could take over (exit status: 7)",
                "abort" => "has ended before it could take over (signal: 6 (SIGABRT)",
                _ => "has not taken over: the other process sends what is no message",
            };
            assert!(said.contains(why), "{way} at {step}: {said}");
            flow.ping().unwrap();
            assert_eq!(reached(port.number), "b", "{way} at {step}");
        }
    }
    let bad = command(&place.file(), &["upgrade", script(&place, "exit 3").to_str().unwrap()]);
    let cure = "see what it has said on standard error; is it a Portway, for this machine?";
    assert!(bad.code == 1 && bad.err.contains(cure), "{bad:?}");
    portway.phase("not upgraded");
    let said = refused(&mut portway, &asker, &script(&place, "exit 3"));
    assert!(said.contains("(exit status: 3)"), "{said}");
    let said = refused(&mut portway, &asker, &fails_at(&place, "gap"));
    assert!(said.contains("Portway fake does not read what Portway"), "{said}");
    let said = refused(&mut portway, &asker, &fails_at(&place, "refuses"));
    assert_eq!(said, "Portway fake cannot serve this file");
    drop(flow);
    portway.stop();
}

/// Five seconds of silence: clients that come meanwhile wait, and are served.
#[test]
fn u5_a_new_process_that_hangs_is_ended_and_no_client_is_refused() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    for step in ["prepare", "serve"] {
        let program = fails_at(&place, &format!("hang-at-{step}"));
        let client = std::thread::spawn({
            let port = port.number;
            move || {
                for _ in 0..50 {
                    Flow::open(port).ping().unwrap();
                    crate::harness::pass(std::time::Duration::from_millis(100));
                }
            }
        });
        let said = refused(&mut portway, &asker, &program);
        assert!(said.ends_with("has not taken over: the other process is silent for 5 s"), "{step}: {said}");
        client.join().unwrap();
    }
    portway.stop();
}

/// What they send waits in the socket, which both processes have, and is read once this one goes on.
#[test]
fn u5_datagrams_that_come_while_a_new_process_hangs_are_answered() {
    let (place, mut portway, asker, _ports, udp) = every_listener();
    let clients = Stream::of(move || ask(&udp_client(udp)));
    clients.goes_on();
    let said = refused(&mut portway, &asker, &fails_at(&place, "hang-at-serve"));
    assert!(said.ends_with("has not taken over: the other process is silent for 5 s"), "{said}");
    clients.goes_on();
    clients.end();
    portway.stop();
}

#[test]
fn u6_a_file_with_a_fault_refuses_the_upgrade_and_is_shown() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    place.save(&(head(&place) + "[[rout]]\n"));
    portway.refused();
    for args in [&["upgrade", "--check"][..], &["upgrade"]] {
        let said = command(&place.file(), args);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.contains("cannot serve this file"), "{said:?}");
        assert!(said.err.contains("rout"), "the report: {said:?}");
    }
    assert_eq!(reached(port.number), "b");
    place.save(&(head(&place) + &route("one", &port.local(), &backend, "")));
    let checked = command(&place.file(), &["upgrade", "--check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.out.ends_with("nothing has changed\n"), "{checked:?}");
    assert_eq!(asker.get("/v1/status")["pid"], portway.pid());
    portway.stop();
}

#[test]
fn u7_who_may_change_may_upgrade_and_only_the_owner_names_a_program() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let token = "0123456789abcdef";
    let head = format!(
        "{}[admin]\nlisten = \"{}\"\ntoken = \"{token}\"\n",
        crate::harness::instance::HEAD,
        admin.local()
    );
    let place = crate::harness::instance::Place::with(&(head + &route("one", &port.local(), &backend, "")));
    let mut portway = crate::harness::instance::Portway::run(&place.file());
    let asker = crate::admin::asker::Asker::tcp(admin.number);
    assert_eq!(asker.ask("POST", "/v1/upgrade", "{}").status, 401);
    let asker = asker.with(&format!("Host: 127.0.0.1:{}\r\nAuthorization: Bearer {token}\r\n", admin.number));
    let named = asker.ask("POST", "/v1/upgrade", &json!({ "binary": "/bin/true" }).to_string());
    assert_eq!(named.status, 403, "{named:?}");
    upgrade(&mut portway, &asker);
    portway.old_ones_have_ended();
    assert_eq!(asker.get("/v1/status")["pid"], portway.pid());
    assert_eq!(reached(port.number), "b");
    portway.stop();
}

/// As many connections as there is room for: for a moment both processes have them, and the new one has some descriptors more.
#[test]
fn u28_few_descriptors_cost_no_connection() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let place = Place::with("");
    place.save(&(head(&place) + &route("one", &port.local(), &backend, "")));
    let mut command = std::process::Command::new("prlimit");
    command.args(["--nofile=128", PORTWAY, "run", "--config"]).arg(place.file());
    let mut portway = Portway::start(&mut command);
    let asker = Asker::unix(&place);
    let most = asker.get("/v1/status")["limits"]["connections"]["most"].as_u64().unwrap();
    assert!((20..30).contains(&most), "{most}");
    let mut flows: Vec<Flow> = (0..most).map(|_| Flow::open(port.number)).collect();
    for _ in 0..2 {
        assert_eq!(upgrade(&mut portway, &asker)["moved"], most);
        portway.old_ones_have_ended();
        flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    }
    drop(flows);
    assert_eq!(reached(port.number), "b");
    portway.stop();
}
