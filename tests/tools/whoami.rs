//! `portway whoami`.

use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use tokio::time::Instant;

use crate::harness::tools::{PATIENCE, Peer, Whoami, has_ipv6, noise, portway, run, tcp, wait};

const MIB: usize = 1 << 20;
const LINE_MAX: usize = 8 * 1024;

pub fn assert_page(answer: &str, parts: &[&str]) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no page: {answer:?}"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
    for part in parts {
        assert!(body.lines().any(|line| line == *part), "no line `{part}` in: {body}");
    }
}

#[test]
fn an_http_request_gets_a_page() {
    let whoami = Whoami::start(&[]);
    let mut client = whoami.connect();
    client.says("GET /path?q=1 HTTP/1.1\r\nAccept: */*\r\nhOST:  example.org:80 \r\n\r\n");
    assert_page(
        &client.hears_all(),
        &[
            "name: whoami",
            "request: GET /path?q=1 HTTP/1.1",
            "host: example.org:80",
            &format!("peer: {}", client.0.local_addr().unwrap()),
            &format!("local: {}", whoami.addr),
        ],
    );
}

#[test]
fn every_method_and_version_1_is_http() {
    let whoami = Whoami::start(&["--name", "one"]);
    for request in ["DELETE / HTTP/1.1", "OPTIONS * HTTP/1.1", "PURGE /x HTTP/1.0", "get / HTTP/1.9"] {
        let mut client = whoami.connect();
        client.says(format!("{request}\r\n\r\n"));
        let answer = client.hears_all();
        assert_page(&answer, &["name: one", &format!("request: {request}"), "host: (none)"]);
    }
    let mut client = whoami.connect();
    client.says("HEAD / HTTP/1.1\r\n\r\n");
    assert!(client.hears_all().ends_with("Connection: close\r\n\r\n"));
}

#[test]
fn a_request_in_single_bytes_and_one_that_ends_early_are_answered() {
    let whoami = Whoami::start(&[]);
    let mut client = whoami.connect();
    client.0.set_nodelay(true).unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" {
        client.says([*byte]);
    }
    assert_page(&client.hears_all(), &["host: h"]);
    let mut client = whoami.connect();
    client.says("GET / HTTP/1.0\r\nHost: h").ends();
    assert_page(&client.hears_all(), &["host: h"]);
}

#[test]
fn the_answer_outlives_a_body_that_nobody_reads() {
    let whoami = Whoami::start(&[]);
    let body = noise(MIB);
    let head = format!("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: {MIB}\r\n\r\n");
    for _ in 0..200 {
        let mut client = whoami.connect();
        client.says(&head).says(&body);
        assert_page(&client.hears_all(), &["request: POST /up HTTP/1.1"]);
    }
}

#[test]
fn a_body_that_comes_after_the_answer_is_still_taken() {
    let whoami = Whoami::start(&[]);
    let mut client = whoami.connect();
    client.says(format!("POST / HTTP/1.1\r\nContent-Length: {MIB}\r\n\r\n"));
    assert_page(&client.hears_all(), &[]);
    client.says(noise(MIB)).ends();
    assert_eq!(client.0.take_error().unwrap().map(|error| error.to_string()), None);
}

#[test]
fn a_head_without_end_is_refused_with_an_answer() {
    let whoami = Whoami::start(&[]);
    let mut client = whoami.connect();
    client.says("GET / HTTP/1.1\r\n").says("X: y\r\n".repeat(20_000));
    assert!(client.hears_all().starts_with("HTTP/1.1 431 "));
}

#[test]
fn lines_come_back_one_by_one() {
    let whoami = Whoami::start(&[]);
    let mut client = whoami.connect();
    let prefix = client.prefix();
    client.says("hello\n").hears(format!("{prefix}hello\n"));
    client.says("\r\n").hears(format!("{prefix}\r\n"));
    client.says("GET / HTTP/1.1\r\n").hears(format!("{prefix}GET / HTTP/1.1\r\n"));
    client.says("half a l").says("ine\n").hears(format!("{prefix}half a line\n"));
    client.says(b"\xff\x00\n");
    let mut answer = vec![0; prefix.len() + 3];
    client.0.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [prefix.as_bytes(), b"\xff\x00\n"].concat());
    assert_eq!(client.ends().hears_all(), "");
}

#[test]
fn pipelined_lines_and_the_rest_before_fin_are_all_answered() {
    let whoami = Whoami::start(&["--name", "two"]);
    let mut client = whoami.connect();
    let prefix = client.prefix().replace("whoami", "two");
    let lines: Vec<String> = (0..2000).map(|number| format!("line {number}")).collect();
    client.says(lines.join("\n")).ends();
    let expected: String = lines.iter().map(|line| format!("{prefix}{line}\n")).collect();
    assert_eq!(client.hears_all(), expected);
}

