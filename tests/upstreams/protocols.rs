//! R13: what is known about an upstream is known of its protocol, too.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use super::server::*;
use crate::harness::instance::*;

/// A UDP server that says its name before what it got. Lives as long as the test's process.
fn udp_server(addr: &str, name: &'static str) -> std::net::SocketAddr {
    let socket = UdpSocket::bind(addr).unwrap();
    let addr = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&[name.as_bytes(), b" ", &buffer[..length]].concat(), from));
        }
    });
    addr
}

/// What a new client of the UDP route hears.
fn asks(port: u16) -> std::io::Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"hello")?;
    let mut heard = [0; 1024];
    let length = socket.recv(&mut heard)?;
    Ok(String::from_utf8_lossy(&heard[..length]).into_owned())
}

/// Whether the metrics say that the upstream of this route is up.
fn is_up(admin: &Port, route: &str) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", admin.number)).unwrap();
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", admin.local()).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let of_route = format!("portway_upstream_up{{route=\"{route}\"");
    let line = text.lines().find(|line| line.starts_with(&of_route));
    line.unwrap_or_else(|| panic!("{of_route}: {text}")).ends_with(" 1")
}

/// A TCP and a UDP route to one address, each with a spare.
struct Scene {
    portway: Portway,
    tcp: Port,
    udp: Port,
    admin: Port,
    _place: Place,
}

fn scene(upstream: &str, spare: &Server) -> Scene {
    let (tcp, udp, admin) = (Port::reserve(), Port::reserve(), Port::reserve());
    let spare_udp = udp_server("127.0.0.1:0", "spare");
    let (head, route) = {
        let text = leads(&tcp, &[format!("\"{upstream}\""), entry(spare, "")], "balance = \"first\"");
        let (head, route) = text.split_once("[[route]]").unwrap();
        (head.to_owned(), route.replace("\"app\"", "\"tcp\""))
    };
    let text = format!(
        "{head}[admin]\nlisten = \"{}\"\n[[route]]{route}[[route]]\nname = \"udp\"\nprotocol = \"udp\"\n\
         listen = \"{}\"\nupstream = [\"{upstream}\", \"{spare_udp}\"]\nbalance = \"first\"\nidle_timeout = \"1s\"\n",
        admin.local(),
        udp.local()
    );
    let place = Place::with(&text);
    Scene { portway: Portway::run(&place.file()), tcp, udp, admin, _place: place }
}

#[test]
fn r13_refused_connections_leave_the_udp_upstream_of_the_same_address_up() {
    let (reserved, spare) = (Port::reserve(), Server::new("spare"));
    let upstream = udp_server(&reserved.local(), "main").to_string();
    let Scene { mut portway, tcp, udp, admin, _place } = scene(&upstream, &spare);
    assert_eq!(reach(&tcp, 3), ["spare"; 3]);
    let down = portway.phase("upstream is down");
    assert_eq!((&down["upstream"], &down["protocol"]), (&upstream.clone().into(), &"tcp".into()));
    // The choice, and what is said of it.
    assert_eq!(asks(udp.number).unwrap(), "main hello");
    assert!(!is_up(&admin, "tcp") && is_up(&admin, "udp"));
    assert_eq!(portway.count("upstream is up again"), 0, "an answer over UDP says nothing of TCP");
    spare.end_connections();
    portway.stop();
}

#[test]
fn r13_refused_datagrams_leave_the_tcp_upstream_of_the_same_address_up() {
    let (main, spare) = (Server::new("main"), Server::new("spare"));
    let upstream = main.addr().to_string();
    let Scene { mut portway, tcp, udp, admin, _place } = scene(&upstream, &spare);
    for _ in 0..3 {
        assert_eq!(asks(udp.number).unwrap(), "spare hello");
    }
    let down = portway.phase("upstream is down");
    assert_eq!((&down["upstream"], &down["protocol"]), (&upstream.clone().into(), &"udp".into()));
    assert_eq!(reach(&tcp, 3), ["main"; 3]);
    assert!(is_up(&admin, "tcp") && !is_up(&admin, "udp"));
    assert_eq!(portway.count("upstream is up again"), 0, "a connection says nothing of UDP");
    [&main, &spare].into_iter().for_each(Server::end_connections);
    portway.stop();
}
