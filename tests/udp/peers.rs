//! Servers and clients of UDP, and files that lead from one to the other.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::instance::{PATIENCE, Portway};
pub use crate::harness::ports::free_port;

/// What a server has heard, and from whom.
type Heard = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// A server that answers each datagram with some others.
pub struct Server {
    pub addr: SocketAddr,
    pub socket: UdpSocket,
    heard: Heard,
    serving: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Server {
    /// One that sends back what it gets.
    pub fn echo() -> Server {
        Server::on("127.0.0.1:0", |datagram| vec![datagram.to_vec()])
    }

    /// One that says its name before what it got.
    pub fn named(name: &'static str) -> Server {
        Server::on("127.0.0.1:0", move |datagram| vec![[name.as_bytes(), b" ", datagram].concat()])
    }

    /// One that never answers.
    pub fn silent() -> Server {
        Server::on("127.0.0.1:0", |_| Vec::new())
    }

    pub fn on(addr: &str, answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Server {
        let socket = UdpSocket::bind(addr).unwrap();
        let (addr, heard, stop) =
            (socket.local_addr().unwrap(), Heard::default(), Arc::new(AtomicBool::new(false)));
        let (own, to, stopped) = (socket.try_clone().unwrap(), heard.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            loop {
                let received = own.recv_from(&mut buffer);
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok((length, from)) = received else { continue };
                to.lock().unwrap().push((from, buffer[..length].to_vec()));
                for answer in answers(&buffer[..length]) {
                    // A client that is gone shows in the test.
                    drop(own.send_to(&answer, from));
                }
            }
        });
        Server { addr, socket, heard, serving: Some((stop, thread)) }
    }

    /// What it has heard so far.
    pub fn heard(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.heard.lock().unwrap().clone()
    }

    /// The ways by which a datagram has come.
    pub fn sources_of(&self, datagram: &[u8]) -> Vec<SocketAddr> {
        let mut sources: Vec<_> =
            self.heard().into_iter().filter(|(_, d)| d == datagram).map(|(from, _)| from).collect();
        sources.sort();
        sources.dedup();
        sources
    }

    /// Closes its port: from now on it refuses.
    pub fn close(mut self) -> SocketAddr {
        self.stop();
        self.addr
    }

    fn stop(&mut self) {
        let Some((stop, thread)) = self.serving.take() else { return };
        stop.store(true, Ordering::SeqCst);
        // By its own socket, which may be in a namespace.
        self.socket.send_to(b"wake", self.addr).unwrap();
        let ended = thread.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server's thread panicked");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port on which nothing listens.
pub fn closed_port() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

/// A client with a socket of its own.
pub struct Client(pub UdpSocket);

impl Client {
    pub fn of(port: u16) -> Client {
        Client::at(&format!("127.0.0.1:{port}"))
    }

    pub fn at(addr: &str) -> Client {
        let addr: SocketAddr = addr.parse().unwrap();
        let socket = UdpSocket::bind(if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        // Answers of any other address do not arrive.
        socket.connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(socket)
    }

    /// One with this address, of the loopback network.
    pub fn from(from: Ipv4Addr, port: u16) -> Client {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(socket)
    }

    pub fn send(&self, datagram: &[u8]) {
        self.0.send(datagram).unwrap();
    }

    pub fn hear(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("no answer: {error}"));
        buffer.truncate(length);
        buffer
    }

    pub fn ask(&self, datagram: &[u8]) -> Vec<u8> {
        self.send(datagram);
        self.hear()
    }

    pub fn says(&self, text: &str) -> String {
        String::from_utf8(self.ask(text.as_bytes())).unwrap()
    }

    /// Whether nothing comes for a while.
    pub fn hears_nothing(&self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let heard = self.0.recv(&mut [0; 16]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// Lets clients go on for as long as it takes to show that they hear the proxy.
pub fn prove(clients: &[Client]) {
    let all = || clients.iter().for_each(|client| assert_eq!(client.ask(b"hello"), b"hello"));
    all();
    let begun = Instant::now();
    for turn in 1.. {
        let is_last = turn >= 3 && begun.elapsed() > Duration::from_millis(600);
        all();
        if is_last {
            return;
        }
    }
}

/// The head of every file: phases and records as JSON.
pub const LOGGED: &str = "[log]\nformat = \"json\"\naccess = \"stderr\"\n";

/// A UDP route; `more` is further lines.
pub fn udp_route(name: &str, listen: &str, upstreams: &[SocketAddr], more: &str) -> String {
    let upstreams: Vec<String> = upstreams.iter().map(|addr| format!("\"{addr}\"")).collect();
    format!(
        "[[route]]\nname = \"{name}\"\nprotocol = \"udp\"\nlisten = \"{listen}\"\nupstream = [{}]\n{more}\n",
        upstreams.join(", ")
    )
}

/// A file with one route on the loopback address.
pub fn one(port: u16, upstreams: &[SocketAddr], more: &str) -> String {
    format!("{LOGGED}{}", udp_route("udp", &format!("127.0.0.1:{port}"), upstreams, more))
}

/// The sessions that have ended so far, at least so many: waits for them.
pub fn records(portway: &mut Portway, least: usize) -> Vec<Value> {
    let ended = |portway: &mut Portway| -> Vec<Value> {
        portway.catch_up();
        portway.seen.iter().filter(|line| line.get("outcome").is_some()).cloned().collect()
    };
    portway.until("the sessions are in the access log", |portway| ended(portway).len() >= least);
    ended(portway)
}