#[test]
fn lines_over_the_bound_come_back_in_pieces() {
    let whoami = Whoami::start(&[]);
    // (length of the line, lengths of the answers)
    let cases: [(usize, &[usize]); 5] = [
        (LINE_MAX - 1, &[LINE_MAX - 1]),
        (LINE_MAX, &[LINE_MAX]),
        (LINE_MAX + 1, &[LINE_MAX, 1]),
        (2 * LINE_MAX, &[LINE_MAX, LINE_MAX]),
        (20_000, &[LINE_MAX, LINE_MAX, 20_000 - 2 * LINE_MAX]),
    ];
    for (length, answers) in cases {
        for end in ["\nx\n", "\nx"] {
            let mut client = whoami.connect();
            let prefix = client.prefix();
            client.says("y".repeat(length)).says(end).ends();
            let mut expected: String =
                answers.iter().map(|length| format!("{prefix}{}\n", "y".repeat(*length))).collect();
            expected += &format!("{prefix}x\n");
            assert_eq!(client.hears_all(), expected, "a line of {length} bytes");
        }
    }
}

#[test]
fn a_raw_echo_is_the_same_bytes_and_keeps_half_close() {
    let whoami = Whoami::start(&["--raw"]);
    let mut client = whoami.connect();
    client.says("GET / HTTP/1.1\r\n\r\n").hears("GET / HTTP/1.1\r\n\r\n");
    let sent = noise(8 * MIB);
    let mut writer = client.0.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.0.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
}

#[test]
fn udp_answers_with_the_sender_and_the_payload() {
    let whoami = Whoami::start(&["--name", "one"]);
    let socket = whoami.udp();
    let prefix = format!("one[{}]: ", socket.local_addr().unwrap());
    let mut buffer = vec![0; 1 << 16];
    for length in [0, 1, 1400, 9000, 65_507 - prefix.len()] {
        let payload = noise(length);
        assert_eq!(socket.send(&payload).unwrap(), length);
        let got = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..got] == [prefix.as_bytes(), &payload].concat(), "a datagram of {length} bytes");
    }
    for length in [65_507 - prefix.len() + 1, 65_507] {
        let payload = noise(length);
        socket.send(&payload).unwrap();
        let got = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..got] == payload, "a datagram of {length} bytes");
    }
}

#[test]
fn udp_raw_is_the_same_datagram() {
    let whoami = Whoami::start(&["--raw"]);
    let socket = whoami.udp();
    let mut buffer = vec![0; 1 << 16];
    for length in [0, 1, 65_507] {
        let payload = noise(length);
        socket.send(&payload).unwrap();
        let got = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..got] == payload, "a datagram of {length} bytes");
    }
}

#[test]
fn a_unix_socket_is_served_and_its_file_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whoami.sock");
    let listen = format!("unix:{}", path.display());
    // A file that a program which is gone left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut whoami = Whoami::on(&listen, &[]);
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    };
    let mut client = connect();
    client.says("hello\n").hears("whoami[unix:]: hello\n");
    let mut client = connect();
    client.says("GET / HTTP/1.1\r\n\r\n");
    assert_page(&client.hears_all(), &["peer: unix:", &format!("local: {listen}")]);
    run(&["whoami", "--listen", &listen], "").with(1, &["another program has the address"]);
    whoami.signal(Signal::TERM);
    assert_eq!(whoami.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn ipv6_and_every_address() {
    if !has_ipv6() {
        return;
    }
    let whoami = Whoami::on("[::1]:0", &[]);
    let mut client = whoami.connect();
    let prefix = client.prefix();
    client.says("six\n").hears(format!("{prefix}six\n"));
    // Every address: one socket for both families; an IPv4 client is shown by its IPv4 address.
    let whoami = Whoami::on("0", &[]);
    let port = whoami.addr.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "[::1]"] {
        let addr = format!("{host}:{port}").parse().unwrap();
        let mut client = Peer(tcp(addr));
        let prefix = client.prefix();
        client.says("tcp\n").hears(format!("{prefix}tcp\n"));
        let socket = UdpSocket::bind(format!("{host}:0")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"udp", addr).unwrap();
        let mut buffer = [0; 100];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        let expected = format!("whoami[{}]: udp", socket.local_addr().unwrap());
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), expected);
    }
}

