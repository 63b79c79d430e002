//! Deadlines of what a client must say first.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::{DEADLINE, has_sockets, paused, paused_for, sockets};
use crate::clients::pki::{Authority, talk};
use crate::harness::hello::{message, records};
use crate::harness::instance::*;

/// A client that has connected and said nothing, and was accepted.
fn accepted(portway: &Portway, port: &Port) -> TcpStream {
    let before = sockets(portway);
    let client = TcpStream::connect(port.local()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    has_sockets(portway, before, 1);
    client
}

/// The name of the backend that a client has reached.
fn greeting(client: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn r7_a_hello_or_header_that_came_during_a_pause_came_in_time() {
    let (sniffed, headed, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let place = Place::with(&[
        HEAD.to_owned(),
        route("sniffed", &sniffed.local(), &backend, &format!("sni = \"app.example\"\nsniff_timeout = \"{DEADLINE}\"\n")),
        route(
            "headed",
            &headed.local(),
            &backend,
            &format!("proxy_protocol = {{ accept = true, trusted = \"127.0.0.0/8\", timeout = \"{DEADLINE}\" }}\n"),
        ),
    ]
    .concat());
    let portway = Portway::run(&place.file());
    let hello = records(&message(Some("app.example"), &[], 1700), &[]);
    let header = b"PROXY TCP4 198.51.100.7 192.0.2.1 1111 443\r\n".to_vec();
    // Whole, and in two parts of which the second comes after the pause.
    let cases =
        [(&sniffed, &hello, 0), (&headed, &header, 0), (&sniffed, &hello, 900), (&headed, &header, 20)];
    let mut clients =
        cases.map(|(port, bytes, later)| (accepted(&portway, port), bytes.split_at(bytes.len() - later)));
    paused(portway.pid(), || {
        clients.iter_mut().for_each(|(client, (first, _))| client.write_all(first).unwrap())
    });
    for (client, (_, rest)) in &mut clients {
        client.write_all(rest).unwrap();
        assert_eq!(greeting(client), "app");
    }
    drop(clients);
    portway.stop();
}

#[test]
fn r7_a_handshake_that_was_begun_during_a_pause_can_be_ended() {
    let (port, backend, authority) = (Port::reserve(), Backend::named("app"), Authority::new());
    let more = format!("tls = {{ cert = \"app.pem\", key = \"app.key\" }}\nsniff_timeout = \"{DEADLINE}\"\n");
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, &more)));
    authority.pair("app.example").write(&place.folder(), "app");
    let portway = Portway::run(&place.file());
    let mut stream = accepted(&portway, &port);
    let mut connection = ClientConnection::new(authority.trust(), "app.example".try_into().unwrap()).unwrap();
    paused(portway.pid(), || assert!(connection.write_tls(&mut stream).unwrap() > 0));
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    let mut client = StreamOwned::new(connection, stream);
    assert_eq!(talk(&mut client).unwrap(), "app");
    drop(client);
    portway.stop();
}

#[test]
fn r7_who_says_nothing_during_a_pause_is_late_all_the_same() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let more = format!("sni = \"app.example\"\nsniff_timeout = \"{DEADLINE}\"\n");
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, &more)));
    let portway = Portway::run(&place.file());
    let mut client = accepted(&portway, &port);
    paused(portway.pid(), || {});
    assert!(client.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    drop(client);
    portway.stop();
}

#[test]
fn r7_a_request_of_the_admin_endpoint_that_came_during_a_pause_is_answered() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let routes = route("app", &port.local(), &backend, "");
    let place = Place::with(&format!("{HEAD}[admin]\nlisten = \"{}\"\n{routes}", admin.local()));
    let portway = Portway::run(&place.file());
    let mut client = accepted(&portway, &admin);
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n").unwrap();
    // A head may take five seconds.
    paused_for(Duration::from_secs(6), portway.pid(), || {
        client.write_all(b"Connection: close\r\n\r\n").unwrap();
    });
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(client);
    portway.stop();
}
