//! One end of a connection: a client or a server that does as it is told, and checks every byte it gets.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Socket, TcpKeepalive};

use super::pattern::{Chunk, Pattern};
use super::tls::Tls;
use super::{PATIENCE, pass};

/// One end.
pub struct Peer {
    /// Its socket, blocking, with [`PATIENCE`] as its patience.
    pub socket: Socket,
    tls: Option<Tls>,
    sends: Pattern,
    expects: Pattern,
    /// The size of its writes.
    pub chunk: Chunk,
}

/// How the other side's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With FIN, after so many bytes in all.
    Fin(u64),
    /// With a reset, after so many bytes in all.
    Reset(u64),
}

impl Peer {
    /// The end that connected.
    pub fn client(socket: Socket) -> Self {
        Peer::new(socket, Pattern::up(), Pattern::down())
    }

    /// The end that accepted.
    pub fn server(socket: Socket) -> Self {
        Peer::new(socket, Pattern::down(), Pattern::up())
    }

    fn new(socket: Socket, sends: Pattern, expects: Pattern) -> Self {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        if !socket.local_addr().unwrap().is_unix() {
            socket.set_tcp_nodelay(true).unwrap();
        }
        Peer { socket, tls: None, sends, expects, chunk: Chunk::Of(65_536) }
    }

    /// Speaks TLS from now on.
    pub fn over(mut self, begin: impl FnOnce(&Socket) -> std::io::Result<Tls>) -> std::io::Result<Self> {
        self.tls = Some(begin(&self.socket)?);
        Ok(self)
    }

