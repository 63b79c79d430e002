//! Clients of the services: each says whether it was served.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::servers::Servers;
use crate::harness::pass;

/// So long a client waits for an answer.
const PATIENT: Duration = Duration::from_secs(3);

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Web,
    Db,
    /// A web server over TLS, by this name.
    Tls(&'static str),
    /// The same, with a certificate.
    Member,
    /// Behind a proxy that sends headers, version 1.
    Behind,
    /// The same, of a database.
    BehindDb,
    /// Ends its side with its question.
    Half,
    /// Keeps its connection for a while.
    Stays,
    Udp,
    Unix,
}

impl Client {
    /// Whether it is served at this port of its case, or at the Unix socket there.
    pub fn is_served(self, port: u16, socket: &PathBuf, servers: &Servers) -> bool {
        match self {
            Client::Web => get(tcp(port)),
            Client::Half => tcp(port).and_then(half).is_ok_and(|served| served),
            Client::Stays => get(tcp(port).inspect(|_| pass(Duration::from_millis(150)))),
            Client::Db => tcp(port).and_then(|stream| asks(stream, b"DB1\n", "ready")).unwrap_or_default(),
            Client::Behind => {
                let asked = b"PROXY TCP4 10.1.2.3 10.0.0.1 4000 80\r\nGET / HTTP/1.0\r\n\r\n";
                tcp(port).and_then(|stream| asks(stream, asked, "200 OK")).unwrap_or_default()
            }
            Client::BehindDb => {
                let asked = b"PROXY TCP4 10.1.2.3 10.0.0.1 4000 80\r\nDB1\n";
                tcp(port).and_then(|stream| asks(stream, asked, "ready")).unwrap_or_default()
            }
            Client::Tls(name) => tls(port, name, servers, false).unwrap_or_default(),
            Client::Member => tls(port, "app.test", servers, true).unwrap_or_default(),
            Client::Udp => udp(port).unwrap_or_default(),
            Client::Unix => get(UnixStream::connect(socket).and_then(|stream| {
                stream.set_read_timeout(Some(PATIENT))?;
                Ok(stream)
            })),
        }
    }
}

fn tcp(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENT))?;
    Ok(stream)
}

fn get(stream: io::Result<impl Read + Write>) -> bool {
    stream.and_then(|stream| asks(stream, b"GET / HTTP/1.0\r\n\r\n", "200 OK")).unwrap_or_default()
}

/// Asks, and reads the answer to its end or until it is what was wanted.
fn asks(mut stream: impl Read + Write, question: &[u8], wanted: &str) -> io::Result<bool> {
    stream.write_all(question)?;
    stream.flush()?;
    let (mut answer, mut part) = (Vec::new(), [0; 512]);
    loop {
        match stream.read(&mut part)? {
            0 => return Ok(false),
            got => answer.extend_from_slice(&part[..got]),
        }
        if String::from_utf8_lossy(&answer).contains(wanted) {
            return Ok(true);
        }
    }
}

fn half(mut stream: TcpStream) -> io::Result<bool> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("200 OK"))
}

fn tls(port: u16, name: &str, servers: &Servers, member: bool) -> io::Result<bool> {
    let config = match member {
        true => servers.authority.trust_as(&servers.member),
        false => servers.authority.trust(),
    };
    let connection = ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
    asks(StreamOwned::new(connection, tcp(port)?), b"GET / HTTP/1.0\r\n\r\n", "200 OK")
}

fn udp(port: u16) -> io::Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send(b"question")?;
    let mut answer = [0; 64];
    let got = socket.recv(&mut answer)?;
    Ok(answer[..got].starts_with(b"answer"))
}
