//! Upstreams that do not answer, and clients that do not wait.

use std::time::{Duration, Instant};

use crate::harness::proc::SYN_SENT;
use crate::harness::{End, Netns, Peer, Proxy, Upstream, lacks_root, pass, until, upstream::Family};

/// An address that refuses: it was free a moment ago, and the socket that is bound to it does not listen.
fn refusing() -> (socket2::Socket, String) {
    let addr = Family::V4.loopback(&tempfile::tempdir().unwrap());
    let socket = addr.socket();
    socket.bind(&addr.raw()).unwrap();
    let text = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    (socket, text)
}

#[test]
fn a_refusing_upstream_costs_nothing() {
    let ((_held, one), (_too, two)) = (refusing(), refusing());
    let good = Upstream::on(Family::V4);
    let proxy = Proxy::leading_to(&[&one, &two, &good.addr.to_string()]).start();
    let best = (0..5).map(|_| {
        let begun = Instant::now();
        let _ends = (proxy.connect(), good.accept());
        begun.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
    proxy.finish();
}

#[test]
fn when_all_refuse_the_client_is_reset() {
    let (_held, refusing) = refusing();
    for upstream in [refusing.as_str(), "unix:/nonexistent/portway"] {
        let proxy = Proxy::leading_to(&[upstream]).start();
        match proxy.addr.try_connect() {
            Ok(mut client) => assert_eq!(client.receive_all(), End::Reset(0)),
            // The reset was faster than our return from connect().
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        proxy.finish();
    }
}

#[test]
fn a_silent_upstream_costs_its_connect_timeout() {
    for family in [Family::V4, Family::V6] {
        let (deaf, _filler) = Upstream::deaf(family);
        let good = Upstream::on(Family::V4);
        let plan = Proxy::leading_to(&[&deaf.addr.to_string(), &good.addr.to_string()]);
        let proxy = plan.with(&["--connect-timeout 500ms", "--set balance=first"]).start();
        let mut took = Vec::new();
        // Never early; late only as far as the machine is busy.
        while took.iter().all(|&t| t > Duration::from_millis(550)) {
            assert!(took.len() < 5, "{took:?}");
            let begun = Instant::now();
            let _ends = (proxy.connect(), good.accept());
            took.push(begun.elapsed());
        }
        assert!(took.iter().all(|&t| t > Duration::from_millis(490)), "{took:?}");
        proxy.finish();
    }
}

#[test]
fn each_silent_upstream_costs_its_connect_timeout_and_then_the_client_is_reset() {
    let ((one, _filler), (two, _too)) = (Upstream::deaf(Family::V4), Upstream::deaf(Family::V4));
    let plan = Proxy::leading_to(&[&one.addr.to_string(), &two.addr.to_string()]);
    let proxy = plan.with(&["--connect-timeout 400ms"]).start();
    let begun = Instant::now();
    assert_eq!(proxy.connect().receive_all(), End::Reset(0));
    assert!(begun.elapsed() >= Duration::from_millis(790), "{:?}", begun.elapsed());
    proxy.finish();
}

#[test]
fn an_unreachable_upstream_costs_nothing() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.ip("route add unreachable 10.98.0.0/24");
    let good = netns.enter(|| Upstream::at_ip("127.0.0.1:0"));
    // The first has no route (ENETUNREACH), the second an unreachable one (EHOSTUNREACH).
    let plan = Proxy::leading_to(&["192.0.2.1:80", "10.98.0.1:80", &good.addr.to_string()]);
    let proxy = plan.inside(&netns).start();
    let begun = Instant::now();
    let ends = (netns.enter(|| proxy.connect()), good.accept());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(ends);
    proxy.finish();
}

#[test]
fn a_client_that_only_ends_does_not_end_the_attempt() {
    let (deaf, filler) = Upstream::deaf(Family::V4);
    let proxy = Proxy::in_front_of(&deaf.addr).with(&["--connect-timeout 1m"]).start();
    let mut client = proxy.connect();
    client.send(1000);
    client.fin();
    until("the proxy dials", || proxy.process.count(SYN_SENT) == 1);
    pass(Duration::from_millis(200));
    assert_eq!(proxy.process.count(SYN_SENT), 1, "the attempt was given up");
    // The upstream takes connections again: the kernel repeats the SYN after a second or two.
    for _ in &filler {
        drop(deaf.accept());
    }
    let mut server = deaf.accept();
    assert_eq!(server.receive_all(), End::Fin(1000));
    server.send(2000);
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(2000));
    proxy.finish();
}

#[test]
fn a_client_that_resets_ends_the_attempt_also_after_data_and_fin() {
    for fin in [false, true] {
        let (deaf, _filler) = Upstream::deaf(Family::V4);
        let proxy = Proxy::in_front_of(&deaf.addr).with(&["--connect-timeout 1m"]).start();
        let mut client = proxy.connect();
        if fin {
            client.send(1000);
            client.fin();
        }
        until("the proxy dials", || proxy.process.count(SYN_SENT) == 1);
        client.reset();
        until("the attempt is given up", || proxy.process.count(SYN_SENT) == 0);
        proxy.finish();
    }
}

/// A Unix server whose queue is full, with a proxy in front of it: the server, who fills its queue, and the proxy.
fn full() -> (tempfile::TempDir, socket2::Socket, Vec<socket2::Socket>, Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let addr = socket2::SockAddr::unix(&path).unwrap();
    let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&addr).unwrap();
    listener.listen(0).unwrap();
    let fill = || {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        client.connect(&addr).is_ok().then_some(client)
    };
    let queued = std::iter::from_fn(fill).collect();
    let plan = Proxy::leading_to(&[&format!("unix:{}", path.display())]);
    (folder, listener, queued, plan.with(&["--set connect_timeout=2s"]).start())
}

/// As on a direct connection, where the kernel lets the client wait.
#[test]
fn r14_a_unix_upstream_whose_queue_is_full_has_the_time_of_a_connect_to_accept() {
    let (_folder, listener, queued, proxy) = full();
    let sockets = || proxy.process.fds()["socket"];
    let before = sockets();
    let mut client = proxy.connect();
    client.send(5);
    until("the proxy has its client", || sockets() > before);
    for _ in &queued {
        drop(listener.accept().unwrap());
    }
    let mut server = Peer::server(listener.accept().unwrap().0);
    server.receive(5);
    server.send(7);
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(7));
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(5));
    drop((client, server));
    proxy.finish();
}

#[test]
fn r14_a_unix_upstream_that_accepts_nobody_is_late_and_that_is_its_own_fault() {
    let (_folder, _listener, _queued, proxy) = full();
    let client = proxy.connect();
    assert!(client.fails_within(crate::harness::PATIENCE) > Duration::from_millis(1990));
    let record = proxy.record(0);
    assert_eq!((&record["outcome"], &record["blame"]), (&"connect-failed".into(), &"upstream".into()));
    assert!(record["detail"].as_str().unwrap().contains(": no answer in time"), "{record}");
    drop(client);
    proxy.finish();
}
