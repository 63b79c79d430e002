//! `portway probe`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Child;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::harness::sender::BlackHole;
use crate::harness::tools::{Peer, Whoami, ended, has_ipv6, noise, patient, portway, run};

const MIB: usize = 1 << 20;

/// A probe to a peer that the test plays itself; its input is open.
fn probe_to_test() -> (Child, Peer<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let child = portway(&["probe", &addr]).spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    patient(&stream);
    (child, Peer(stream))
}

/// Addresses at which nothing listens; the port stays taken while the socket lives.
fn bound_not_listening() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

#[test]
fn it_talks_over_ipv4_and_names_each_step() {
    let whoami = Whoami::start(&[]);
    let ended = run(&["probe", &whoami.addr], "hello\n").with(
        0,
        &[
            &format!("connected to {} from 127.0.0.1:", whoami.addr),
            "first byte after ",
            " ms\n",
            "closed by the peer (FIN), total ",
            ", sent 6 bytes, received ",
        ],
    );
    assert!(ended.text().starts_with("whoami[127.0.0.1:") && ended.text().ends_with("]: hello\n"));
    assert!(!ended.stderr.contains("resolved"), "an address needs no resolving");
}

#[test]
fn it_resolves_a_name() {
    let whoami = Whoami::start(&[]);
    let port = whoami.socket_addr().port();
    let ended = run(&["probe", &format!("localhost:{port}")], "hello\n")
        .with(0, &["resolved localhost -> ", " ms: ", &format!("127.0.0.1:{port}")]);
    assert!(ended.text().ends_with("]: hello\n"));
}

#[test]
fn it_talks_over_ipv6_and_unix() {
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}", dir.path().join("x.sock").display());
    let mut places = vec![listen.as_str()];
    if has_ipv6() {
        places.push("[::1]:0");
    }
    for place in places {
        let whoami = Whoami::on(place, &["--raw"]);
        let ended = run(&["probe", &whoami.addr], "hello\n")
            .with(0, &[&format!("connected to {}", whoami.addr), "closed by the peer (FIN)"]);
        assert_eq!(ended.text(), "hello\n");
    }
}

#[test]
fn quiet_says_nothing_but_errors() {
    let whoami = Whoami::start(&["--raw"]);
    let ended = run(&["probe", "--quiet", &whoami.addr], "hello").with(0, &[]);
    assert_eq!((ended.text().as_str(), ended.stderr.as_str()), ("hello", ""));
    let (_socket, addr) = bound_not_listening();
    run(&["probe", "-q", &addr.to_string()], "").with(1, &["connection refused"]);
}

#[test]
fn binary_data_passes_both_ways_unharmed() {
    let whoami = Whoami::start(&["--raw"]);
    let sent = noise(8 * MIB);
    let ended = run(&["probe", &whoami.addr], sent.clone())
        .with(0, &["sent 8388608 bytes, received 8388608 bytes", "closed by the peer (FIN)"]);
    assert!(ended.stdout == sent);
}

#[test]
fn refused_is_explained() {
    let (_socket, addr) = bound_not_listening();
    run(&["probe", &addr.to_string()], "").with(
        1,
        &[&format!("error: could not connect to {addr}: connection refused: nothing listens there")],
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let unix = format!("unix:{}", path.display());
    run(&["probe", &unix], "").with(1, &["there is no such file"]);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    run(&["probe", &unix], "").with(1, &["the socket's file is there, but no program listens"]);
}

#[test]
fn a_silent_address_is_given_up_in_time() {
    let hole = BlackHole::new();
    let addr = hole.addr;
    let start = Instant::now();
    run(&["probe", &addr.to_string(), "--timeout", "300ms"], "")
        .with(1, &[&format!("could not connect to {addr}: no answer within 300ms: the host is down")]);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_name_that_does_not_resolve_is_explained() {
    // RFC 6761 reserves `.invalid`. Without a name server the answer takes its time, and the timeout ends it.
    run(&["probe", "nobody.invalid:1", "--timeout", "2s"], "")
        .with(1, &["error: could not resolve nobody.invalid: ", "/etc/resolv.conf"]);
}

#[test]
fn the_command_line_is_checked() {
    run(&["probe", "9000"], "").with(2, &["127.0.0.1:9000"]);
    run(&["probe", "127.0.0.1:1-2"], "").with(2, &["give one port"]);
    run(&["probe", "original-destination"], "").with(2, &["is another address for each client: give one"]);
    run(&["probe", "127.0.0.1:1", "--timeout", "5"], "").with(2, &["write \"5s\""]);
    run(&["probe", "--udp", "unix:/x"], "").with(2, &["a Unix socket is a stream"]);
    let help = run(&["probe", "--help"], "").with(0, &[]).text();
    assert!(help.contains("portway probe --udp 127.0.0.1:9000") && help.contains("Exit code:"), "{help}");
}

#[test]
fn end_of_input_is_passed_on_and_the_answer_after_it_arrives() {
    let (mut child, mut peer) = probe_to_test();
    child.stdin.take().unwrap().write_all(b"question").unwrap();
    assert_eq!(peer.hears_all(), "question");
    let answer = noise(MIB);
    peer.says(&answer).ends();
    let ended = ended(child).with(0, &["closed by the peer (FIN)", "sent 8 bytes, received 1048576 bytes"]);
    assert!(ended.stdout == answer);
}

#[test]
fn a_peer_that_ends_its_side_first_still_gets_the_input() {
    let sent = noise(4 * MIB);
    let (mut child, mut peer) = probe_to_test();
    let mut stdin = child.stdin.take().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || stdin.write_all(&copy).unwrap());
    // The input is under way, and most of it still to come.
    let mut received = vec![0];
    peer.0.read_exact(&mut received).unwrap();
    peer.says("bye").ends();
    peer.0.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == sent, "{} of {} bytes arrived", received.len(), sent.len());
    assert_eq!(ended(child).with(0, &["closed by the peer (FIN)"]).text(), "bye");
}