#[test]
fn delay_comes_before_each_answer() {
    let least = Duration::from_millis(100);
    let whoami = Whoami::start(&["--delay", "100ms"]);
    let mut client = whoami.connect();
    let prefix = client.prefix();
    let start = Instant::now();
    client.says("a\nb\n").hears(format!("{prefix}a\n"));
    assert!(start.elapsed() >= least);
    client.hears(format!("{prefix}b\n"));
    assert!(start.elapsed() >= 2 * least);

    let start = Instant::now();
    let mut client = whoami.connect();
    client.says("GET / HTTP/1.1\r\n\r\n");
    assert_page(&client.hears_all(), &[]);
    assert!(start.elapsed() >= least);

    let socket = whoami.udp();
    let start = Instant::now();
    socket.send(b"x").unwrap();
    socket.recv(&mut [0; 100]).unwrap();
    assert!(start.elapsed() >= least);

    let raw = Whoami::start(&["--raw", "--delay", "100ms"]);
    let start = Instant::now();
    raw.connect().says("x").hears("x");
    assert!(start.elapsed() >= least);
}

#[test]
fn more_clients_than_slots_are_all_served() {
    // 40 descriptors leave 8 slots.
    let mut command = std::process::Command::new("sh");
    let script = "ulimit -n 40; exec \"$0\" whoami --listen 127.0.0.1:0";
    command.args(["-c", script, env!("CARGO_BIN_EXE_portway")]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut whoami = Whoami::from_command(&mut command);
    let mut clients: Vec<_> = (0..100).map(|_| whoami.connect()).collect();
    for client in &mut clients {
        client.says("hello").ends();
    }
    for mut client in clients {
        assert_eq!(client.hears_all(), format!("{}hello\n", client.prefix()));
    }
    whoami.signal(Signal::INT);
    assert_eq!(whoami.wait().code(), Some(0));
    let mut said = String::new();
    whoami.stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "", "the slots keep it from running out of descriptors");
}

#[test]
fn running_out_of_descriptors_does_not_end_it() {
    let mut whoami = Whoami::start(&[]);
    let pid = rustix::process::Pid::from_child(&whoami.child);
    let before = rustix::process::prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit { current: Some(3), maximum: rustix::process::getrlimit(Resource::Nofile).maximum },
    )
    .unwrap();
    let mut client = whoami.connect();
    let prefix = client.prefix();
    client.says("hello\n");
    let mut warning = String::new();
    whoami.stderr.read_line(&mut warning).unwrap();
    assert!(warning.contains("cannot accept: "), "{warning}");
    rustix::process::prlimit(Some(pid), Resource::Nofile, before).unwrap();
    client.hears(format!("{prefix}hello\n"));
    whoami.signal(Signal::TERM);
    assert_eq!(whoami.wait().code(), Some(0));
    let mut more = String::new();
    whoami.stderr.read_to_string(&mut more).unwrap();
    assert_eq!(more, "", "it says it once");
}

#[test]
fn a_signal_ends_it_while_clients_are_connected() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut whoami = Whoami::start(&[]);
        let mut quiet = whoami.connect();
        let prefix = quiet.prefix();
        quiet.says("hello\n").hears(format!("{prefix}hello\n"));
        whoami.signal(signal);
        assert_eq!(whoami.wait().code(), Some(0));
        assert_eq!(quiet.hears_all(), "");
        assert!(TcpStream::connect(whoami.socket_addr()).is_err());
    }
}

#[test]
fn what_it_cannot_do_it_says() {
    let taken = Whoami::start(&[]);
    run(&["whoami", "--listen", &taken.addr], "")
        .with(1, &["could not listen on 127.0.0.1:", "another program has the address"]);
    run(&["whoami", "--listen", "192.0.2.1:9000"], "").with(1, &["this host does not have the address"]);
    run(&["whoami", "--listen", "127.0.0.1:1-9"], "").with(2, &["give one port"]);
    run(&["whoami", "--listen", "localhost:9"], "").with(2, &["write \"127.0.0.1:9\""]);
    run(&["whoami", "--delay", "20"], "").with(2, &["has no unit", "write \"20s\""]);
    run(&["whoami", "--name", ""], "").with(2, &["a name has 1 to 64 bytes"]);
    run(&["whoami", "--raw", "--name", "x"], "").with(2, &["cannot be used with"]);
    let help = run(&["whoami", "--help"], "").with(0, &[]).text();
    assert!(help.contains("curl http://127.0.0.1:9000/") && help.contains("Echo every byte"), "{help}");
    assert!(help.starts_with("A diagnostic backend"), "{help}");
}

#[test]
fn nobody_has_to_read_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let listen = format!("unix:{}", path.display());
    let mut child = portway(&["whoami", "--listen", &listen]).stdout(writer).spawn().unwrap();
    let start = Instant::now();
    let stream = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        thread::yield_now();
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Peer(stream).says("hello\n").hears("whoami[unix:]: hello\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
}
