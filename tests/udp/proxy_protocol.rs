//! The PROXY header before datagrams: with which of them it goes, and what it says.

use std::net::SocketAddr;

use ppp::v2;
use serde_json::Value;

use super::peers::*;
use crate::harness::header;
use crate::harness::instance::*;

const EACH: &str = "idle_timeout = \"1s\"\nproxy_protocol = { send = \"v2\" }";
const FIRST: &str = "idle_timeout = \"1s\"\nproxy_protocol = { send = \"v2\", datagrams = \"first\" }";

/// A datagram as the upstream has it.
struct Told {
    between: (SocketAddr, SocketAddr),
    unique_id: String,
    payload: Vec<u8>,
    /// Bytes of the header.
    length: usize,
}

/// The header of a datagram, read by another library than ours.
fn told(datagram: &[u8]) -> Option<Told> {
    let header = v2::Header::try_from(datagram).ok()?;
    assert_eq!((header.command, header.protocol), (v2::Command::Proxy, v2::Protocol::Datagram));
    let between = match header.addresses {
        v2::Addresses::IPv4(a) => {
            ((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into())
        }
        v2::Addresses::IPv6(a) => {
            ((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into())
        }
        other => panic!("{other:?}"),
    };
    let notes: Vec<_> = header.tlvs().map(|note| note.unwrap().to_owned()).collect();
    let note = |kind: v2::Type| notes.iter().find(|note| note.kind == u8::from(kind)).unwrap();
    assert_eq!(note(v2::Type::CRC32C).value.len(), 4);
    let length = header.len();
    assert!(header::sum_is_right(&datagram[..length]));
    let unique_id = String::from_utf8(note(v2::Type::UniqueId).value.to_vec()).unwrap();
    Some(Told { between, unique_id, payload: datagram[length..].to_vec(), length })
}

fn whole(server: &Server) -> Vec<Vec<u8>> {
    server.heard().into_iter().map(|(_, datagram)| datagram).collect()
}

#[test]
fn each_datagram_says_who_the_client_is() {
    let (port, server) = (free_port(), Server::on("127.0.0.1:0", |_| vec![b"answer".to_vec()]));
    let place = Place::with(&one(port, &[server.addr], EACH));
    let mut portway = Portway::run(&place.file());
    let clients = [Client::of(port), Client::of(port)];
    for payload in [b"one".as_slice(), b"", b"three"] {
        // The answer is the server's own.
        clients.iter().for_each(|client| assert_eq!(client.ask(payload), b"answer"));
    }
    let (records, mut nonces) = (records(&mut portway, 2), Vec::new());
    for client in &clients {
        let ends = (client.0.local_addr().unwrap(), client.0.peer_addr().unwrap());
        let heard: Vec<Told> = whole(&server).iter().map(|datagram| told(datagram).unwrap()).collect();
        let of_client: Vec<&Told> = heard.iter().filter(|told| told.between == ends).collect();
        let payloads: Vec<&[u8]> = of_client.iter().map(|told| told.payload.as_slice()).collect();
        assert_eq!(payloads, [b"one".as_slice(), b"", b"three"]);
        let record = records.iter().find(|record| record["client"] == ends.0.to_string()).unwrap();
        // The header is not the client's.
        assert_eq!((&record["up"], &record["up_datagrams"]), (&8.into(), &3.into()), "{record}");
        nonces.extend(of_client.iter().map(|told| header::nonce(told.unique_id.as_bytes(), &record["id"])));
    }
    // They are of one process.
    nonces.dedup();
    assert_eq!(nonces.len(), 1, "{nonces:?}");
    portway.stop();
}

#[test]
fn with_the_first_datagram_only_the_others_are_as_they_came() {
    let (port, server) = (free_port(), Server::silent());
    let place = Place::with(&one(port, &[server.addr], FIRST));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    for payload in ["one", "two", "three"] {
        client.send(payload.as_bytes());
    }
    portway.until("they have come", |_| server.heard().len() == 3);
    let heard = whole(&server);
    assert_eq!(told(&heard[0]).unwrap().payload, b"one");
    assert_eq!(heard[1..], [b"two".to_vec(), b"three".to_vec()]);
    // The next session says it again.
    records(&mut portway, 1);
    client.send(b"again");
    portway.until("it has come", |_| server.heard().len() == 4);
    assert_eq!(told(&whole(&server)[3]).unwrap().payload, b"again");
    portway.stop();
}

/// A burst that the kernel moves as one: each has its header, however they were packed.
#[test]
fn datagrams_that_come_together_have_each_a_header_of_their_own() {
    for (size, count) in [(20, 64), (1200, 50), (1440, 45), (1472, 10), (9000, 7)] {
        let (port, server) = (free_port(), Server::silent());
        let place = Place::with(&one(port, &[server.addr], EACH));
        let mut portway = Portway::run(&place.file());
        let client = Client::of(port);
        let sent: Vec<Vec<u8>> = (0..count).map(|n| vec![n; size]).collect();
        // Of one call, so that they are read together.
        let state = quinn_udp::UdpSocketState::new((&client.0).into()).unwrap();
        if !can("GSO", state.max_gso_segments() >= 64) {
            return;
        }
        let most = 65_000 / size;
        for together in sent.chunks(most) {
            let transmit = quinn_udp::Transmit {
                destination: client.0.peer_addr().unwrap(),
                ecn: Some(quinn_udp::EcnCodepoint::Ect0),
                contents: &together.concat(),
                segment_size: Some(size),
                src_ip: None,
            };
            state.try_send((&client.0).into(), &transmit).unwrap();
        }
        portway.until("they have come", |_| server.heard().len() == sent.len());
        let heard: Vec<Vec<u8>> =
            whole(&server).iter().map(|datagram| told(datagram).unwrap().payload).collect();
        assert!(heard == sent, "{count} of {size} bytes");
        drop(client);
        portway.stop();
    }
}

/// What is too long with its header is counted, and not cut; what just fits passes.
#[test]
fn what_does_not_fit_with_its_header_is_counted() {
    let (port, server) = (free_port(), Server::silent());
    let place = Place::with(&one(port, &[server.addr], EACH));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    client.send(b"small");
    portway.until("it has come", |_| server.heard().len() == 1);
    let room = 65_507 - told(&whole(&server)[0]).unwrap().length;
    let fits = vec![7; room];
    client.send(&fits);
    client.send(&vec![8; room + 1]);
    client.send(b"after it");
    portway.until("all have come", |_| server.heard().len() == 3);
    let payloads: Vec<Vec<u8>> = whole(&server).iter().map(|d| told(d).unwrap().payload).collect();
    assert!(payloads == [b"small".to_vec(), fits, b"after it".to_vec()]);
    let record = records(&mut portway, 1).swap_remove(0);
    assert_eq!((&record["up_datagrams"], &record["detail"]), (&3.into(), &"1 datagrams dropped".into()));
    let warning = portway.seen.iter().find(|line| message(line) == "datagrams were dropped").unwrap();
    assert_eq!(warning["reasons"], "too-large 1");
    portway.stop();
}

/// The address that the client has written to, of a listener that has several; and where both families meet.
#[test]
fn the_header_says_where_the_client_has_written_to() {
    let (port, server) = (free_port(), Server::silent());
    let text = format!("{LOGGED}{}", udp_route("udp", &port.to_string(), &[server.addr], EACH));
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    let mut expected = Vec::new();
    for to in ["127.0.0.1", "127.0.0.2", "[::1]"] {
        let client = Client::at(&format!("{to}:{port}"));
        client.send(b"x");
        expected.push((client.0.local_addr().unwrap(), client.0.peer_addr().unwrap()));
        portway.until("it has come", |_| server.heard().len() == expected.len());
    }
    let between: Vec<_> = whole(&server).iter().map(|datagram| told(datagram).unwrap().between).collect();
    assert_eq!(between, expected);
    portway.stop();
}

/// What an upstream that refuses has got, the next one gets with a header of its own.
#[test]
fn the_next_upstream_hears_it_too() {
    for more in [EACH, FIRST] {
        let (port, server) = (free_port(), Server::on("127.0.0.1:0", |_| vec![b"answer".to_vec()]));
        let more = format!("{more}\nbalance = \"first\"");
        let place = Place::with(&one(port, &[closed_port(), server.addr], &more));
        let mut portway = Portway::run(&place.file());
        let client = Client::of(port);
        assert_eq!(client.ask(b"one"), b"answer");
        let heard = whole(&server);
        assert_eq!(told(&heard[0]).unwrap().payload, b"one");
        let record: Value = records(&mut portway, 1).swap_remove(0);
        assert_eq!((&record["up"], &record["down"]), (&6.into(), &6.into()), "{record}");
        portway.stop();
    }
}
