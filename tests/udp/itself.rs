//! R1: a session whose socket is connected to itself would send its client's datagrams back.

use std::net::UdpSocket;

use super::peers::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;

const UPSTREAM: &str = "127.0.0.1:40010";

#[test]
fn r1_no_session_has_the_port_of_its_upstream() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    // The kernel has two ports to choose from: every second session would get the upstream's.
    netns.sysctl("ipv4/ip_local_port_range", "40010 40011");
    let more = "idle_timeout = \"10s\"";
    let place = Place::with(&one(5353, &[UPSTREAM.parse().unwrap()], more));
    let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    let client = |port: u16| {
        netns.enter(|| {
            let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
            socket.connect("127.0.0.1:5353").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Client(socket)
        })
    };
    let clients: Vec<Client> = (20_000..20_016).map(client).collect();
    for (ended, client) in clients.iter().enumerate() {
        client.send(b"anybody?");
        records(&mut portway, ended + 1);
        assert!(client.hears_nothing());
    }
    for record in records(&mut portway, clients.len()) {
        assert_eq!(record["outcome"], "connect-failed", "{record}");
        assert!(record["detail"].as_str().unwrap().contains("connection refused"), "{record}");
    }
    assert_eq!(portway.count("upstream is down"), 1, "it counts as refused:\n{}", portway.log());
    // Nobody has its port while clients write.
    let server = netns.enter(|| Server::on(UPSTREAM, |_| vec![b"here".to_vec()]));
    assert_eq!(client(20_100).says("anybody?"), "here");
    drop(server);
    portway.stop();
}
