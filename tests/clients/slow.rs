//! Clients that send one byte a second of what must be read first.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::peer::is_reset;
use super::pki::Authority;
use crate::harness::hello::{message, records};
use crate::harness::instance::*;

const CLIENTS: usize = 2000;
/// `sniff_timeout`, and that of PROXY headers.
const DEADLINE: Duration = Duration::from_secs(4);

/// Kilobytes of memory that the process holds.
fn resident(portway: &Portway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", portway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A route for each kind of slow client, and one for the others.
fn text([sniffed, headed, ended, plain]: &[Port; 4], backend: &Backend) -> String {
    [
        "[log]\nformat = \"json\"\naccess = \"off\"\n".to_owned(),
        route("sniffed", &sniffed.local(), backend, "sni = \"app.example\"\nsniff_timeout = \"4s\"\n"),
        route(
            "headed",
            &headed.local(),
            backend,
            "proxy_protocol = { accept = true, trusted = \"127.0.0.0/8\", timeout = \"4s\" }\n",
        ),
        route(
            "ended",
            &ended.local(),
            backend,
            "tls = { cert = \"app.pem\", key = \"app.key\" }\nsniff_timeout = \"4s\"\n",
        ),
        route("plain", &plain.local(), backend, ""),
    ]
    .concat()
}

/// A client that sends a byte a second.
struct Slow<'b> {
    stream: TcpStream,
    sends: &'b [u8],
    opened: Instant,
    /// Whether a write has met a reset, which no read meets after that.
    was_reset: bool,
}

impl Slow<'_> {
    /// On a busy machine its time may be over already.
    fn sends(&mut self, byte: usize) {
        if let Err(error) = self.stream.write_all(&self.sends[byte..=byte]) {
            self.was_reset |= error.kind() == ErrorKind::ConnectionReset;
        }
    }

    /// Waits for its end, which is no earlier than its deadline. `shaken`: it began a TLS handshake.
    fn ends(mut self, shaken: bool) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if shaken {
            // One that fails has an end, behind an alert where there is one to be given.
            assert_eq!(self.stream.read(&mut [0; 16]).unwrap(), 0);
        } else {
            assert!(self.was_reset || is_reset(self.stream));
        }
        let lived = self.opened.elapsed();
        assert!(lived >= DEADLINE - Duration::from_millis(50), "{lived:?}");
    }
}

/// How long it took until all slow clients had ended, and the slowest other client meanwhile: with this test's own work in it.
struct Took {
    all: Duration,
    slowest: Duration,
}

/// Sends two thousand slow clients, each of whom ends at its own deadline: nobody has sent it a whole hello or header.
fn crowd([sniffed, headed, ended, plain]: &[Port; 4], portway: &Portway, flow: &mut Flow) -> Took {
    let before = resident(portway);
    let hello = records(&message(Some("app.example"), &[], 1700), &[]);
    let header = b"PROXY TCP4 198.51.100.7 192.0.2.1 1111 443\r\n".to_vec();
    let begin = Instant::now();
    let mut clients: Vec<Slow> = (0..CLIENTS)
        .map(|n| {
            let (port, sends) = [(sniffed, &hello), (headed, &header), (ended, &hello)][n % 3];
            let stream = TcpStream::connect(port.local()).unwrap();
            Slow { stream, sends, opened: Instant::now(), was_reset: false }
        })
        .collect();
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    for second in 0..4_u32 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.sends(second as usize);
            if n % 100 == 0 {
                let sent = Instant::now();
                flow.ping().unwrap();
                assert_eq!(reached(plain.number), "app");
                slowest = slowest.max(sent.elapsed());
            }
        }
        most = most.max(resident(portway));
        pass((begin + Duration::from_secs(1) * (second + 1)).saturating_duration_since(Instant::now()));
    }
    clients.into_iter().enumerate().for_each(|(n, client)| client.ends(n % 3 == 2));
    let each = most.saturating_sub(before) * 1024 / CLIENTS as u64;
    assert!(each < 8 * 1024, "{each} bytes for each slow client");
    Took { all: begin.elapsed(), slowest }
}

#[test]
fn two_thousand_slow_clients_cost_little_end_in_time_and_disturb_no_other() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    if !can("descriptors for 2,000 clients", limit.maximum.is_none_or(|most| most >= 10_000)) {
        return;
    }
    let ports = [(); 4].map(|()| Port::reserve());
    let backend = Backend::named("app");
    let place = Place::with(&text(&ports, &backend));
    Authority::new().pair("app.example").write(&place.folder(), "app");
    let portway = Portway::run(&place.file());
    let mut flow = Flow::open(ports[3].number);
    // A busy machine may be late; but not every time.
    let in_time =
        |took: &Took| took.all < DEADLINE + Duration::from_secs(6) && took.slowest < Duration::from_secs(2);
    let mut tries = std::iter::repeat_with(|| crowd(&ports, &portway, &mut flow)).take(3);
    assert!(tries.any(|took| in_time(&took)), "too late, or too slow");
    drop(tries);
    drop(flow);
    portway.stop();
}
