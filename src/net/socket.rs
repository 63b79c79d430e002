//! A connected stream socket, TCP or Unix.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst, socket_domain};
use rustix::net::{AddressFamily, RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use super::options::set_keepalive;
use super::tcp::Tcp;

/// A connected stream socket. Dropping it lets the kernel choose how to close it; [`Socket::reset`] forces a reset.
#[derive(Debug)]
pub enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(Tcp),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Socket {
    /// Makes closing this socket a reset: the kernel discards what it has not delivered, and a TCP peer sees RST. A
    /// Unix peer sees its connection end; that family has no reset.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(stream) = self {
            // Fails only on a socket that is dead already.
            drop(stream.set_zero_linger());
        }
    }

    /// The address of this host that the peer has connected to. IPv4 is never mapped. `None`: a Unix socket.
    pub fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().ok().map(|addr| addr.ip().to_canonical()),
            Socket::Unix(_) => None,
        }
    }

    /// Where the client has connected to, before a REDIRECT or TPROXY rule led it here: if none has, the address of this host.
    /// IPv4 is never mapped. `None`: a Unix socket.
    pub fn original_destination(&self) -> Option<SocketAddr> {
        let Socket::Tcp(stream) = self else { return None };
        let local = stream.local_addr().ok()?;
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        // REDIRECT writes another address into the packets, and the kernel remembers the first. TPROXY leaves them as they are.
        let redirected = match local {
            SocketAddr::V4(_) => ip_original_dst(stream).map(SocketAddr::V4),
            SocketAddr::V6(_) => ipv6_original_dst(stream).map(SocketAddr::V6),
        };
        Some(redirected.unwrap_or(local))
    }

    /// From now on a close lets the kernel deliver what was written, as usual.
    pub fn deliver_on_close(&self) {
        if let Socket::Tcp(stream) = self {
            // Fails only on a socket that is dead already.
            drop(SockRef::from(stream).set_linger(None));
        }
    }

    /// A connected socket that another process has opened, registered with the caller's runtime.
    pub fn adopt(socket: OwnedFd) -> io::Result<Socket> {
        Ok(match socket_domain(&socket)? {
            AddressFamily::UNIX => Socket::Unix(UnixStream::from_std(socket.into())?),
            _ => Socket::Tcp(Tcp::new(socket)?),
        })
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// Sets TCP keepalive: the first probe comes after `idle` of silence, counted from the last byte before this call.
    pub fn keep_alive(&self, idle: Duration) {
        if let Socket::Tcp(stream) = self {
            // Fails only on a socket that is dead already.
            drop(set_keepalive(&SockRef::from(stream), idle));
        }
    }

    /// Acknowledges the handshake of a dial with [`FirstAck::WithData`](super::tcp::FirstAck): before a wait in which the peer may
    /// be the one to speak.
    pub fn acknowledge(&self) {
        if let Socket::Tcp(stream) = self {
            stream.acknowledge();
        }
    }

    /// Resolves when the kernel reports an error of the connection: a reset, an unanswered keepalive, an unreachable
    /// network. A FIN is not an error. Does not depend on reads, so it also notices a peer that nobody reads from.
    pub async fn failed(&self) {
        match self {
            Socket::Tcp(stream) => stream.failed().await,
            // Fails only when the runtime is shutting down: then the wait is over as well.
            Socket::Unix(stream) => drop(stream.ready(Interest::ERROR).await),
        }
    }

    /// Resolves when the peer has sent FIN, or a reset. Does not depend on reads: bytes before it may wait. After urgent data
    /// an end is not noticed.
    pub async fn ended(&self) {
        let ready = match self {
            Socket::Tcp(stream) => stream.ended().await,
            Socket::Unix(stream) => stream.ready(Interest::PRIORITY).await,
        };
        // An error says that the runtime is shutting down: then the wait is over as well.
        if ready.is_ok_and(|ready| !ready.is_read_closed()) {
            std::future::pending().await
        }
    }

    /// Resolves when there is something to read: bytes (1) or an end (0). Consumes nothing but an error, after which a
    /// read looks like a clean end.
    pub async fn stirs(&self) -> io::Result<usize> {
        loop {
            match self {
                Socket::Tcp(stream) => stream.readable().await,
                Socket::Unix(stream) => stream.readable().await,
            }?;
            // tokio assumes that an accepted socket is readable until a read has been tried.
            // (A reset makes a socket readable too.)
            match self.try_io(Interest::READABLE, || Ok(self.peek()?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                seen => return seen,
            }
        }
    }

    /// What a read would find now: bytes (1) or an end (0). Takes nothing but an error, which the kernel reports once:
    /// whoever asks must pass it on.
    pub(super) fn peek(&self) -> rustix::io::Result<usize> {
        rustix::net::recv(self, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT).map(|(_, n)| n)
    }

    /// Whether both directions have ended (POLLHUP). On a Unix socket: the peer has closed.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::empty())];
        let hung_up = |fds: &[PollFd<'_>; 1]| fds[0].revents().contains(PollFlags::HUP);
        poll(&mut fds, Some(&Timespec::default())).is_ok() && hung_up(&fds)
    }

    /// Whether the kernel has something for us that the runtime has not reported yet: bytes, an end, an error, or room to
    /// write. After a pause of the process that is so for every socket that was used meanwhile.
    pub(super) fn has_unseen(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN | PollFlags::OUT)];
        if poll(&mut fds, Some(&Timespec::default())).is_err() {
            return false;
        }
        let now = fds[0].revents();
        let unseen = |flag, interest| now.contains(flag) && self.try_io(interest, || Ok(())).is_err();
        unseen(PollFlags::IN, Interest::READABLE) || unseen(PollFlags::OUT, Interest::WRITABLE)
    }

    /// Takes the pending error. The kernel reports it once; a later read looks like a clean end.
    pub fn take_error(&self) -> Option<io::Error> {
        match self {
            Socket::Tcp(stream) => stream.take_error(),
            Socket::Unix(stream) => stream.take_error(),
        }
        .ok()
        .flatten()
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        match (self, interest.is_readable()) {
            (Socket::Tcp(stream), true) => stream.poll_read_ready(cx),
            (Socket::Tcp(stream), false) => stream.poll_write_ready(cx),
            (Socket::Unix(stream), true) => stream.poll_read_ready(cx),
            (Socket::Unix(stream), false) => stream.poll_write_ready(cx),
        }
    }

    fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Socket::Tcp(stream) => stream.try_io(interest, call),
            Socket::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// Makes one system call once the socket is ready for it. tokio's own streams do the same, but only through `&mut`,
    /// and here several parts of a relay share one socket. If `is_last` holds for the number of bytes moved, the call
    /// has emptied or filled the socket: its readiness is cleared, and epoll reports only what happens afterwards.
    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
        is_last: impl Fn(usize) -> bool,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_ready(cx, interest))?;
            let mut moved = None;
            let answer = self.try_io(interest, || match call() {
                Ok(n) if n > 0 && is_last(n) => {
                    moved = Some(n);
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Ok(n) => Ok(n),
                Err(errno) => Err(errno.into()),
            });
            match (answer, moved) {
                (_, Some(n)) => return Poll::Ready(Ok(n)),
                (Ok(n), None) => return Poll::Ready(Ok(n)),
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (Err(error), None) if error.kind() == io::ErrorKind::Interrupted => {}
                (Err(error), None) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Makes one system call whose short count says nothing about readiness, such as splice(2).
    pub(super) fn poll_call(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, interest, call, |_| false)
    }

    /// Reads once. Returns 0 at the end of the stream.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let space = buf.initialize_unfilled();
        let whole = space.len();
        let call = || rustix::net::recv(self, &mut *space, RecvFlags::empty()).map(|(_, n)| n);
        let is_last = |n| match self {
            Socket::Tcp(stream) => n < whole && stream.is_emptied_by_a_short_read(),
            // A read also stops between the data of two writers (unix_stream_read_generic() in the kernel).
            Socket::Unix(_) => false,
        };
        let n = ready!(self.poll_io(cx, Interest::READABLE, call, is_last))?;
        buf.advance(n);
        Poll::Ready(Ok(n))
    }

    /// Writes once. Returns how many bytes the kernel took.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let call = || rustix::net::send(self, data, SendFlags::NOSIGNAL);
        self.poll_io(cx, Interest::WRITABLE, call, |n| n < data.len())
    }

    /// Whether its close sends FIN after everything that was written, as far as that is known: not so behind an urgent byte that
    /// nobody has read, where close(2) resets. For a socket from which an end was read.
    pub(super) fn closes_with_a_fin(&self) -> bool {
        match self {
            Socket::Tcp(stream) => stream.has_ended_without_a_mark(),
            Socket::Unix(_) => false,
        }
    }

    /// Sends FIN after everything that was written.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self, rustix::net::Shutdown::Write)?)
    }
}

/// Reading and writing through a shared reference.
impl AsyncRead for &Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_recv(cx, buf).map_ok(drop)
    }
}

impl AsyncWrite for &Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}
