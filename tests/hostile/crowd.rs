//! Attackers over TCP: many connections that are held, each with what it has begun to say.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::Stop;
use super::target::at;
use crate::harness::pass;

/// Where the connections of a crowd come from.
#[derive(Clone, Copy)]
pub enum From {
    /// All from 127.66.0.1.
    One,
    /// Each from another address of 127.66/16.
    Many,
}

impl From {
    pub fn address(self, number: u32) -> SocketAddr {
        let [.., high, low] = match self {
            From::One => 1_u32,
            From::Many => number % 60_000,
        }
        .to_be_bytes();
        ([127, 66, high, low.max(1)], 0).into()
    }
}

/// So many connections are held.
pub const MOST: usize = 1500;

static CAME: AtomicU64 = AtomicU64::new(0);

/// How many attackers have connected so far.
pub fn came() -> u64 {
    CAME.load(Ordering::Relaxed)
}

pub fn connect(from: SocketAddr, port: u16) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&from.into()).ok()?;
    socket.connect_timeout(&at(port).into(), Duration::from_millis(200)).ok()?;
    socket.set_nonblocking(true).ok()?;
    CAME.fetch_add(1, Ordering::Relaxed);
    Some(socket.into())
}

/// Holds a crowd at a port. `says`: what a connection says at once, and what it says byte by byte.
pub fn hold(stop: &Stop, port: u16, from: From, most: usize, says: impl Fn(u32) -> (Vec<u8>, Vec<u8>)) {
    let mut held: VecDeque<(TcpStream, VecDeque<u8>)> = VecDeque::new();
    let mut number = 0;
    while !stop.now() {
        for _ in 0..50 {
            if held.len() >= most {
                break;
            }
            number += 1;
            let Some(mut stream) = connect(from.address(number), port) else { break };
            let (first, later) = says(number);
            // What does not fit is not said.
            drop(stream.write(&first));
            held.push_back((stream, later.into()));
        }
        held.retain_mut(|(stream, later)| {
            if let Some(byte) = later.pop_front() {
                drop(stream.write(&[byte]));
            }
            // Whoever was turned away makes room for another.
            !matches!(stream.peek(&mut [0]), Ok(0) | Err(_))
                || stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        pass(Duration::from_millis(20));
    }
}

/// Sends as long as somebody takes it, and reads nothing.
pub fn never_read(stop: &Stop, port: u16) {
    let block = vec![b'x'; 64 * 1024];
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.now() {
        let number = u32::try_from(held.len()).unwrap_or_default();
        if held.len() < 300 {
            held.extend(connect(From::Many.address(1 + number % 10), port));
        }
        for stream in &mut held {
            drop(stream.write(&block));
        }
        pass(Duration::from_millis(2));
    }
}

/// Connects, and resets at once.
pub fn reset(stop: &Stop, port: u16) {
    let mut number = 0;
    while !stop.now() {
        number += 1;
        if let Some(stream) = connect(From::Many.address(number), port) {
            drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
        }
        // Some 2,000 a second: the debug build of a busy machine takes not many more.
        if number.is_multiple_of(4) {
            pass(Duration::from_millis(2));
        }
    }
}

/// Small segments, each by itself; `urgent`: each marked so.
pub fn one_byte(stop: &Stop, port: u16, urgent: bool) {
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.now() {
        if held.len() < 50 {
            let number = u32::try_from(held.len()).unwrap_or_default();
            if let Some(stream) = connect(From::Many.address(1 + number), port) {
                drop(stream.set_nodelay(true));
                held.push(stream);
            }
        }
        for stream in &mut held {
            drop(match urgent {
                true => SockRef::from(&*stream).send_out_of_band(b"!"),
                false => stream.write(b"!"),
            });
            drop(stream.read(&mut [0; 256]));
        }
    }
}

/// Connects, ends its side, and waits for nothing.
pub fn fins(stop: &Stop, port: u16) {
    let mut held = VecDeque::new();
    let mut number = 0;
    while !stop.now() {
        number += 1;
        if let Some(stream) = connect(From::One.address(number), port) {
            drop(stream.shutdown(std::net::Shutdown::Write));
            held.push_back(stream);
        } else {
            pass(Duration::from_millis(5));
        }
        if held.len() > MOST {
            held.pop_front();
        }
    }
}
