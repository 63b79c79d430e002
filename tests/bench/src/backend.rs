//! The backend: one thread echoes, bulk connections get a thread each. It ends when its standard input does, and
//! with an error when a byte was wrong.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::sys;
use crate::wire::{self, Pattern};

/// Marks the listener's events.
const LISTENER: u64 = u64::MAX;
/// Time without one byte after which a bulk connection is taken for stuck.
const STUCK: Duration = Duration::from_secs(30);

/// One connection that is echoed, or has said nothing yet.
struct Echo {
    stream: TcpStream,
    began: bool,
}

/// Prints the address it listens on as one line, and serves until standard input ends.
pub fn run() -> Result<()> {
    let (listener, datagrams) = sockets()?;
    sys::listen_long(&listener)?;
    listener.set_nonblocking(true)?;
    sys::large_buffer(&datagrams)?;
    thread::spawn(move || {
        let served = serve_datagrams(&datagrams);
        eprintln!("backend: {served:?}");
        exit(1);
    });
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        exit(0);
    });
    Backend { pattern: Arc::new(Pattern::new()), poll: sys::epoll()?, echoes: Vec::new() }.serve(&listener)
}

/// Where services have their ports: below the range that the kernel gives to sockets that connect (32768 up).
const PORTS: std::ops::Range<u32> = 3_000..10_000;

/// One port for both, another one in each process: no TIME-WAIT of an earlier run refers to it.
fn sockets() -> Result<(TcpListener, UdpSocket)> {
    let count = PORTS.end - PORTS.start;
    let first = std::process::id() % count;
    for turn in 0..count {
        let port = u16::try_from(PORTS.start + (first + turn) % count)?;
        let bound = TcpListener::bind(("127.0.0.1", port))
            .and_then(|listener| Ok((listener, UdpSocket::bind(("127.0.0.1", port))?)));
        match bound {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.context("the backend cannot listen"),
        }
    }
    bail!("no port below 10,000 is free")
}

/// Echoes and counts datagrams. Returns with an error only: one was not what was sent.
fn serve_datagrams(socket: &UdpSocket) -> Result<()> {
    let pattern = Pattern::new();
    let (mut buffer, mut expected) = (vec![0; 64 * 1024], Vec::new());
    let mut counts: HashMap<SocketAddr, (u64, u64)> = HashMap::new();
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let datagram = &buffer[..length];
        let answer = match datagram.first() {
            Some(&wire::ONE_WAY) => {
                let (count, next) = counts.entry(from).or_default();
                let number = wire::number_of(datagram).context("a datagram without a number")?;
                expected.resize(length, 0);
                wire::message(&mut expected, 0, number, &pattern);
                ensure!(datagram[1..] == expected[1..], "datagram {number} was changed on its way");
                ensure!(number >= *next, "datagram {number} came after {next}");
                (*count, *next) = (*count + 1, number);
                continue;
            }
            Some(&wire::HOW_MANY) => {
                let (count, _) = counts.get(&from).copied().unwrap_or_default();
                socket.send_to(&count.to_le_bytes(), from)
            }
            _ => socket.send_to(datagram, from),
        };
        // A client that has gone refuses; its datagrams are counted as lost there.
        let _ = answer;
    }
}

struct Backend {
    pattern: Arc<Pattern>,
    poll: rustix::fd::OwnedFd,
    /// By descriptor: small numbers, used again after a close.
    echoes: Vec<Option<Echo>>,
}

impl Backend {
    fn serve(&mut self, listener: &TcpListener) -> Result<()> {
        epoll::add(&self.poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let mut events = Vec::with_capacity(1024);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            sys::wait(&self.poll, &mut events, None)?;
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(listener)?,
                    at => self.readable(at as usize, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let at = stream.as_raw_fd() as usize;
                    epoll::add(&self.poll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
                    if self.echoes.len() <= at {
                        self.echoes.resize_with(at + 1, || None);
                    }
                    self.echoes[at] = Some(Echo { stream, began: false });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // The client has gone already.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error).context("the backend cannot accept"),
            }
        }
    }

    /// An error here is the load's to report: it sees its connection end.
    fn readable(&mut self, at: usize, buffer: &mut [u8]) {
        let Some(echo) = self.echoes.get_mut(at).and_then(Option::as_mut) else { return };
        let n = match sys::recv(&echo.stream, buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok(0) | Err(_) => {
                self.echoes[at] = None;
                return;
            }
            Ok(n) => n,
        };
        let mut bytes = &buffer[..n];
        if !echo.began {
            bytes = bytes.get(wire::proxy_header(bytes)..).unwrap_or_default();
            bytes = if bytes.first() == Some(&wire::HELLO) { &[wire::ECHO] } else { bytes };
        }
        let Some(first) = bytes.first() else { return };
        if !echo.began && *first != wire::ECHO {
            let _ = epoll::delete(&self.poll, &echo.stream);
            if let Some(echo) = self.echoes[at].take() {
                self.bulk(echo.stream, bytes.to_vec());
            }
            return;
        }
        echo.began = true;
        if sys::send_all(&echo.stream, bytes).is_err() {
            self.echoes[at] = None;
        }
    }

    fn bulk(&self, stream: TcpStream, first: Vec<u8>) {
        let pattern = Arc::clone(&self.pattern);
        thread::spawn(move || {
            sys::be_nice();
            let served =
                sys::blocking(&stream, STUCK).and_then(|()| wire::serve_bulk(&stream, &first, &pattern));
            if let Err(error) = served {
                eprintln!("backend: {error:#}");
                exit(1);
            }
        });
    }
}
