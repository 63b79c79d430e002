//! Honest clients, one kind a thread: each begins anew again and again, from an address of its own, and says how long it took.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Socket, Type};

use super::crowd::came;
use super::hello;
use super::target::{ADMIN, SNI, TCP, TLS, UDP, at};
use crate::harness::{Netns, pass, tls::PEMS};

/// After so long a client gives up.
const GIVES_UP: Duration = Duration::from_secs(5);
/// Between two clients of a kind.
const PACE: Duration = Duration::from_millis(25);

/// Connections that may be read before they have an upstream, at 2,000 descriptors; and those of the admin endpoint.
const PLACES: u64 = 150;
const ADMIN_PLACES: u64 = 16;

/// What one kind of client has met.
#[derive(Debug)]
pub struct Met {
    pub kind: &'static str,
    pub served: Vec<Duration>,
    pub failed: Vec<Failure>,
}

/// A client that was not served.
#[derive(Debug)]
pub struct Failure {
    pub error: io::Error,
    /// How many attackers have connected while it tried.
    came: u64,
}

impl Failure {
    /// Whether it gave way to more newcomers than half of the places: on a machine that does twenty things at once a client takes as
    /// long to speak as thousands of strangers to connect, and the longest silent gives way.
    fn was_slow(&self, kind: &str) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let places = match kind {
            "sni" | "tls" => PLACES,
            "admin" => ADMIN_PLACES,
            // Nobody gives way there.
            _ => return false,
        };
        let ended = matches!(self.error.kind(), ConnectionReset | BrokenPipe | UnexpectedEof);
        ended && self.came > places / 2
    }
}

impl Met {
    /// Of a hundred who were not slow, how many were served.
    pub fn success(&self) -> f64 {
        100.0 * self.served.len() as f64 / (self.served.len() + self.judged().count()).max(1) as f64
    }

    /// The failures that are the proxy's.
    pub fn judged(&self) -> impl Iterator<Item = &Failure> {
        self.failed.iter().filter(|failure| !failure.was_slow(self.kind))
    }

    /// The time in which so many of a hundred of those were served.
    pub fn within(&self, of_a_hundred: usize) -> Duration {
        let mut served = self.served.clone();
        served.sort();
        served.get(served.len() * of_a_hundred / 100).copied().unwrap_or_default()
    }
}

/// The clients at work.
pub struct Panel {
    stop: Arc<AtomicBool>,
    clients: Vec<(JoinHandle<Met>, Arc<AtomicUsize>)>,
}

type Client = Box<dyn FnMut(u32) -> io::Result<()> + Send>;

impl Panel {
    pub fn begin(netns: &Netns) -> Panel {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |kind, client: Client| {
            let (stop, tried) = (stop.clone(), Arc::<AtomicUsize>::default());
            let counted = tried.clone();
            let work = move || work(kind, client, &stop, &counted);
            (netns.enter(move || std::thread::spawn(work)), tried)
        };
        let config = trust();
        let (live, of_flow) = (netns.enter(|| udp(1, UDP[0]).unwrap()), UDP[0]);
        let clients = vec![
            start("tcp", Box::new(|n| echoed(&mut tcp(n, TCP)?, b"hello"))),
            start("sni", Box::new(|n| echoed(&mut tcp(n, SNI)?, &hello::whole("panel.example")))),
            start("tls", Box::new(move |n| shaken(&config, tcp(n, TLS)?))),
            start("admin", Box::new(|n| healthy(tcp(n, ADMIN)?))),
            // One that lives, and those that begin.
            start("udp session", Box::new(move |n| answered(&live, n))),
            start("udp newcomers", Box::new(move |n| answered(&udp(2 + n, of_flow)?, n))),
        ];
        Panel { stop, clients }
    }

    /// How many clients of each kind have tried, at least.
    pub fn tried(&self) -> usize {
        self.clients.iter().map(|(_, tried)| tried.load(Ordering::Relaxed)).min().unwrap_or_default()
    }

    pub fn end(self) -> Vec<Met> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|(client, _)| client.join().unwrap()).collect()
    }
}

fn work(kind: &'static str, mut client: Client, stop: &AtomicBool, tried: &AtomicUsize) -> Met {
    let mut met = Met { kind, served: Vec::new(), failed: Vec::new() };
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let before = came();
        match client(number) {
            Ok(()) => met.served.push(begun.elapsed()),
            Err(error) => {
                met.failed.push(Failure { error, came: came() - before });
            }
        }
        number += 1;
        tried.fetch_add(1, Ordering::Relaxed);
        pass(PACE);
    }
    met
}

/// The address of a client that goes to this port, as no other client has it: when few places are left for all, who has one is
/// turned away. Those of 7001 and 7101 have one of 127.1/16.
fn own(number: u32, port: u16) -> SocketAddr {
    let (high, low) = (number / 250 % 250, number % 250);
    ([127, (port % 10) as u8, high as u8, 1 + low as u8], 0).into()
}

fn tcp(number: u32, port: u16) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&own(number, port).into())?;
    socket.connect_timeout(&at(port).into(), GIVES_UP)?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(GIVES_UP))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn echoed(stream: &mut (impl Read + Write), what: &[u8]) -> io::Result<()> {
    stream.write_all(what)?;
    let mut back = vec![0; what.len()];
    stream.read_exact(&mut back)?;
    if back == what { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

fn trust() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(PEMS.ca.as_bytes()).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// What a client of TLS sends before it waits for the server.
pub fn first_flight() -> Vec<u8> {
    let mut tls = ClientConnection::new(trust(), "localhost".try_into().unwrap()).unwrap();
    let mut sent = Vec::new();
    tls.write_tls(&mut sent).unwrap();
    sent
}

fn shaken(config: &Arc<ClientConfig>, mut stream: TcpStream) -> io::Result<()> {
    let mut tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    echoed(&mut rustls::Stream::new(&mut tls, &mut stream), b"hello")
}

fn healthy(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" { Ok(()) } else { Err(io::Error::other("another status")) }
}

fn udp(number: u32, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(own(number, port))?;
    socket.connect(at(port))?;
    Ok(socket)
}

/// As a client of DNS does: it asks again after a while.
fn answered(socket: &UdpSocket, number: u32) -> io::Result<()> {
    let (question, begun) = (number.to_be_bytes(), Instant::now());
    let mut answer = [0; 64];
    // As long as the others before it gives up.
    for wait in [300, 700, 1500, 2500] {
        socket.send(&question)?;
        let until = Instant::now() + Duration::from_millis(wait);
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut answer) {
                // An answer to an earlier question may come late.
                Ok(got) if answer[..got] == question => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::Error::other(format!("no answer in {:?}", begun.elapsed())))
}
