//! Checks of UDP upstreams: an answer, a wrong one, silence and a refusal, with steps and with headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::peers::*;
use crate::harness::instance::*;

const DOWN: &str = "upstream is down: its check fails";
const UP: &str = "upstream is up again: its check passes";
const QUICK: &str = "interval = \"1s\", timeout = \"500ms\", rise = 1, fall = 2";

/// A server that answers with `answer` while the switch is on, and with "no" otherwise; clients get back what they sent.
fn oracle(answer: &'static str) -> (Server, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let server = Server::on("127.0.0.1:0", move |datagram| match datagram {
        b"?" if is_well.load(Ordering::SeqCst) => vec![b"wait".to_vec(), answer.into()],
        b"?" => vec![b"no".to_vec()],
        other => vec![other.to_vec()],
    });
    (server, well)
}

fn checked(port: u16, upstreams: &[SocketAddr], check: &str) -> Place {
    let more = format!("balance = \"first\"\nidle_timeout = \"1s\"\nhealth = {{ {QUICK}{check} }}");
    Place::with(&one(port, upstreams, &more))
}

#[test]
fn r2_an_upstream_is_up_while_it_answers_as_expected() {
    let (port, (first, well), second) = (free_port(), oracle("yes"), Server::named("second"));
    let place = checked(port, &[first.addr], ", send = \"?\", expect = \"regex:^yes\"");
    let mut portway = Portway::run(&place.file());
    portway.until("it is checked", |_| first.sources_of(b"?").len() > 2);
    assert_eq!(portway.count(DOWN), 0, "{}", portway.log());
    // The route with two of them passes over the first, before any client has tried it.
    place.save(&one(
        port,
        &[first.addr, second.addr],
        &format!(
            "balance = \"first\"\nidle_timeout = \"1s\"\n\
             health = {{ {QUICK}, send = \"?\", expect = \"regex:^(yes|second)\" }}"
        ),
    ));
    portway.phase("reloaded");
    assert_eq!(Client::of(port).says("a"), "a");
    well.store(false, Ordering::SeqCst);
    let down = portway.phase(DOWN);
    assert_eq!((&down["upstream"], &down["protocol"]), (&first.addr.to_string().into(), &"udp".into()));
    assert_eq!(down["error"], "it answered \"no\" and no more in time");
    assert_eq!(Client::of(port).says("b"), "second b");
    well.store(true, Ordering::SeqCst);
    portway.phase(UP);
    assert_eq!(Client::of(port).says("c"), "c");
    portway.hang_up();
    portway.stop();
}

#[test]
fn r2_a_refusal_fails_a_check_and_silence_fails_only_one_that_expects() {
    let (port, silent, refuses) = (free_port(), Server::silent(), closed_port());
    let place = checked(port, &[silent.addr, refuses], "");
    let mut portway = Portway::run(&place.file());
    let down = portway.phase(DOWN);
    assert_eq!(
        (&down["upstream"], &down["error"]),
        (&refuses.to_string().into(), &"connection refused".into())
    );
    // Without anything to send it is an empty datagram.
    portway.until("the silent one is checked", |_| silent.sources_of(b"").len() > 4);
    assert_eq!(portway.count(DOWN), 1);
    place.save(&one(port, &[silent.addr], &format!("health = {{ {QUICK}, send = \"?\" }}")));
    portway.phase("reloaded");
    portway.until("it is asked", |_| silent.sources_of(b"?").len() > 3);
    assert_eq!(portway.count(DOWN), 1);
    place.save(&one(port, &[silent.addr], &format!("health = {{ {QUICK}, send = \"?\", expect = \"!\" }}")));
    assert_eq!(portway.phase(DOWN)["error"], "no answer in time");
    portway.hang_up();
    portway.stop();
}

#[test]
fn r2_steps_over_udp_are_one_datagram_each_and_a_fault_names_its_step() {
    let known = Arc::new(AtomicBool::new(true));
    let knows = known.clone();
    let server = Server::on("127.0.0.1:0", move |datagram| match datagram {
        b"\x00hello" => vec![b"token 7".to_vec()],
        b"ask 7" if knows.load(Ordering::SeqCst) => vec![b"fine".to_vec()],
        _ => Vec::new(),
    });
    let port = free_port();
    let steps = ", steps = [{ send = \"hex:00 68656c6c6f\" }, { expect = \"token\" }, { expect = \" 7\" }, { send = \"ask 7\" }, \
                 { expect = \"fine\" }, { send = \"bye\" }]";
    let place = checked(port, &[server.addr], steps);
    let mut portway = Portway::run(&place.file());
    portway.until("it hears the last step", |_| server.sources_of(b"bye").len() > 2);
    assert_eq!(portway.count(DOWN), 0, "{}", portway.log());
    known.store(false, Ordering::SeqCst);
    assert_eq!(portway.phase(DOWN)["error"], "step 5, expect \"fine\": no answer in time");
    portway.stop();
}

