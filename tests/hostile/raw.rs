//! Packets whose sender is made up (raw(7), ip(7)). Need root, and a network of the test's own.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Stop;
use super::target::{ECHO, at};
use crate::harness::pass;

/// IPPROTO_RAW: the packet brings its IP header, of which the kernel fills in length and checksum.
const RAW: i32 = 255;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Sends packets.
pub struct Raw(Socket);

impl Raw {
    pub fn open() -> Raw {
        Raw(Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).unwrap())
    }

    fn send(&self, kind: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) {
        let packet = ip(kind, from, to, payload);
        // A full queue loses packets, as a wire does.
        drop(self.0.send_to(&packet, &SocketAddr::from((to, 0)).into()));
    }

    pub fn datagram(&self, from: SocketAddrV4, port: u16, payload: &[u8]) {
        let packet = udp(from.port(), port, payload);
        self.send(UDP, *from.ip(), Ipv4Addr::LOCALHOST, &packet);
    }

    /// The first segment of a connection that nobody means.
    pub fn syn(&self, from: SocketAddrV4, to: SocketAddrV4, sequence: u32) {
        let mut segment = [
            from.port().to_be_bytes().as_slice(),
            &to.port().to_be_bytes(),
            &sequence.to_be_bytes(),
            &[0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0],
        ]
        .concat();
        let pseudo = [from.ip().octets().as_slice(), &to.ip().octets(), &[0, TCP, 0, 20], &segment].concat();
        segment[16..18].copy_from_slice(&checksum(&pseudo));
        self.send(TCP, *from.ip(), *to.ip(), &segment);
    }

    /// "Port unreachable" about a packet that was never sent.
    pub fn unreachable(&self, kind: u8, about: [SocketAddrV4; 2]) {
        let [from, to] = about;
        let first = match kind {
            TCP => [&from.port().to_be_bytes()[..], &to.port().to_be_bytes(), &[0; 4]].concat(),
            _ => udp(from.port(), to.port(), b""),
        };
        let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
        message.extend(ip(kind, *from.ip(), *to.ip(), &first));
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        self.send(ICMP, *to.ip(), *from.ip(), &message);
    }
}

fn ip(kind: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, kind, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    // Over IPv4 the checksum may be left out.
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0], payload].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// An address of 127.66/16 and a port, or with `one` the same address and ports from 1024 on.
fn sender(number: u32, one: bool) -> SocketAddrV4 {
    let [_, _, high, low] = number.to_be_bytes();
    match one {
        true => {
            SocketAddrV4::new(Ipv4Addr::new(127, 66, 0, 1), u16::try_from(1024 + number % 20_000).unwrap())
        }
        false => SocketAddrV4::new(Ipv4Addr::new(127, 66, high, low), 4000),
    }
}

/// What a flood of datagrams is like.
#[derive(Clone, Copy)]
pub struct Flood<'a> {
    pub ports: &'a [u16],
    /// Whether all come from one address.
    pub one: bool,
    /// How many each sender sends in a row.
    pub times: u32,
    /// Whether more are sent than the proxy reads.
    pub overflows: bool,
}

/// Datagrams of senders who never read.
pub fn flood(stop: &Stop, flood: Flood<'_>) {
    let raw = Raw::open();
    for number in 0_u32.. {
        if stop.now() {
            return;
        }
        for port in flood.ports {
            for _ in 0..flood.times {
                raw.datagram(sender(number, flood.one), *port, b"flood");
            }
        }
        // With more than the proxy reads, or its upstream, the kernel loses the honest ones beside them.
        if number.is_multiple_of(32) {
            while !flood.overflows && !stop.now() && waits(flood.ports) {
                pass(Duration::from_millis(1));
            }
        }
    }
}

/// Whether datagrams wait in the listeners of these ports, or in their upstream.
fn waits(ports: &[u16]) -> bool {
    // Of this thread's network.
    let sockets = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    sockets.lines().skip(1).any(|socket| {
        let fields: Vec<&str> = socket.split_whitespace().collect();
        let port = fields[1].rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
        let waiting = fields[4].rsplit(':').next().and_then(|bytes| u32::from_str_radix(bytes, 16).ok());
        port.is_some_and(|port| port == ECHO || ports.contains(&port)) && waiting > Some(0)
    })
}

/// Half-open connections.
pub fn half_open(stop: &Stop, port: u16) {
    let raw = Raw::open();
    for number in 0_u32.. {
        if stop.now() {
            return;
        }
        let [_, _, high, low] = number.to_be_bytes();
        let from = SocketAddrV4::new(
            Ipv4Addr::new(10, 9, high, low),
            u16::try_from(1024 + number % 50_000).unwrap(),
        );
        raw.syn(from, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), number.wrapping_mul(2_654_435_761));
    }
}

/// Errors that somebody makes up about what the proxy has sent to its clients, from each of its ports.
pub fn errors(stop: &Stop, tcp: u16, datagrams: u16) {
    let raw = Raw::open();
    for number in 0_u32.. {
        if stop.now() {
            return;
        }
        let [.., high, low] = (number % 60_000).to_be_bytes();
        let client = Ipv4Addr::new(127, 1, high, low.max(1));
        let port = u16::try_from(32_768 + number % 28_000).unwrap();
        let about = |own| [SocketAddrV4::new(Ipv4Addr::LOCALHOST, own), SocketAddrV4::new(client, port)];
        raw.unreachable(UDP, about(datagrams));
        raw.unreachable(TCP, about(tcp));
    }
}

/// Datagrams of every size, empty ones too, and many in one call (UDP_SEGMENT).
pub fn sizes(stop: &Stop, port: u16, batches: bool) {
    let socket = UdpSocket::bind("127.66.0.9:0").unwrap();
    socket.connect(at(port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let state = quinn_udp::UdpSocketState::new((&socket).into()).unwrap();
    let block = vec![b'x'; 65_507];
    let mut buffer = vec![0; 1 << 16];
    for number in 0_usize.. {
        if stop.now() {
            return;
        }
        if batches {
            let transmit = quinn_udp::Transmit {
                destination: at(port),
                ecn: None,
                contents: &block[..64 * 1000],
                segment_size: Some(1000),
                src_ip: None,
            };
            drop(state.try_send((&socket).into(), &transmit));
        } else {
            let size = [0, 1, 1472, 1473, 9000, 65_507][number % 6];
            drop(socket.send(&block[..size]));
        }
        // It reads now and then.
        if number.is_multiple_of(8) {
            drop(socket.recv(&mut buffer));
        }
        std::thread::yield_now();
    }
}
