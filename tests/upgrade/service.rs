//! The service manager hears whom it has to watch.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use serde_json::Value;

use super::upgrade;
use crate::admin::asker::{Asker, head};
use crate::harness::instance::{Backend, PATIENCE, PORTWAY, Place, Port, Portway, reached, route};

fn hears(manager: &UnixDatagram) -> Vec<String> {
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = [0; 4096];
    let length = manager.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// A proxy that a service manager watches, with one route, in this environment.
struct Watched {
    place: Place,
    port: Port,
    manager: UnixDatagram,
    portway: Portway,
}

impl Watched {
    fn start(environment: &[(&str, &str)]) -> Watched {
        let (port, backend) = (Port::reserve(), Backend::named("b"));
        let place = Place::with("");
        place.save(&(head(&place) + &route("one", &port.local(), &backend, "")));
        let path = place.root().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut command = std::process::Command::new(PORTWAY);
        command.args(["run", "--config"]).arg(place.file()).env("NOTIFY_SOCKET", &path);
        let portway = Portway::start(command.envs(environment.iter().copied()));
        Watched { place, port, manager, portway }
    }
}

#[test]
fn u12_the_service_manager_follows_the_new_process() {
    let Watched { place, port, manager, mut portway } = Watched::start(&[]);
    let (old, asker) = (portway.pid(), Asker::unix(&place));
    assert_eq!(hears(&manager)[..2], ["READY=1".to_owned(), format!("MAINPID={old}")]);
    let new = upgrade(&mut portway, &asker)["pid"].clone();
    assert_eq!(hears(&manager), [format!("MAINPID={new}")]);
    assert_eq!(hears(&manager)[..2], ["READY=1".to_owned(), format!("MAINPID={new}")]);
    portway.old_ones_have_ended();
    assert_eq!(reached(port.number), "b");
    // The old one has said nothing of its end.
    portway.stop();
    assert_eq!(hears(&manager)[0], "STOPPING=1");
}

#[test]
fn u18_the_new_process_keeps_the_watchdog() {
    let Watched { place, manager, mut portway, .. } = Watched::start(&[("WATCHDOG_USEC", "50000")]);
    upgrade(&mut portway, &Asker::unix(&place));
    portway.old_ones_have_ended();
    // What the old one has said is out of the queue.
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut [0; 64]).is_ok() {}
    manager.set_nonblocking(false).unwrap();
    let mut barks = 0;
    while barks < 3 {
        let said = hears(&manager);
        // The old one has named the new one before it ended, so it may be ready later than that.
        let is_ready = said[0] == "READY=1";
        assert!(said == ["WATCHDOG=1"] || is_ready, "{said:?}");
        barks += usize::from(!is_ready);
    }
    portway.stop();
}

/// The service manager has opened it, and nobody else may: the new process has it, and its name, by the old one.
#[test]
fn u19_a_socket_of_systemd_goes_over_with_its_name() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = spare.local_addr().unwrap();
    let place = Place::with("");
    let text = head(&place) + &route("one", &port.local(), &backend, "");
    place.save(&text);
    let passes = "exec 3<&1 1>/dev/null; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=spare exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-ec", passes, "sh", PORTWAY, "run", "--config"]).arg(place.file());
    command.stdout(OwnedFd::from(spare.try_clone().unwrap()));
    let mut portway = Portway::start(&mut command);
    upgrade(&mut portway, &Asker::unix(&place));
    portway.old_ones_have_ended();
    // Once by each of them.
    let unused = |line: &Value| line["socket"].as_str() == Some(&format!("{addr} (spare)"));
    portway
        .until("both have named it", |portway| portway.seen.iter().filter(|line| unused(line)).count() == 2);
    place.save(&(text + &route("two", &addr.to_string(), &backend, "")));
    portway.phase("reloaded");
    assert_eq!(reached(addr.port()), "b");
    portway.stop();
}