#[test]
fn r2_checks_end_with_their_route_though_a_session_goes_on() {
    let (port, other, first) = (free_port(), free_port(), Server::echo());
    let health = format!("idle_timeout = \"1m\"\nhealth = {{ {QUICK}, send = \"?\", expect = \"?\" }}");
    let place = Place::with(&one(port, &[first.addr], &health));
    let mut portway = Portway::run(&place.file());
    portway.until("it is checked", |_| first.sources_of(b"?").len() > 2);
    let client = Client::of(port);
    assert_eq!(client.says("hello"), "hello");
    place.save(&one(other, &[first.addr], ""));
    portway.phase("reloaded");
    // One may have been under way.
    pass(Duration::from_millis(600));
    let checks = first.sources_of(b"?").len();
    pass(Duration::from_millis(1500));
    assert_eq!(first.sources_of(b"?").len(), checks);
    assert_eq!(client.says("on"), "on");
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

/// The bytes of the specification: signature, LOCAL, no family. Our header has a checksum after them.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0";

#[test]
fn r2_checks_carry_the_header_on_the_datagrams_that_a_client_would_have_it_on() {
    for on in ["each", "first"] {
        let (port, server) = (free_port(), Server::silent());
        let more = format!(
            "proxy_protocol = {{ send = \"v2\", datagrams = \"{on}\" }}\n\
             health = {{ {QUICK}, steps = [{{ send = \"one\" }}, {{ send = \"two\" }}] }}"
        );
        let place = Place::with(&one(port, &[server.addr], &more));
        let mut portway = Portway::run(&place.file());
        portway.until("it is checked", |_| server.heard().len() >= 4);
        for (_, datagram) in server.heard() {
            let headed = datagram.starts_with(LOCAL);
            let length = if headed { 16 + usize::from(datagram[15]) } else { 0 };
            match (&datagram[length..], headed) {
                (b"one", true) => {}
                (b"two", headed) => assert_eq!(headed, on == "each"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(portway.count(DOWN), 0);
        portway.stop();
    }
}

/// A router says that a host is not there. Without IP_RECVERR the kernel keeps that to itself.
#[test]
fn r2_an_unreachable_host_fails_a_check_that_expects_nothing() {
    if lacks_root() {
        return;
    }
    let (near, far) = Netns::pair();
    near.ip("route add 192.0.2.0/24 via 10.99.0.2");
    far.sysctl("ipv4/ip_forward", "1");
    far.ip("route add unreachable 192.0.2.0/24");
    let place = checked(free_port(), &["192.0.2.7:53".parse().unwrap()], "");
    let mut portway = Portway::start(near.command(PORTWAY).args(["run", "--config"]).arg(place.file()));
    assert_eq!(portway.phase(DOWN)["error"], "no route to host");
    portway.stop();
}

/// Of sessions of which nothing is known but that their upstream does not answer, a check tells the rest.
#[test]
fn r4_sessions_leave_an_upstream_that_a_check_has_found_down_and_no_other() {
    let port = free_port();
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let answers = move |datagram: &[u8]| match datagram {
        b"log" => Vec::new(),
        _ if is_well.load(Ordering::SeqCst) => vec![datagram.to_vec()],
        _ => Vec::new(),
    };
    let (first, second) = (Server::on("127.0.0.1:0", answers), Server::named("second"));
    let more = format!(
        "balance = \"first\"\nidle_timeout = \"1h\"\non_change = \"cut\"\nhealth = {{ {QUICK}, send = \"?\", expect = \"regex:[?]$\" }}"
    );
    let place = Place::with(&one(port, &[first.addr, second.addr], &more));
    let mut portway = Portway::run(&place.file());
    let [heard, never, one_way] = [(); 3].map(|()| Client::of(port));
    one_way.send(b"log");
    assert_eq!(heard.says("a"), "a");
    portway.until("it has come", |_| !first.sources_of(b"log").is_empty());
    // Who only sends stays where it is, as long as that is up.
    let from = first.sources_of(b"log");
    portway.until("for longer than an answer takes", |_| {
        one_way.send(b"log");
        first.heard().len() > 300
    });
    assert!(first.sources_of(b"log").iter().all(|source| *source == from[0]));
    well.store(false, Ordering::SeqCst);
    never.send(b"b");
    portway.phase(DOWN);
    for client in [&heard, &never] {
        portway.until("it has an answer", |_| {
            client.send(b"c");
            !client.hears_nothing()
        });
    }
    assert!(second.sources_of(b"c").len() >= 2, "{:?}", second.sources_of(b"c"));
    // All sessions end.
    place.save(&one(port, &[first.addr, second.addr], "idle_timeout = \"1s\"\non_change = \"cut\""));
    portway.phase("reloaded");
    portway.stop();
}
