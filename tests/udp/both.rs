//! `protocol = "tcp+udp"`: one route forwards both on one port, and an edit touches the one that it names.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::peers::*;
use crate::harness::instance::*;

/// A service that echoes by UDP and by TCP at one port.
struct Service {
    addr: SocketAddr,
    _udp: Server,
}

impl Service {
    fn start() -> Service {
        let (udp, tcp) = loop {
            let udp = Server::echo();
            if let Ok(tcp) = TcpListener::bind(udp.addr) {
                break (udp, tcp);
            }
        };
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Service { addr: udp.addr, _udp: udp }
    }
}

fn text(protocol: &str, port: u16, service: &Service, more: &str) -> String {
    format!(
        "{LOGGED}[[route]]\nname = \"dns\"\nprotocol = \"{protocol}\"\nlisten = \"127.0.0.1:{port}\"\n\
         upstream = \"{}\"\non_change = \"cut\"\n{more}\n",
        service.addr
    )
}

/// Whether the connection goes on.
fn echoes(stream: &mut TcpStream, text: &[u8]) -> bool {
    let mut answer = vec![0; text.len()];
    stream.write_all(text).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == text
}

fn open(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn one_route_forwards_connections_and_datagrams_of_one_port() {
    let (port, service) = (free_port(), Service::start());
    let place = Place::with(&format!(
        "{LOGGED}[[route]]\nprotocol = \"tcp+udp\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"{}\"\n\
         idle_timeout = \"500ms\"\n",
        service.addr
    ));
    let mut portway = Portway::run(&place.file());
    assert_eq!(portway.seen.iter().find_map(|line| line["listeners"].as_u64()), Some(2));
    let (mut stream, client) = (open(port), Client::of(port));
    assert!(echoes(&mut stream, b"by tcp"));
    assert_eq!(client.ask(b"by udp"), b"by udp");
    let mut paths: Vec<_> = records(&mut portway, 2)
        .iter()
        .map(|record| {
            assert_eq!(record["route"], format!("127.0.0.1:{port}"));
            (record["outcome"].clone(), record["path"] == "datagram")
        })
        .collect();
    paths.sort_by_key(|(_, udp)| *udp);
    assert_eq!(paths, [("idle".into(), false), ("idle".into(), true)]);
    portway.stop();
}

/// `on_change` is "cut": what an edit touches ends.
#[test]
fn an_edit_of_one_part_leaves_the_other() {
    let (port, service) = (free_port(), Service::start());
    let place = Place::with(&text("tcp", port, &service, ""));
    let mut portway = Portway::run(&place.file());
    let edit = |portway: &mut Portway, protocol: &str, more: &str| {
        place.save(&text(protocol, port, &service, more));
        portway.hang_up();
        portway.phase("reloaded");
    };
    let mut stream = open(port);
    assert!(echoes(&mut stream, b"1"));
    // UDP comes, and changes.
    edit(&mut portway, "tcp+udp", "");
    let client = Client::of(port);
    assert_eq!(client.ask(b"2"), b"2");
    assert!(echoes(&mut stream, b"2"));
    edit(&mut portway, "tcp+udp", "max_sessions = 10");
    assert!(echoes(&mut stream, b"3"));
    assert_eq!(records(&mut portway, 1)[0]["path"], "datagram");
    // TCP changes, and goes.
    assert_eq!(client.ask(b"4"), b"4");
    edit(&mut portway, "tcp+udp", "max_sessions = 10\nkeepalive = \"30s\"");
    assert!(!echoes(&mut stream, b"4"));
    assert_ne!(records(&mut portway, 2)[1]["path"], "datagram");
    let mut stream = open(port);
    assert!(echoes(&mut stream, b"5"));
    edit(&mut portway, "udp", "max_sessions = 10");
    assert!(!echoes(&mut stream, b"6"));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(client.ask(b"6"), b"6");
    // TCP comes back, UDP goes.
    edit(&mut portway, "tcp+udp", "max_sessions = 10");
    assert_eq!(client.ask(b"7"), b"7");
    let mut stream = open(port);
    assert!(echoes(&mut stream, b"7"));
    assert_eq!(records(&mut portway, 3).len(), 3);
    edit(&mut portway, "tcp", "");
    assert!(echoes(&mut stream, b"8"));
    let ended = records(&mut portway, 4);
    assert_eq!((&ended[3]["path"], &ended[3]["outcome"]), (&"datagram".into(), &"drained".into()));
    drop(stream);
    portway.stop();
}
