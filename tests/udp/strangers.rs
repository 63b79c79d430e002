//! S1, S2, S3: a hundred clients that live, and fifty that begin, beside senders whom nobody knows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use super::peers::*;
use crate::harness::instance::*;

const LIVE: u32 = 100;
const NEW: u32 = 50;
/// Few descriptors, so few places: some four hundred.
const DESCRIPTORS: u32 = 2000;
/// How many senders write until a client has had its answer: none of their datagrams is lost for want of room in a socket.
const AT_ONCE: u32 = 100;

/// An address of the loopback network: that of one of many hosts.
fn host(network: u8, number: u32) -> Ipv4Addr {
    let [_, _, a, b] = number.to_be_bytes();
    Ipv4Addr::new(127, network, a, b)
}

/// A proxy with few places, and the clients that it serves.
struct Siege {
    place: Place,
    portway: Portway,
    server: Server,
    ports: Vec<u16>,
    admin: u16,
    live: Vec<Client>,
}

impl Siege {
    /// `answers`: whether the server answers strangers too.
    fn begin(listeners: usize, answers: bool) -> Siege {
        let mut siege = Siege::without_clients(listeners, answers);
        let client = |n: u32| Client::from(host(10, n), siege.ports[n as usize % listeners]);
        siege.live = (0..LIVE).map(client).collect();
        prove(&siege.live);
        siege
    }

    fn without_clients(listeners: usize, answers: bool) -> Siege {
        let answer = move |datagram: &[u8]| match datagram {
            b"stranger" if !answers => Vec::new(),
            datagram => vec![datagram.to_vec()],
        };
        let server = Server::on("127.0.0.1:0", answer);
        let ports: Vec<u16> = (0..listeners).map(|_| free_port()).collect();
        let admin = free_port();
        let place = Place::with(&file(&ports, admin, &server, ""));
        let script =
            format!("ulimit -n {DESCRIPTORS}; exec {PORTWAY} run --config {}", place.file().display());
        let portway = Portway::start(std::process::Command::new("sh").args(["-c", &script]));
        Siege { place, portway, server, ports, admin, live: Vec::new() }
    }

    /// Lets so many senders write. Meanwhile those who live go on, and lose nothing, and others begin.
    fn suffers(&mut self, senders: u32, write: impl Fn(&Flood, u32) + Sync) {
        let flood = Flood { ports: self.ports.clone(), came: AtomicU32::new(0), senders };
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| {
                (0..senders).step_by(AT_ONCE as usize).for_each(|first| {
                    write(&flood, first);
                    flood.came.store(first + AT_ONCE, Ordering::SeqCst);
                });
            });
            let mut newcomers = Newcomers::new(&self.ports);
            let mut turn = 0;
            while !flooding.is_finished() {
                for (n, client) in self.live.iter().enumerate() {
                    // One datagram, one answer: nothing is sent again.
                    let text = format!("live {n} {turn}");
                    assert_eq!(client.says(&text), text);
                }
                newcomers.go_on(flood.part(NEW));
                turn += 1;
            }
            flooding.join().unwrap();
            newcomers.go_on(NEW);
            assert!(
                newcomers.served * 100 >= NEW * 98,
                "{} of {NEW} new clients were served",
                newcomers.served
            );
            assert!(turn >= 3, "the flood was over too soon");
        });
        self.nobody_who_lives_was_made_anew();
        let counted = self.metric("portway_sessions_gave_way_total{reason=\"unproven\"}");
        assert!(counted > f64::from(senders / 2), "{counted} of {senders} gave way");
        assert_eq!(self.metric("portway_sessions_gave_way_total{reason=\"proven\"}"), 0.0);
    }

    fn nobody_who_lives_was_made_anew(&self) {
        let mut ways = std::collections::BTreeMap::<String, Vec<SocketAddr>>::new();
        for (from, datagram) in self.server.heard() {
            let text = String::from_utf8(datagram).unwrap();
            let Some(name) = text.strip_prefix("live ").and_then(|rest| rest.split(' ').next()) else {
                continue;
            };
            let ways = ways.entry(name.to_owned()).or_default();
            if !ways.contains(&from) {
                ways.push(from);
            }
        }
        assert_eq!(ways.len(), LIVE as usize);
        assert!(ways.values().all(|ways| ways.len() == 1), "{ways:?}");
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        let head = format!("Host: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.admin);
        stream.write_all(format!("GET /metrics HTTP/1.1\r\n{head}").as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{page}"));
        line.trim().parse().unwrap()
    }

    fn ends(mut self) {
        let places = self.metric("portway_max_sessions ");
        assert!((300.0..500.0).contains(&places), "{places}");
        assert!(self.metric("portway_open_sessions ") <= places);
        // Said when it begins, and not for each that gives way.
        let said = self.portway.count("every place for UDP sessions is taken");
        assert!((1..=3).contains(&said), "said {said} times");
        assert_eq!(self.portway.count("datagrams were dropped"), 0, "{}", self.portway.log());
        drop(std::mem::take(&mut self.live));
        self.place.save(&file(&self.ports, self.admin, &self.server, "idle_timeout = \"2s\""));
        self.portway.phase("reloaded");
        self.portway.stop();
    }
}

/// A file with a route for each port.
fn file(ports: &[u16], admin: u16, server: &Server, more: &str) -> String {
    let routes = ports.iter().map(|port| {
        let more = format!("on_change = \"cut\"\n{more}");
        udp_route(&format!("udp-{port}"), &format!("127.0.0.1:{port}"), &[server.addr], &more)
    });
    format!("{HEAD}[admin]\nlisten = \"127.0.0.1:{admin}\"\n{}", routes.collect::<String>())
}

/// Those who write without being known.
struct Flood {
    ports: Vec<u16>,
    came: AtomicU32,
    senders: u32,
}

impl Flood {
    /// Which part of `all` the senders have come to.
    fn part(&self, all: u32) -> u32 {
        let came = u64::from(self.came.load(Ordering::SeqCst));
        u32::try_from(u64::from(all) * came / u64::from(self.senders)).unwrap().min(all)
    }

    fn port(&self, sender: u32) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[sender as usize % self.ports.len()]).into()
    }

    /// A group of senders, each with a socket of its own, that write once. Returns once all is read.
    fn write(&self, first: u32, from: impl Fn(u32) -> Ipv4Addr) -> Vec<(u32, UdpSocket)> {
        let senders = first..first + AT_ONCE;
        let sockets = senders.map(|sender| (sender, UdpSocket::bind((from(sender), 0)).unwrap()));
        let sockets: Vec<_> = sockets.collect();
        self.write_again(&sockets);
        sockets
    }

    fn write_again(&self, sockets: &[(u32, UdpSocket)]) {
        for (sender, socket) in sockets {
            socket.send_to(b"stranger", self.port(*sender)).unwrap();
        }
        for port in &self.ports {
            let last = Client::from(host(11, 0), *port);
            assert_eq!(last.ask(b"all is read"), b"all is read");
        }
    }
}

