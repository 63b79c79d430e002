//! Clients that send one byte a second of what must be read first.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::hello::{message, records};
use super::pki::Authority;
use crate::harness::instance::*;

const CLIENTS: usize = 2000;

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

#[test]
fn two_thousand_slow_clients_cost_little_end_in_time_and_disturb_no_other() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    if !can("descriptors for 2,000 clients", limit.maximum.is_none_or(|most| most >= 10_000)) {
        return;
    }
    let ports = [(); 4].map(|()| Port::reserve());
    let [sniffed, headed, ended, plain] = &ports;
    let backend = Backend::named("app");
    let deadline = Duration::from_secs(4);
    let place = Place::with(&text(&ports, &backend));
    Authority::new().pair("app.example").write(&place.folder(), "app");
    let portway = Portway::run(&place.file());
    let mut flow = Flow::open(plain.number);
    let before = resident(&portway);

    let hello = records(&message(Some("app.example"), &[], 1700), &[]);
    let header = b"PROXY TCP4 198.51.100.7 192.0.2.1 1111 443\r\n".to_vec();
    let begin = Instant::now();
    let mut clients: Vec<(TcpStream, &[u8], Instant)> = (0..CLIENTS)
        .map(|n| {
            let (port, bytes) = [(sniffed, &hello), (headed, &header), (ended, &hello)][n % 3];
            (TcpStream::connect(port.local()).unwrap(), bytes.as_slice(), Instant::now())
        })
        .collect();
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    for second in 0..4_u32 {
        for (n, (client, bytes, _)) in clients.iter_mut().enumerate() {
            // It may be reset already, which is seen below.
            drop(client.write_all(&bytes[second as usize..=second as usize]));
            if n % 100 == 0 {
                let sent = Instant::now();
                flow.ping().unwrap();
                assert_eq!(reached(plain.number), "app");
                slowest = slowest.max(sent.elapsed());
            }
        }
        most = most.max(resident(&portway));
        pass((begin + Duration::from_secs(1) * (second + 1)).saturating_duration_since(Instant::now()));
    }
    // Each ends at its own deadline: nobody has sent it a whole hello or header.
    for (n, (mut client, _, opened)) in clients.into_iter().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        if n % 3 == 2 {
            // A handshake that fails has an end, behind an alert where there is one to be given.
            assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
        } else {
            assert!(super::peer::is_reset(client));
        }
        assert!(opened.elapsed() >= deadline - Duration::from_millis(50), "{:?}", opened.elapsed());
    }
    let all = begin.elapsed();
    assert!(all < deadline + Duration::from_secs(6), "all had ended after {all:?}");
    // A connection to another route meanwhile: with this test's own work in it.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let each = (most - before) * 1024 / CLIENTS as u64;
    assert!(each < 8 * 1024, "{each} bytes for each slow client");
    eprintln!("{each} bytes for each slow client, all ended after {all:?}, slowest other one {slowest:?}");
    drop(flow);
    portway.stop();
}
