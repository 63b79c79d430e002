//! `drain_delay`: a proxy that is told to stop is not ready at once, and serves new clients until the delay is over.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::asker::{portway, start};
use crate::harness::instance::{Backend, Flow, PATIENCE, Port, is_refused, route};
use crate::harness::ports::free_port;
use crate::harness::until;

#[test]
fn who_comes_meanwhile_is_served_and_another_signal_ends_the_delay() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (place, mut proxy, asker) =
        start(&route("one", &port.local(), &backend, "drain_delay = \"1h\"\ndrain_timeout = \"1h\"\n"));
    let is_ready = || portway(&place.file(), &["status", "--ready"]);
    let said = is_ready();
    assert_eq!((said.code, &*said.out), (0, "ready\n"), "{said:?}");
    let mut before = Flow::open(port.number);
    proxy.signal(Signal::TERM);
    proxy.phase("no longer ready");
    assert_eq!(asker.ask("GET", "/readyz", "").status, 503);
    assert_eq!(asker.ask("GET", "/healthz", "").status, 200);
    let said = is_ready();
    assert_eq!((said.code, &*said.out), (1, ""), "{said:?}");
    assert!(said.err.starts_with("error: Portway is draining\n"), "{said:?}");
    let mut meanwhile: Vec<Flow> = (0..20).map(|_| Flow::open(port.number)).collect();
    for flow in meanwhile.iter_mut().chain([&mut before]) {
        flow.ping().unwrap();
    }
    let status = asker.get("/v1/status");
    assert_eq!((status["phase"].as_str(), status["traffic"]["open"].as_u64()), (Some("draining"), Some(21)));
    proxy.signal(Signal::TERM);
    proxy.phase("draining");
    assert!(is_refused(port.number));
    // Whoever is there has `drain_timeout`, as without a delay.
    for flow in meanwhile.iter_mut().chain([&mut before]) {
        flow.ping().unwrap();
    }
    drop(before);
    let mut last = meanwhile.pop().unwrap();
    drop(meanwhile);
    last.ping().unwrap();
    proxy.signal(Signal::TERM);
    proxy.phase("stopped at once");
    assert!(last.was_reset());
}

#[test]
fn the_sockets_close_once_it_is_over() {
    const DELAY: Duration = Duration::from_millis(700);
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (_place, mut proxy, _) = start(&route("one", &port.local(), &backend, "drain_delay = \"700ms\"\n"));
    let mut flow = Flow::open(port.number);
    let begun = Instant::now();
    proxy.signal(Signal::TERM);
    proxy.phase("draining");
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    assert!(is_refused(port.number));
    flow.ping().unwrap();
    drop(flow);
    proxy.phase("stopped");
}

#[test]
fn each_route_has_its_own() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    dns.set_read_timeout(Some(PATIENCE)).unwrap();
    let udp = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let routes = route("one", &one.local(), &backend, "")
        + &route("two", &two.local(), &backend, "drain_delay = \"1h\"\n")
        + &format!(
            "[[route]]\nprotocol = \"udp\"\nlisten = \"{udp}\"\nupstream = \"{}\"\ndrain_delay = \"1h\"\n",
            dns.local_addr().unwrap()
        );
    let (place, mut proxy, _) = start(&routes);
    // What it says is for all of them: the longest delay, and the time of those that are open.
    let drained = portway(&place.file(), &["drain", "--no-wait"]);
    assert_eq!(
        (drained.code, &*drained.out),
        (0, "draining 0 open connections, at most 1h\n"),
        "{drained:?}"
    );
    proxy.phase("no longer ready");
    until("the socket of the route without a delay is closed", || is_refused(one.number));
    Flow::open(two.number).ping().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"who is there", udp).unwrap();
    let mut heard = [0; 64];
    let (length, _) = dns.recv_from(&mut heard).unwrap();
    assert_eq!(&heard[..length], b"who is there");
    proxy.signal(Signal::TERM);
    proxy.phase("stopped");
}
