//! R1: a connection to itself is none. The namespaces have so few ports that the kernel must choose the one that is asked
//! for.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::server::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;

/// The port of an upstream that is not there, and the only one that the kernel gives to whoever connects.
const UPSTREAM: &str = "127.0.0.1:40010";

/// A namespace with that one port.
fn one_port() -> Netns {
    let netns = Netns::new();
    netns.sysctl("ipv4/ip_local_port_range", "40010 40010");
    netns
}

fn text(more: &str) -> String {
    format!(
        "[log]\nformat = \"json\"\naccess = \"stderr\"\n[[route]]\nlisten = \"127.0.0.1:8080\"\n\
         upstream = \"{UPSTREAM}\"\n{more}\n"
    )
}

/// A client from a port of its own: one that is bound is none that connect(2) would choose.
fn client(netns: &Netns, port: u16) -> std::io::Result<TcpStream> {
    netns.enter(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], 8080)).into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(TcpStream::from(socket))
    })
}

/// What a client that says something hears: nothing, and a reset.
fn hears_nothing(netns: &Netns, port: u16) {
    let heard = client(netns, port).and_then(|mut client| {
        client.write_all(b"anybody?")?;
        client.read(&mut [0; 16])
    });
    let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(heard.as_ref().is_err_and(|error| reset.contains(&error.kind())), "{heard:?}");
}

#[test]
fn r1_a_connection_to_itself_is_a_refusal_and_leaves_the_port_to_the_backend() {
    if lacks_root() {
        return;
    }
    let netns = one_port();
    let place = Place::with(&text(""));
    let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    for port in 20_000..20_005 {
        hears_nothing(&netns, port);
    }
    portway.until("all are in the access log", |portway| {
        portway.catch_up();
        portway.seen.iter().filter(|line| line["outcome"] == "connect-failed").count() == 5
    });
    let told = portway.seen.iter().filter_map(|line| line["detail"].as_str());
    assert!(told.into_iter().all(|why| why.contains("connection refused")), "{}", portway.log());
    assert_eq!(portway.count("upstream is down"), 1, "it counts as refused:\n{}", portway.log());
    // No TIME-WAIT: the backend can have its port at once.
    let backend = netns.enter(|| Server::at("a", UPSTREAM));
    netns.sysctl("ipv4/ip_local_port_range", "40020 40049");
    let reached = client(&netns, 20_010).and_then(Flow::greeted).unwrap().reached;
    assert_eq!(reached, "a");
    backend.end_connections();
    portway.stop();
}

#[test]
fn r1_a_check_and_a_retry_that_connect_to_themselves_find_nobody() {
    if lacks_root() {
        return;
    }
    for health in ["", "health = { interval = \"100ms\", rise = 1, fall = 1 }"] {
        let netns = one_port();
        let place = Place::with(&text(&format!("when_down = \"refuse\"\n{health}")));
        let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
        if health.is_empty() {
            (20_000..20_003).for_each(|port| hears_nothing(&netns, port));
        }
        let down = portway.phase("upstream is down");
        assert!(down["error"].as_str().unwrap().contains("connection refused"), "{down}");
        portway.phase("no upstream is available: the listening socket is closed");
        // Several of the checks, or of the retries, which come once a second.
        pass(std::time::Duration::from_millis(2500));
        assert_eq!(portway.count("listening again"), 0, "{}", portway.log());
        // Between two attempts, which take the port for a moment each.
        let mut backend = None;
        portway.until("the backend has its port", |_| {
            backend = netns.enter(|| Server::try_at("a", UPSTREAM)).ok();
            backend.is_some()
        });
        netns.sysctl("ipv4/ip_local_port_range", "40020 40049");
        portway.phase("listening again");
        drop(backend);
        portway.stop();
    }
}

#[test]
fn r1_probe_and_the_commands_that_ask_a_proxy_do_not_take_themselves_for_it() {
    if lacks_root() {
        return;
    }
    let netns = one_port();
    for args in [&["probe", UPSTREAM][..], &["status", "--admin", UPSTREAM]] {
        let output = netns.command(PORTWAY).args(args).stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(!output.status.success() && said.contains("connection refused"), "{args:?}: {said}");
    }
    // With a second port, which the datagrams come from once the first socket has heard only itself.
    netns.sysctl("ipv4/ip_local_port_range", "40010 40011");
    for _ in 0..8 {
        let asks = format!("echo hello | {PORTWAY} probe --udp {UPSTREAM}");
        let output = netns.command("sh").args(["-c", &asks]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && said.contains("refused"), "{said}");
        assert!(said.contains("from 127.0.0.1:40011"), "{said}");
    }
}
