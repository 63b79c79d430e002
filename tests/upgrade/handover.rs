//! Somebody else starts the new process: two containers of one pod share the folder of a Unix socket.

use std::process::Command;

use crate::admin::asker::{Asker, head};
use crate::harness::instance::{Backend, Flow, PORTWAY, Place, Port, Portway, reached, route};

fn run_at(place: &Place) -> Portway {
    let mut command = Command::new(PORTWAY);
    command.args(["run", "--config"]).arg(place.file());
    command.arg("--handover").arg(place.root().join("handover.sock"));
    Portway::start(&mut command)
}

#[test]
fn u40_a_process_that_somebody_else_starts_takes_over_and_so_does_the_next() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let place = Place::with("");
    place.save(&(head(&place) + &route("one", &port.local(), &backend, "")));
    let asker = Asker::unix(&place);
    let mut running = run_at(&place);
    let mut flow = Flow::open(port.number);
    for _ in 0..3 {
        let next = run_at(&place);
        assert_eq!(asker.get("/v1/status")["pid"], next.pid());
        let handed = running.phase("handed over");
        assert_eq!(handed["moved"], 1, "{handed}");
        running.old_ones_have_ended();
        running = next;
        flow.ping().unwrap();
        assert_eq!(reached(port.number), "b");
    }
    drop(flow);
    running.stop();
}

#[test]
fn u41_one_that_cannot_serve_the_file_ends_and_what_runs_goes_on() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let place = Place::with("");
    let text = head(&place) + &route("one", &port.local(), &backend, "");
    place.save(&text);
    let mut running = run_at(&place);
    let mut flow = Flow::open(port.number);
    place.save("nonsense");
    running.refused();
    let mut command = Command::new(PORTWAY);
    command.args(["run", "--config"]).arg(place.file());
    let next = command.arg("--handover").arg(place.root().join("handover.sock")).output().unwrap();
    assert_eq!(next.status.code(), Some(1), "{next:?}");
    running.phase("not upgraded: what runs goes on as before");
    flow.ping().unwrap();
    assert_eq!(reached(port.number), "b");
    place.save(&text);
    running.phase("fault healed");
    let next = run_at(&place);
    running.old_ones_have_ended();
    flow.ping().unwrap();
    drop(flow);
    next.stop();
}
