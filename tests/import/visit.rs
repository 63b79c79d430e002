//! Backends and clients: what a client sees of a port, without what differs each time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::PATIENCE;

/// Says its name to each connection, echoes, and closes after `bye`; puts its name before each datagram.
pub fn serve(name: &str, tcp: TcpListener, udp: UdpSocket) {
    let (greeting, prefix) = (format!("{name}\n"), format!("{name} "));
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let greeting = greeting.clone();
            std::thread::spawn(move || {
                let mut all = || -> std::io::Result<()> {
                    stream.write_all(greeting.as_bytes())?;
                    let mut buffer = [0; 4096];
                    loop {
                        match stream.read(&mut buffer)? {
                            0 => return stream.shutdown(std::net::Shutdown::Write),
                            length => stream.write_all(&buffer[..length])?,
                        }
                        if buffer.windows(4).any(|window| window == b"bye\n") {
                            return Ok(());
                        }
                    }
                };
                // The client sees what goes wrong here.
                drop(all());
            });
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            // rinetd begins with an empty datagram of its own.
            if length == 0 {
                continue;
            }
            drop(udp.send_to(&[prefix.as_bytes(), &buffer[..length]].concat(), from));
        }
    });
}

/// What one client sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// The connection ended before a byte came.
    Refused,
    /// The backend's name; all that came after it; whether it ended with FIN.
    Served { reached: String, bytes: Vec<u8>, fin: bool },
    /// It ended in the middle.
    Broken(Vec<u8>),
}

/// A client's way in.
#[derive(Clone, Debug)]
pub struct Way {
    pub from: Ipv4Addr,
    /// What it says first.
    pub preface: Vec<u8>,
}

/// Opens so many connections, and ends them one after the other: every second one is ended by the backend.
pub fn connections(port: u16, way: &Way, count: usize) -> Vec<Seen> {
    let open: Vec<Result<(TcpStream, Vec<u8>), Seen>> = (0..count).map(|_| begin(port, way)).collect();
    let all = open.into_iter().enumerate();
    all.map(|(at, begun)| match begun {
        Ok((stream, greeting)) if at % 2 == 1 => goodbye(stream, greeting),
        Ok((stream, greeting)) => end(stream, greeting),
        Err(seen) => seen,
    })
    .collect()
}

fn begin(port: u16, way: &Way) -> Result<(TcpStream, Vec<u8>), Seen> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((way.from, 0)).into()).unwrap();
    let connected = socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), PATIENCE);
    if connected.is_err() {
        return Err(Seen::Refused);
    }
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // One that is refused may be gone already.
    drop(stream.write_all(&way.preface));
    let mut greeting = Vec::new();
    match read_until(&mut stream, &mut greeting, |bytes| bytes.contains(&b'\n')) {
        true => Ok((stream, greeting)),
        false if greeting.is_empty() => Err(Seen::Refused),
        false => Err(Seen::Broken(greeting)),
    }
}

/// Reads until something holds. Whether it did before the end.
fn read_until(stream: &mut TcpStream, bytes: &mut Vec<u8>, holds: impl Fn(&[u8]) -> bool) -> bool {
    let mut buffer = [0; 4096];
    while !holds(bytes) {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("nothing came for {PATIENCE:?}: {bytes:?}")
            }
            _ => return false,
        }
    }
    true
}

fn end(mut stream: TcpStream, mut bytes: Vec<u8>) -> Seen {
    stream.write_all(b"ping\n").unwrap();
    if !read_until(&mut stream, &mut bytes, |bytes| bytes.ends_with(b"ping\n")) {
        return Seen::Broken(bytes);
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let ended = stream.read_to_end(&mut bytes);
    served(bytes, ended.is_ok())
}

/// Says `bye`, and waits for the end.
fn goodbye(mut stream: TcpStream, mut bytes: Vec<u8>) -> Seen {
    stream.write_all(b"bye\n").unwrap();
    let ended = stream.read_to_end(&mut bytes);
    served(bytes, ended.is_ok())
}

fn served(mut bytes: Vec<u8>, fin: bool) -> Seen {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let rest = bytes.split_off(line + 1);
    let reached = String::from_utf8(bytes).unwrap().trim_end().to_owned();
    Seen::Served { reached, bytes: without_ports(rest), fin }
}

/// Of a PROXY header what both programs say: its kind and the hosts. Ports differ each time, and Portway adds a checksum.
fn without_ports(bytes: Vec<u8>) -> Vec<u8> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    if bytes.starts_with(SIGNATURE) {
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        return [&bytes[..14], &bytes[16..24], &bytes[16 + length..]].concat();
    }
    if bytes.starts_with(b"PROXY ") {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (header, rest) = text.split_once("\r\n").unwrap();
        let words: Vec<&str> = header.split(' ').take(4).collect();
        return format!("{}\r\n{rest}", words.join(" ")).into_bytes();
    }
    bytes
}

/// How many reached whom, or what else became of them.
pub fn summary(seen: &[Seen]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in seen {
        let whom = match one {
            Seen::Served { reached, .. } => reached.clone(),
            other => format!("{other:?}"),
        };
        *counts.entry(whom).or_default() += 1;
    }
    counts
}

/// What was seen, without whom it reached.
pub fn kinds(seen: &[Seen]) -> BTreeSet<Seen> {
    let anonymous = |one: &Seen| match one.clone() {
        Seen::Served { bytes, fin, .. } => Seen::Served { reached: String::new(), bytes, fin },
        other => other,
    };
    seen.iter().map(anonymous).collect()
}

/// One datagram to each of these ports from one address, again and again until all are answered or, for a while, none is. The
/// answers by port.
pub fn datagrams(ports: &[u16], from: Ipv4Addr) -> Vec<Option<String>> {
    let sockets: Vec<UdpSocket> = ports
        .iter()
        .map(|port| {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.connect(("127.0.0.1", *port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            socket
        })
        .collect();
    let mut answers: Vec<Option<String>> = vec![None; ports.len()];
    let begun = Instant::now();
    loop {
        for (socket, answer) in sockets.iter().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            let mut buffer = [0; 4096];
            // A port that is not open yet refuses; one that denies says nothing.
            if socket.send(b"ping").is_ok()
                && let Ok(length) = socket.recv(&mut buffer)
            {
                *answer = Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        let answered = answers.iter().flatten().count();
        let quiet = answered == 0 && begun.elapsed() > Duration::from_secs(5);
        if answered == ports.len() || quiet || begun.elapsed() > PATIENCE {
            return answers;
        }
    }
}

/// The text of a file whose sessions end with their first answer: the leak gate waits for no time limit.
pub fn short_sessions(text: &str) -> String {
    let parts: Vec<String> = text
        .split("[[route]]")
        .map(|part| {
            let udp = part.contains("\"udp\"") || part.contains("\"tcp+udp\"");
            let keys = part.lines().filter(|line| !line.starts_with('#'));
            match udp && !keys.clone().any(|line| line.starts_with("max_replies")) {
                true => format!("\nmax_replies = 1{part}"),
                false => part.to_owned(),
            }
        })
        .collect();
    parts.join("[[route]]")
}
