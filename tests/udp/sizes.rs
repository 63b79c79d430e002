//! F4: datagrams of every size pass whole, and what cannot is counted.

use std::net::{Ipv6Addr, UdpSocket};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

use super::peers::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;

const SIZES: [usize; 9] = [0, 1, 2, 508, 1472, 1473, 9000, 65_506, 65_507];

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (size % 239) as u8).collect()
}

#[test]
fn datagrams_of_every_size_pass_whole() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"1s\""));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    for size in SIZES {
        assert!(client.ask(&pattern(size)) == pattern(size), "{size} bytes");
    }
    let record = records(&mut portway, 1).swap_remove(0);
    let bytes: usize = SIZES.iter().sum();
    assert_eq!((&record["up"], &record["down"]), (&bytes.into(), &bytes.into()), "{record}");
    assert_eq!(record["up_datagrams"], SIZES.len());
    portway.stop();
}

/// In a network whose frames are short, the kernel of the sender cuts a datagram into fragments, and ours must too.
#[test]
fn large_datagrams_pass_a_network_of_short_frames() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.ip("link set lo mtu 1500");
    let (server, client) = netns.enter(|| {
        let server = Server::echo();
        (server, UdpSocket::bind("127.0.0.1:0").unwrap())
    });
    let place = Place::with(&one(7000, &[server.addr], "idle_timeout = \"1s\""));
    let mut command = netns.command(PORTWAY);
    let portway = Portway::start(command.arg("run").arg("--config").arg(place.file()));
    client.connect("127.0.0.1:7000").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = Client(client);
    for size in SIZES {
        assert!(client.ask(&pattern(size)) == pattern(size), "{size} bytes");
    }
    portway.stop();
}

/// The longest datagram of IPv6 is 20 bytes longer than that of IPv4.
#[test]
fn what_cannot_pass_is_counted_and_never_cut() {
    let (port, server) = (free_port(), Server::echo());
    let text = format!(
        "{LOGGED}{}",
        udp_route("udp", &format!("[::1]:{port}"), &[server.addr], "idle_timeout = \"1s\"")
    );
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    let client = Client::at(&format!("[{}]:{port}", Ipv6Addr::LOCALHOST));
    client.send(&pattern(65_527));
    assert_eq!(client.says("after it"), "after it");
    assert_eq!(server.heard().len(), 1);
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!((&record["up_datagrams"], &record["detail"]), (&1.into(), &"1 datagrams dropped".into()));
    let warning = portway.seen.iter().find(|line| message(line) == "datagrams were dropped").unwrap();
    assert_eq!(warning["reasons"], "too-large 1");
    portway.stop();
}

/// Datagrams that the kernel moves as one (GSO, GRO) arrive as they were sent: each by itself, in order.
#[test]
fn datagrams_that_are_sent_together_arrive_one_by_one() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"1s\""));
    let portway = Portway::run(&place.file());
    let client = Client::of(port);
    let state = UdpSocketState::new(UdpSockRef::from(&client.0)).unwrap();
    if !can("GSO", state.max_gso_segments() >= 32) {
        return;
    }
    client.0.set_nonblocking(false).unwrap();
    let destination = client.0.peer_addr().unwrap();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for (segment, length) in [(1200, 32 * 1200), (1200, 10 * 1200 + 7), (1, 20), (1452, 1452 * 3)] {
        let contents = pattern(length);
        expected.extend(contents.chunks(segment).map(<[u8]>::to_vec));
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &contents,
            segment_size: Some(segment),
            src_ip: None,
        };
        state.try_send(UdpSockRef::from(&client.0), &transmit).unwrap();
        // Plain ones among them.
        expected.push(vec![7; segment]);
        client.send(&vec![7; segment]);
    }
    // The answers come back merged where this socket takes them so.
    let mut answers: Vec<Vec<u8>> = Vec::new();
    let (mut buffer, mut metas) = (vec![0; 1 << 16], [quinn_udp::RecvMeta::default()]);
    while answers.len() < expected.len() {
        let received = {
            let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
            state.recv(UdpSockRef::from(&client.0), &mut slices, &mut metas)
        };
        assert_eq!(
            received.unwrap_or_else(|error| panic!("{} of {} came: {error}", answers.len(), expected.len())),
            1
        );
        answers.extend(buffer[..metas[0].len].chunks(metas[0].stride.max(1)).map(<[u8]>::to_vec));
    }
    assert!(answers == expected);
    let heard: Vec<Vec<u8>> = server.heard().into_iter().map(|(_, datagram)| datagram).collect();
    assert!(heard == expected);
    portway.stop();
}