/// Clients that begin during the flood: half of them all at once, each with an address of its own, the others one by one, from
/// one address. None writes anything twice.
struct Newcomers {
    clients: Vec<Client>,
    begun: u32,
    served: u32,
}

impl Newcomers {
    fn new(ports: &[u16]) -> Newcomers {
        let client = |n: u32| {
            let from = if n < NEW / 2 { host(12, n) } else { host(13, 0) };
            Client::from(from, ports[n as usize % ports.len()])
        };
        Newcomers { clients: (0..NEW).map(client).collect(), begun: 0, served: 0 }
    }

    /// Lets the first so many begin.
    fn go_on(&mut self, until: u32) {
        let together = NEW / 2;
        let until = if until < together / 2 { 0 } else { until.max(together) };
        let new = &self.clients[self.begun as usize..until.max(self.begun) as usize];
        new.iter().for_each(|client| client.send(b"new"));
        let answered = new.iter().filter(|client| client.0.recv(&mut [0; 8]).is_ok_and(|length| length == 3));
        self.served += u32::try_from(answered.count()).unwrap();
        self.begun = until.max(self.begun);
        // They go on, as clients do.
        for client in &self.clients[..self.begun as usize] {
            client.send(b"new");
        }
        for client in &self.clients[..self.begun as usize] {
            assert_eq!(client.hear(), b"new");
        }
    }
}

#[test]
fn s1_senders_that_write_twice_without_reading_keep_nobody_out() {
    let mut siege = Siege::begin(1, true);
    siege.suffers(20_000, |flood, first| {
        let sockets = flood.write(first, |sender| host(20 + (sender >> 16) as u8, sender));
        flood.write_again(&sockets);
    });
    siege.ends();
}

#[test]
fn s1_one_address_with_20_000_ports_takes_places_from_itself() {
    let mut siege = Siege::begin(1, true);
    siege.suffers(20_000, |flood, first| {
        flood.write_again(&flood.write(first, |_| host(20, 1)));
    });
    siege.ends();
}

/// Senders that look like clients that live: each writes again and again, and every place is theirs.
#[test]
fn s1_who_has_every_place_and_looks_alive_keeps_newcomers_out_for_no_moment() {
    let siege = Siege::without_clients(1, true);
    let port = siege.ports[0];
    let places = siege.metric("portway_max_sessions ");
    let attackers: Vec<Client> = (0..places as u32).map(|n| Client::from(host(20, n), port)).collect();
    prove(&attackers);
    assert_eq!(siege.metric("portway_open_sessions "), places);
    for n in 0..20 {
        let client = Client::from(host(12, n), port);
        attackers.iter().for_each(|attacker| assert_eq!(attacker.ask(b"hello"), b"hello"));
        for _ in 0..3 {
            assert_eq!(client.ask(b"new"), b"new");
        }
    }
    assert!(siege.metric("portway_sessions_gave_way_total{reason=\"proven\"}") > 0.0);
    drop(attackers);
    siege.ends();
}

#[test]
fn s2_made_up_senders_on_four_listeners_keep_nobody_out() {
    let mut siege = Siege::begin(4, false);
    siege.suffers(20_000, |flood, first| {
        flood.write(first, |sender| host(20 + (sender >> 16) as u8, sender));
    });
    siege.ends();
}

/// A newcomer on a quiet listener takes the place of a stranger on another one.
#[test]
fn s2_the_flood_of_one_listener_gives_way_to_clients_of_others() {
    let mut siege = Siege::begin(4, false);
    let all = siege.ports.clone();
    siege.suffers(20_000, |flood, first| {
        let only = Flood { ports: all[..1].to_vec(), came: AtomicU32::new(0), senders: flood.senders };
        only.write(first, |sender| host(20 + (sender >> 16) as u8, sender));
    });
    siege.ends();
}

#[test]
fn s3_newcomers_take_from_a_flood_that_is_answered_and_not_from_each_other() {
    let mut siege = Siege::begin(1, true);
    siege.suffers(20_000, |flood, first| {
        flood.write(first, |sender| host(20 + (sender >> 16) as u8, sender));
    });
    siege.ends();
}