    fn read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
        match &self.tls {
            None => (&self.socket).read(buf),
            Some(tls) => tls.read(&self.socket, buf),
        }
    }

    /// Sends `n` bytes, in writes of `chunk`.
    #[track_caller]
    pub fn send(&mut self, n: u64) {
        let mut left = n;
        let mut sizes = self.chunk.sizes();
        while left > 0 {
            let want = sizes.next().unwrap().min(usize::try_from(left).unwrap_or(usize::MAX));
            let wrote = self.write_some(want).expect("send");
            left -= wrote as u64;
        }
    }

    /// Sends `n` bytes, or as many as the other side takes before it resets. Returns how many.
    pub fn send_if_taken(&mut self, n: u64) -> u64 {
        let mut sent = 0;
        while sent < n {
            match self.write_some(65_000.min((n - sent) as usize)) {
                Ok(wrote) => sent += wrote as u64,
                Err(_) => break,
            }
        }
        sent
    }

    fn write_some(&mut self, n: usize) -> std::io::Result<usize> {
        let wrote = match &self.tls {
            None => (&self.socket).write(self.sends.peek(n))?,
            Some(tls) => tls.write(&self.socket, self.sends.peek(n))?,
        };
        self.sends.advance(wrote);
        Ok(wrote)
    }

    /// Writes what the kernel takes until it has taken nothing for a while, at most `limit` bytes. Returns how many.
    pub fn push_until_blocked(&mut self, limit: u64) -> u64 {
        push_until_blocked(&mut [self], limit)[0]
    }

    /// Writes at most `n` bytes, if that can be done without waiting. Returns how many. For a non-blocking socket.
    pub fn write_now(&mut self, n: usize) -> u64 {
        // A reset shows when the other direction is read.
        self.write_some(n).map_or(0, |wrote| wrote as u64)
    }

    /// Reads at most `n` bytes, if that can be done without waiting; the end, if it has come. For a non-blocking socket.
    pub fn read_now(&mut self, n: usize) -> Option<End> {
        let mut buf = vec![0; n];
        match self.read(&mut buf) {
            Ok(0) => Some(End::Fin(self.expects.position())),
            Ok(n) => {
                self.expects.expect(&buf[..n]);
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Some(End::Reset(self.expects.position()))
            }
            Err(error) => panic!("receive: {error}"),
        }
    }

    /// Receives exactly `n` bytes.
    #[track_caller]
    pub fn receive(&mut self, n: u64) {
        let mut buf = vec![0; 65_536];
        let mut left = n;
        while left > 0 {
            let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.read(&mut buf[..want]).expect("receive");
            assert!(got > 0, "an end after {} bytes, {left} too early", self.expects.position());
            self.expects.expect(&buf[..got]);
            left -= got as u64;
        }
    }

    /// Receives one byte. Whether it came, before an end or a reset.
    #[track_caller]
    pub fn receives_one(&mut self) -> bool {
        let mut byte = [0];
        match self.read(&mut byte) {
            Ok(got) => {
                self.expects.expect(&byte[..got]);
                got == 1
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("receive: {error}"),
        }
    }

    /// Receives until the end.
    #[track_caller]
    pub fn receive_all(&mut self) -> End {
        self.receive_slowly(65_536, Duration::ZERO)
    }

    /// Receives until the end, `piece` bytes at a time, with a pause after each.
    #[track_caller]
    pub fn receive_slowly(&mut self, piece: usize, pause: Duration) -> End {
        let mut buf = vec![0; piece];
        loop {
            match self.read(&mut buf) {
                Ok(0) => return End::Fin(self.expects.position()),
                Ok(n) => self.expects.expect(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return End::Reset(self.expects.position());
                }
                Err(error) => panic!("receive, after {} bytes: {error}", self.expects.position()),
            }
            if !pause.is_zero() {
                pass(pause);
            }
        }
    }

    /// Whether nothing has come: no byte, no end.
    pub fn has_nothing(&self) -> bool {
        if let Some(tls) = &self.tls {
            return tls.has_nothing(&self.socket);
        }
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut [MaybeUninit::uninit(); 1]);
        self.socket.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends FIN.
    pub fn fin(&self) {
        if let Some(tls) = &self.tls {
            return tls.fin(&self.socket);
        }
        self.socket.shutdown(Shutdown::Write).expect("FIN");
    }

    /// Sends FIN, if the connection is still there.
    pub fn end(&self) {
        match &self.tls {
            Some(tls) => tls.fin(&self.socket),
            None => drop(self.socket.shutdown(Shutdown::Write)),
        }
    }

    /// Sends `n` bytes (one write) and FIN so that both leave in one segment.
    pub fn send_with_fin(&mut self, n: usize) {
        if !self.socket.local_addr().unwrap().is_unix() {
            self.socket.set_tcp_cork(true).unwrap();
        }
        assert_eq!(self.write_some(n).unwrap(), n);
        self.fin();
    }

    /// Sends RST.
    pub fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(self.socket);
    }

    /// A second handle of this end, to send through while this one receives.
    pub fn twin(&self) -> Peer {
        let socket = self.socket.try_clone().unwrap();
        Peer {
            socket,
            tls: self.tls.clone(),
            sends: self.sends.clone(),
            expects: self.expects.clone(),
            chunk: self.chunk,
        }
    }

    /// How many bytes its kernel holds unread.
    pub fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.socket).unwrap()
    }

    /// How many of the bytes that it sent the other kernel has not acknowledged.
    #[allow(unsafe_code, reason = "no kept crate wraps SIOCOUTQ")]
    pub fn unacknowledged(&self) -> i32 {
        if self.tls.as_ref().is_some_and(|tls| !tls.is_flushed(&self.socket)) {
            return i32::MAX;
        }
        if self.socket.local_addr().unwrap().is_unix() {
            return 0;
        }
        let mut held = 0_i32;
        // SAFETY: the request writes one C int.
        let asked = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut held) };
        assert_eq!(asked, 0);
        held
    }

    /// Makes its kernel forget it one second after its close, not 60 (`tcp_fin_timeout`), as long as the other side
    /// has not sent FIN.
    #[allow(unsafe_code, reason = "no kept crate sets TCP_LINGER2")]
    pub fn forgotten_after_a_second(&self) {
        if self.socket.local_addr().unwrap().is_unix() {
            return;
        }
        let (fd, second, size) = (self.socket.as_raw_fd(), 1_i32, size_of::<i32>() as u32);
        // SAFETY: the kernel reads one C int.
        let set = unsafe {
            libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_LINGER2, (&raw const second).cast(), size)
        };
        assert_eq!(set, 0);
    }

    /// Probes after a second of silence, every second, five times.
    pub fn keepalive(&self) {
        if self.socket.local_addr().unwrap().is_unix() {
            return;
        }
        let second = Duration::from_secs(1);
        let probes = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(5);
        self.socket.set_tcp_keepalive(&probes).unwrap();
    }

    /// How long until the connection fails (or is gone in both directions), without reading from it.
    #[track_caller]
    pub fn fails_within(&self, limit: Duration) -> Duration {
        let begun = Instant::now();
        // Errors and hang-ups are always told.
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::empty())];
        let timeout = Timespec::try_from(limit).unwrap();
        assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "still connected after {limit:?}");
        begun.elapsed()
    }

    /// Whether it has failed, or is gone in both directions.
    pub fn has_failed(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }
}

/// Writes to all of them what the kernel takes, until it has taken nothing for a while; at most `limit` bytes each.
/// Returns how many.
pub fn push_until_blocked(peers: &mut [&mut Peer], limit: u64) -> Vec<u64> {
    let mut pushed = vec![0; peers.len()];
    let mut moved = Instant::now();
    peers.iter().for_each(|peer| peer.socket.set_nonblocking(true).unwrap());
    while moved.elapsed() < Duration::from_millis(300) {
        for (peer, pushed) in peers.iter_mut().zip(&mut pushed) {
            let wrote = peer.write_now(65_000.min((limit - *pushed) as usize));
            if wrote > 0 {
                *pushed += wrote;
                moved = Instant::now();
            }
        }
        pass(Duration::from_millis(2));
    }
    peers.iter().for_each(|peer| peer.socket.set_nonblocking(false).unwrap());
    pushed
}