#[test]
fn it_ends_with_the_peer_although_its_input_is_open() {
    let (mut child, mut peer) = probe_to_test();
    let stdin = child.stdin.take().unwrap();
    peer.says("bye");
    drop(peer);
    let ended = ended(child).with(0, &["closed by the peer (FIN)", "received 3 bytes"]);
    assert_eq!(ended.text(), "bye");
    drop(stdin);
}

#[test]
fn a_reset_is_named_and_the_data_before_it_kept() {
    let (mut child, mut peer) = probe_to_test();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello").unwrap();
    // Before that, the reset could come in the middle of the connect.
    peer.hears("hello").says("bye");
    let mut heard = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"bye");
    let socket = Socket::from(peer.0);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    ended(child).with(0, &["closed by the peer (RST)", "sent 5 bytes, received 3 bytes"]);
    drop(stdin);
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let (mut child, mut peer) = probe_to_test();
    let stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    while peer.0.write_all(&[0; 4096]).is_ok() {}
    let ended = ended(child).with(0, &["connected to "]);
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
    drop(stdin);
}

#[test]
fn udp_lines_are_datagrams() {
    let whoami = Whoami::start(&[]);
    let ended = run(&["probe", "--udp", "--timeout", "2s", &whoami.addr], "one\ntwo").with(
        0,
        &["sending to 127.0.0.1:", "first answer after ", "sent 2 datagrams (7 bytes), received 2 datagrams"],
    );
    let text = ended.text();
    assert!(text.contains("]: one\nwhoami[127.0.0.1:") && text.ends_with("]: two"), "{text}");
}

#[test]
fn a_udp_line_over_the_bound_is_two_datagrams() {
    let whoami = Whoami::start(&["--raw"]);
    let line = "x".repeat(65_507 + 1) + "\n";
    let ended = run(&["probe", "--udp", "--timeout", "2s", &whoami.addr], line.clone())
        .with(0, &["sent 2 datagrams (65509 bytes)"]);
    assert_eq!(ended.text(), line);
}

#[test]
fn udp_refusal_is_reported_plainly_although_input_is_open() {
    // A connected socket takes datagrams of its own peer only; for others the port is as good as free.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    taken.connect("127.0.0.1:1").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut child = portway(&["probe", "--udp", &addr]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    ended(child)
        .with(1, &[&format!("error: {addr} by UDP: refused (ICMP port unreachable): nothing listens")]);
    drop(stdin);
}

#[test]
fn udp_silence_is_no_answer() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    run(&["probe", "--udp", "--timeout", "100ms", &addr], "hello\n")
        .with(1, &[&format!("no answer from {addr} within 100ms"), "sent 1 datagram (6 bytes)"]);
    run(&["probe", "--udp", "--timeout", "100ms", &addr], "").with(1, &["no input, so nothing was sent"]);
}

#[test]
fn udp_waits_for_a_late_answer() {
    let whoami = Whoami::start(&["--raw", "--delay", "300ms"]);
    let ended = run(&["probe", "--udp", "--timeout", "2s", &whoami.addr], "late").with(0, &[]);
    assert_eq!(ended.text(), "late");
}

#[test]
fn a_peer_may_close_both_sides_at_once() {
    let (mut child, mut peer) = probe_to_test();
    drop(child.stdin.take());
    peer.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.hears_all(), "");
    ended(child).with(0, &["closed by the peer (FIN)", "sent 0 bytes, received 0 bytes"]);
}
