//! The floor: the smallest proxy over epoll that ends connections as Portway does. A FIN is passed on for its direction
//! alone, behind the bytes before it; a reset is passed on as a reset. It has one thread, one upstream, and no table,
//! log, count or time limit: what it costs, ordinary system calls cost.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, connect, recv, send,
    socket_with, sockopt,
};

use crate::sys;

/// Marks the listener's events.
const LISTENER: u64 = u64::MAX;
const BUFFER: usize = 64 * 1024;

/// `LISTEN UPSTREAM`: forwards until it is killed.
pub fn run(args: &[String]) -> Result<()> {
    let [listen, upstream] = args else { bail!("floor LISTEN UPSTREAM") };
    let listener = TcpListener::bind(listen.parse::<SocketAddr>()?)?;
    sys::listen_long(&listener)?;
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&listener, true)?;
    let floor = Floor {
        upstream: upstream.parse()?,
        poll: sys::epoll()?,
        pairs: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; BUFFER],
    };
    floor.serve(&listener)
}

/// One side of a connection.
struct Side {
    socket: OwnedFd,
    /// What the socket could not take yet.
    kept: Vec<u8>,
    /// Whether an end of its peer is known to wait behind the bytes: no edge will tell of it again (epoll(7)).
    ends: bool,
    /// Whether its peer's FIN was read.
    ended: bool,
}

/// The client's side and the upstream's.
struct Pair {
    sides: [Side; 2],
    connected: bool,
}

/// Why both sides are closed.
enum Over {
    Ended,
    Reset,
}

struct Floor {
    upstream: SocketAddr,
    poll: OwnedFd,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

impl Floor {
    fn serve(mut self, listener: &TcpListener) -> Result<()> {
        epoll::add(&self.poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let mut events = Vec::with_capacity(512);
        loop {
            sys::wait(&self.poll, &mut events, None)?;
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(listener)?,
                    data => self.stirs(data as usize / 2, data as usize % 2, event.flags)?,
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let client = match accept_with(listener, flags) {
            Ok(client) => client,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        let upstream = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&upstream, true)?;
        match connect(&upstream, &self.upstream) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("connect"),
        }
        let side = |socket| Side { socket, kept: Vec::new(), ends: false, ended: false };
        let pair = Pair { sides: [side(client), side(upstream)], connected: false };
        let at = self.free.pop().unwrap_or(self.pairs.len());
        self.watch(&pair.sides[1].socket, 2 * at + 1)?;
        if at == self.pairs.len() {
            self.pairs.push(None);
        }
        self.pairs[at] = Some(pair);
        Ok(())
    }

    fn watch(&self, socket: impl AsFd, data: usize) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.poll, socket, EventData::new_u64(data as u64), flags).context("epoll_ctl")
    }

    /// An event of one side. It may be late: of a pair that has gone, or whose place another has.
    fn stirs(&mut self, at: usize, from: usize, flags: EventFlags) -> Result<()> {
        let Some(mut pair) = self.pairs.get_mut(at).and_then(Option::take) else { return Ok(()) };
        pair.sides[from].ends |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let over = if pair.connected {
            let written = if flags.contains(EventFlags::OUT) { pair.flush(from) } else { Ok(()) };
            let goes_on = written.and_then(|()| pair.pass_on(from, &mut self.buffer));
            pair.over(goes_on)
        } else if flags.contains(EventFlags::OUT) {
            pair.connected = true;
            self.watch(&pair.sides[0].socket, 2 * at)?;
            let goes_on = pair.pass_on(0, &mut self.buffer);
            pair.over(goes_on)
        } else {
            None
        };
        match over {
            None => self.pairs[at] = Some(pair),
            Some(over) => {
                if matches!(over, Over::Reset) {
                    for side in &pair.sides {
                        sockopt::set_socket_linger(&side.socket, Some(Duration::ZERO))?;
                    }
                }
                self.free.push(at);
            }
        }
        Ok(())
    }
}

impl Pair {
    /// Moves what has come from one side to the other, until there is no more or the other is full.
    fn pass_on(&mut self, from: usize, buffer: &mut [u8]) -> rustix::io::Result<()> {
        let [client, upstream] = &mut self.sides;
        let (source, target) = if from == 0 { (client, upstream) } else { (upstream, client) };
        while target.kept.is_empty() && !source.ended {
            let (_, n) = match recv(&source.socket, &mut *buffer, RecvFlags::empty()) {
                Ok(got) => got,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            if n == 0 {
                source.ended = true;
                // Where both have ended, close says it.
                return if target.ended { Ok(()) } else { shut(target) };
            }
            target.send(&buffer[..n])?;
            // Behind a short read an edge tells of whatever comes next.
            if n < buffer.len() && !source.ends {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One side has room again: sends what was kept for it, and reads on at the other.
    fn flush(&mut self, side: usize) -> rustix::io::Result<()> {
        if self.sides[side].kept.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.sides[side].kept);
        self.sides[side].send(&kept)?;
        if self.sides[side].kept.is_empty() {
            // The edge of what has come meanwhile is gone: read to the end.
            self.sides[1 - side].ends = true;
            return self.pass_on(1 - side, &mut vec![0; BUFFER]);
        }
        Ok(())
    }

    fn over(&self, result: rustix::io::Result<()>) -> Option<Over> {
        match result {
            Err(_) => Some(Over::Reset),
            Ok(()) if self.sides.iter().all(|side| side.ended && side.kept.is_empty()) => Some(Over::Ended),
            Ok(()) => None,
        }
    }
}

impl Side {
    fn send(&mut self, mut bytes: &[u8]) -> rustix::io::Result<()> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.kept.extend_from_slice(bytes);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Passes a FIN on. It is read only where nothing of its direction is kept.
fn shut(target: &Side) -> rustix::io::Result<()> {
    rustix::net::shutdown(&target.socket, rustix::net::Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::thread;

    use super::*;

    /// A floor in front of a listener: client and upstream of one connection.
    fn pair() -> (TcpStream, TcpStream) {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let args = [listen.to_string(), backend.local_addr().unwrap().to_string()];
        thread::spawn(move || run(&args));
        let client = loop {
            match TcpStream::connect(listen) {
                Ok(client) => break client,
                Err(_) => thread::yield_now(),
            }
        };
        (client, backend.accept().unwrap().0)
    }

    #[test]
    fn a_half_close_is_passed_on_alone() {
        let (mut client, mut upstream) = pair();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        upstream.read_to_string(&mut got).unwrap();
        assert_eq!(got, "question");
        // More than all buffers on the way hold.
        let answer = vec![7; 20 << 20];
        let sent = answer.clone();
        let writer = thread::spawn(move || upstream.write_all(&sent));
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        writer.join().unwrap().unwrap();
        assert!(got == answer, "{} bytes", got.len());
    }

    #[test]
    fn a_reset_stays_a_reset() {
        let (client, mut upstream) = pair();
        (&client).write_all(b"x").unwrap();
        upstream.read_exact(&mut [0]).unwrap();
        sys::reset_at_close(&client).unwrap();
        drop(client);
        assert_eq!(upstream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
