//! Many clients at once, and nobody there for them.

use std::collections::HashSet;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::server::leads;
use crate::harness::instance::*;

/// One that takes no connection and refuses none: its queue is full, so SYNs are dropped. The filler keeps it so.
fn deaf() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut held: Vec<Socket> = std::iter::from_fn(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.connect_timeout(&addr, Duration::from_millis(300)).ok().map(|()| socket)
    })
    .collect();
    held.push(listener);
    (addr.as_socket().unwrap(), held)
}

/// Attempts that wait for an answer of this address, all at one moment: the kernel's table changes while it is read, so
/// only those count that are in it twice, and so were there in between.
fn under_way(to: SocketAddr) -> usize {
    const SYN_SENT: &str = "02";
    let port = format!("0100007F:{:04X}", to.port());
    let read = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let waiting = rows.filter(|row| row.len() > 9 && row[2] == port && row[3] == SYN_SENT);
        waiting.map(|row| (row[1].clone(), row[9].clone())).collect::<HashSet<_>>()
    };
    let (first, second) = (read(), read());
    first.intersection(&second).count()
}

/// Its resident memory, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_storm_on_a_dead_upstream_is_bounded_and_told_of_once() {
    const CLIENTS: usize = 5000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    if !can("15,000 descriptors", limit.maximum.is_none_or(|most| most >= 15_000)) {
        return;
    }
    let (port, (dead, held)) = (Port::reserve(), deaf());
    let upstreams = [format!("\"{dead}\"")];
    // A file takes as many lines as come. Of those for a reader who is late some are dropped.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let text = leads(&port, &upstreams, "connect_timeout = \"3s\"");
    let place = Place::with(&text.replace("\"stderr\"", &format!("{:?}", log.display().to_string())));
    let mut portway = Portway::run(&place.file());
    let mut most = 0;
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|i| {
            if i % 100 == 0 {
                most = most.max(under_way(dead));
            }
            TcpStream::connect(("127.0.0.1", port.number)).unwrap()
        })
        .collect();
    most = most.max(under_way(dead));
    // Two sockets' worth of state, and one line of the log each.
    let memory = memory(portway.pid());
    assert!(memory < 96 << 20, "{} MiB for {CLIENTS} clients", memory >> 20);
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = client.read(&mut [0]);
        assert!(end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset), "{end:?}");
    }
    // 1,024, and 8 more once it is known to be down.
    assert!(most > 0 && most <= 1032, "{most} attempts at once");
    portway.until("every client is in the access log", |_| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.matches("\"outcome\":\"connect-failed\"").count() == CLIENTS
    });
    portway.until("it is told", |portway| portway.count("upstream is down") > 0);
    let told = portway.seen.iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!((told, portway.count("upstream is down")), (1, 1), "{told} warnings");
    drop(held);
    portway.stop();
}
