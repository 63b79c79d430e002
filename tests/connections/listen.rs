//! Listening addresses, as a person writes them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;

use socket2::Socket;

use crate::harness::upstream::{Addr, Family};
use crate::harness::{End, Proxy, Upstream};

fn at(addr: &str) -> Addr {
    Addr::Ip(addr.parse().unwrap())
}

/// Whether a client that comes in here reaches the upstream.
fn leads_through(addr: &Addr, upstream: &Upstream) -> bool {
    let Ok(mut client) = addr.try_connect() else { return false };
    let mut server = upstream.accept();
    client.send(10);
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(10));
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(0));
    true
}

#[test]
fn a_port_alone_takes_ipv4_and_ipv6() {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).listening_at("PORT").start();
    let port = proxy.port();
    assert!(leads_through(&at(&format!("127.0.0.1:{port}")), &upstream));
    assert!(leads_through(&at(&format!("[::1]:{port}")), &upstream));
    proxy.finish();
}

#[test]
fn the_ipv6_wildcard_takes_ipv6_only_and_stands_beside_the_ipv4_one() {
    let (six, four) = (Upstream::on(Family::V6), Upstream::on(Family::V4));
    let first = Proxy::in_front_of(&six.addr).listening_on(Family::V6).listening_at("[::]:PORT").start();
    let port = first.port();
    assert!(leads_through(&at(&format!("[::1]:{port}")), &six));
    assert!(at(&format!("127.0.0.1:{port}")).try_connect().is_err());
    let second = Proxy::in_front_of(&four.addr).listening_at(&format!("0.0.0.0:{port}")).start();
    assert!(leads_through(&at(&format!("127.0.0.1:{port}")), &four));
    assert!(leads_through(&at(&format!("[::1]:{port}")), &six));
    first.finish();
    second.finish();
}

/// `N` ports in a row, bound and not listening.
fn row<const N: u16>() -> (Vec<Socket>, u16) {
    let bound = |port: u16| {
        let addr = Addr::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let socket = addr.socket();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&addr.raw()).ok().map(|()| socket)
    };
    for _ in 0..1000 {
        let first = bound(0).unwrap();
        let port = first.local_addr().unwrap().as_socket().unwrap().port();
        let rest = (1..N).map(|i| bound(port.checked_add(i)?)).collect::<Option<Vec<_>>>();
        if let Some(mut sockets) = rest {
            sockets.push(first);
            return (sockets, port);
        }
    }
    panic!("no {N} free ports in a row");
}

#[test]
fn a_range_leads_to_a_range_port_by_port() {
    let (_listen, from) = row::<3>();
    let (_held, to) = row::<3>();
    let upstreams: Vec<Upstream> =
        (0..3).map(|i| Upstream::at_ip(&format!("127.0.0.1:{}", to + i))).collect();
    let plan = Proxy::leading_to(&[&format!("127.0.0.1:{to}-{}", to + 2)]);
    let proxy = plan.listening_at(&format!("127.0.0.1:{from}-{}", from + 2)).start();
    for (i, upstream) in (0..3).zip(&upstreams) {
        assert!(leads_through(&at(&format!("127.0.0.1:{}", from + i)), upstream));
    }
    proxy.finish();
}

#[test]
fn a_range_may_lead_to_one_port() {
    let (_listen, from) = row::<3>();
    let upstream = Upstream::on(Family::V4);
    let plan = Proxy::in_front_of(&upstream.addr);
    let proxy = plan.listening_at(&format!("127.0.0.1:{from}-{}", from + 2)).start();
    for i in 0..3 {
        assert!(leads_through(&at(&format!("127.0.0.1:{}", from + i)), &upstream));
    }
    proxy.finish();
}

#[test]
fn a_dead_unix_socket_is_replaced_and_the_own_one_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead program's file");
    let upstream = Upstream::on(Family::V4);
    let addr = Addr::Unix(path.clone());
    let proxy = Proxy::in_front_of(&upstream.addr).listening_at_unix(&path).start();
    assert!(leads_through(&addr, &upstream));
    proxy.finish();
    assert!(!path.exists(), "the proxy's own file is left");
}

#[test]
fn a_unix_socket_that_another_has_put_there_is_left_alone_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shared");
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).listening_at_unix(&path).start();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    proxy.finish();
    assert!(path.exists(), "another program's file was removed");
}
