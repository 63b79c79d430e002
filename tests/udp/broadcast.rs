//! R6: who writes to a broadcast address is answered from the address that a plain server would answer from.

use std::net::{SocketAddr, UdpSocket};

use super::peers::*;
use crate::harness::instance::*;

/// Who answers a datagram to this address.
fn answered_by(client: &UdpSocket, to: &str, text: &[u8]) -> SocketAddr {
    client.send_to(text, to).unwrap();
    let mut buffer = [0; 64];
    let (length, from) =
        client.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{to}: no answer: {error}"));
    assert_eq!(&buffer[..length], text, "{to}");
    from
}

#[test]
fn r6_a_datagram_to_a_broadcast_address_is_answered_as_a_plain_server_would() {
    if lacks_root() {
        return;
    }
    let (near, far) = Netns::pair();
    // The first address of the network is the one that the kernel prefers.
    near.ip("addr add 10.99.0.77/24 dev wire");
    far.ip("route add 255.255.255.255/32 dev wire");
    let server = near.enter(Server::echo);
    let _plain = near.enter(|| Server::on("0.0.0.0:7001", |datagram| vec![datagram.to_vec()]));
    let client = far.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    client.set_broadcast(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for listen in ["7000", "0.0.0.0:7000"] {
        let text = format!("{LOGGED}{}", udp_route("udp", listen, &[server.addr], "idle_timeout = \"1s\""));
        let place = Place::with(&text);
        let mut command = near.command(PORTWAY);
        let mut portway = Portway::start(command.arg("run").arg("--config").arg(place.file()));
        for (to, broadcast) in
            [("10.99.0.255", true), ("255.255.255.255", true), ("10.99.0.1", false), ("10.99.0.77", false)]
        {
            let by_plain = answered_by(&client, &format!("{to}:7001"), b"plain").ip();
            let expected = if broadcast { by_plain } else { to.parse().unwrap() };
            for text in [&b"1"[..], b"2"] {
                let from = answered_by(&client, &format!("{to}:7000"), text);
                assert_eq!((from.ip(), from.port()), (expected, 7000), "{to} on {listen}");
            }
        }
        // Each was one session, and no datagram was dropped.
        let records = records(&mut portway, 4);
        assert!(
            records.len() == 4 && records.iter().all(|record| record["down_datagrams"] == 2),
            "{records:?}"
        );
        assert_eq!(portway.count("datagrams were dropped"), 0);
        portway.stop();
    }
}
