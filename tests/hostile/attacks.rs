//! The table of attacks.

use std::io::Write;
use std::time::Duration;

use super::Stop;
use super::crowd::{self, From, MOST, connect};
use super::hello;
use super::raw::{self, Flood};
use super::target::{ADMIN, HOLD, PROXY, SNI, TCP, TLS, UDP};
use crate::harness::pass;

/// One attack.
pub struct Attack {
    /// With the ids of the rows of FAULTS that it stands for.
    pub name: &'static str,
    /// Attacks until it is time to stop. Runs inside of the proxy's network.
    pub run: fn(&Stop),
    /// How many MiB more the proxy may have meanwhile.
    pub memory: u64,
    /// The kinds of honest clients that are not judged.
    pub but: &'static str,
    /// More comes than the kernel's queue holds: a client of UDP may have to send again, a second later.
    pub overflows: bool,
}

const fn row(name: &'static str, run: fn(&Stop), memory: u64) -> Attack {
    Attack { name, run, memory, but: "none", overflows: false }
}

impl Attack {
    /// Without this kind of honest clients.
    const fn but(self, but: &'static str) -> Attack {
        Attack { but, ..self }
    }

    const fn overflowing(self) -> Attack {
        Attack { overflows: true, ..self }
    }
}

pub const ATTACKS: &[Attack] = &[
    row("s4 silent clients of one address, where the name chooses", |stop| silent(stop, SNI, From::One), 32),
    row(
        "s4 silent clients of many addresses, where the name chooses",
        |stop| silent(stop, SNI, From::Many),
        32,
    ),
    row("silent clients where TLS ends", |stop| silent(stop, TLS, From::Many), 48),
    row("hellos that come byte by byte", slow_hellos, 32),
    row("s5 hellos that do not end", endless_hellos, 96),
    row("PROXY headers that stop at every stage", slow_headers, 32),
    row("handshakes that stop after the hello", handshakes, 96),
    row("clients that send and never read", |stop| crowd::never_read(stop, TCP), 64),
    row("clients that reset at once", |stop| crowd::reset(stop, TCP), 32),
    row("clients that reset at once, where the name chooses", |stop| crowd::reset(stop, SNI), 32),
    row("half-open connections", |stop| raw::half_open(stop, TCP), 16),
    row("s11 idle connections of one address", idle, 48),
    row("one-byte segments", |stop| crowd::one_byte(stop, TCP, false), 32),
    row("urgent bytes", |stop| crowd::one_byte(stop, TCP, true), 32),
    row("s10 ended clients that wait for an upstream", |stop| crowd::fins(stop, HOLD), 32),
    row("s1 made-up senders", |stop| flood(stop, 1, false, 1), 48),
    row("s1 made-up senders who send twice", |stop| flood(stop, 1, false, 2), 48),
    row("s1 one address with 20,000 ports", |stop| flood(stop, 1, true, 2), 48),
    // What the kernel loses of UDP is lost; connections must not notice.
    row("datagrams, more than can be read", overflow, 48).but("udp"),
    row("s2 four flooded listeners at once", |stop| flood(stop, 4, false, 1), 48),
    row("empty and oversized datagrams", |stop| raw::sizes(stop, UDP[1], false), 32),
    row("batches of datagrams (UDP_SEGMENT)", |stop| raw::sizes(stop, UDP[1], true), 32).overflowing(),
    row("ICMP errors that somebody makes up", |stop| raw::errors(stop, TCP, UDP[0]), 16),
    row("s6 silent clients of the admin endpoint", |stop| silent(stop, ADMIN, From::One), 8),
    row("s6 answers that nobody reads", slow_reads, 8),
    row("s13 smuggled requests", smuggled, 8),
];

fn silent(stop: &Stop, port: u16, from: From) {
    crowd::hold(stop, port, from, MOST, |_| (Vec::new(), Vec::new()));
}

/// Each stops at another place: within the record's header, the message's, the random, the name.
fn slow_hellos(stop: &Stop) {
    let hello = hello::whole("panel.example");
    crowd::hold(stop, SNI, From::Many, MOST, |number| {
        let at = [0, 1, 3, 5, 6, 9, 11, 43, 60, 100][number as usize % 10];
        (hello[..at].to_vec(), hello[at..hello.len() - 1].to_vec())
    });
}

fn endless_hellos(stop: &Stop) {
    let hello = hello::endless();
    crowd::hold(stop, SNI, From::Many, MOST, |_| (hello.clone(), Vec::new()));
}

fn slow_headers(stop: &Stop) {
    let first = b"PROXY TCP4 127.77.0.1 127.0.0.1 4000 7004\r\n".as_slice();
    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xf0".as_slice();
    crowd::hold(stop, PROXY, From::Many, MOST, |number| {
        let header = if number.is_multiple_of(2) { first } else { second };
        let at = number as usize / 2 % header.len();
        (header[..at].to_vec(), header[at..header.len() - 1].to_vec())
    });
}

fn handshakes(stop: &Stop) {
    let hello = super::panel::first_flight();
    crowd::hold(stop, TLS, From::Many, MOST, |_| (hello.clone(), Vec::new()));
}

fn idle(stop: &Stop) {
    crowd::hold(stop, TCP, From::One, MOST, |_| (b"hello".to_vec(), Vec::new()));
}

fn flood(stop: &Stop, ports: usize, one: bool, times: u32) {
    raw::flood(stop, Flood { ports: &UDP[..ports], one, times, overflows: false });
}

fn overflow(stop: &Stop) {
    raw::flood(stop, Flood { ports: &UDP[..1], one: false, times: 1, overflows: true });
}

/// Requests one behind the other, and no answer is read.
fn slow_reads(stop: &Stop) {
    let requests = b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(150);
    crowd::hold(stop, ADMIN, From::One, 64, |_| (requests.clone(), Vec::new()));
}

/// Requests on whose end two parsers may not agree, and texts that are made to be expensive.
fn smuggled(stop: &Stop) {
    let lists = format!("a = {}", "[".repeat(30_000));
    let pattern = format!(
        "[[route]]\nlisten = \"1\"\nhealth = {{ expect = \"regex:{}\" }}",
        "(a{1,9}){1,9}".repeat(400)
    );
    let post = |body: &str| {
        format!("POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let requests = [
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\nffffffffffffffff\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\nHost: x\n\nGET /v1/kill HTTP/1.1\n\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(2000)),
        post(&lists),
        post(&pattern),
    ];
    let mut number = 0;
    while !stop.now() {
        number += 1;
        let Some(mut stream) = connect(From::Many.address(number), ADMIN) else { continue };
        drop(stream.write(requests[number as usize % requests.len()].as_bytes()));
        pass(Duration::from_millis(2));
    }
}
