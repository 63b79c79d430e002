//! A TCP socket in tokio's reactor. It asks for one event more than tokio's own streams: the urgent mark.
//!
//! With that event a short read can count as the last one. tokio's streams do that too, but can stall: `tcp_recvmsg()`
//! also stops at an urgent mark, and then no event follows. It saves one useless `recv` per message.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use super::itself;
use super::options::set_buffers;
use super::source::{OfClient, begin_at, connect_error};
use crate::model::{SocketBuffers, Source};

/// Flags that every socket is created with.
pub(super) const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Owns one descriptor, which stays open and the same for the whole life of the value.
pub(super) trait Descriptor: AsRawFd {}

impl Descriptor for OwnedFd {}
impl Descriptor for Arc<OwnedFd> {}

/// Registers a socket with the caller's runtime, for the events in `interest`.
#[allow(
    unsafe_code,
    reason = "tokio offers no safe way to ask for an urgent mark, or to share a listening socket"
)]
pub(super) fn register<D: Descriptor>(socket: D, interest: Interest) -> io::Result<AsyncFd<D>> {
    // SAFETY: a `Descriptor` is one open descriptor for its whole life, and nobody takes it out of the `AsyncFd`.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// How the kernel acknowledges the peer's part of the handshake, which it does at once by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAck {
    /// With a segment of its own.
    AtOnce,
    /// With the first data, which saves a segment: for whoever sends at once, or calls `Tcp::acknowledge` before he waits. Until
    /// then the peer does not know that it is connected. The kernel waits for 200 ms at most (`TCP_DELACK_MAX`).
    WithData,
}

/// How a TCP socket connects.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// From where. `None`: the system says.
    pub source: Option<&'a Source>,
    /// The client that it is for. `None`: it is of no client.
    pub client: Option<OfClient>,
    pub ack: FirstAck,
    /// Set before the handshake, in which the window scale is chosen.
    pub buffers: Option<SocketBuffers>,
}

/// A connected TCP socket.
#[derive(Debug)]
pub struct Tcp(AsyncFd<OwnedFd>);

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl Tcp {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        register(socket, interest).map(Tcp)
    }

    /// Connects, without a timeout of its own. A connection to itself is a refusal. Dropping the future cancels the
    /// attempt.
    pub(super) async fn connect(addr: SocketAddr, way: &Way<'_>) -> io::Result<Self> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, FLAGS, Some(ipproto::TCP))?;
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        if let Some(source) = way.source {
            begin_at(&socket, source, addr, way.client)?;
        }
        if let Some(buffers) = way.buffers {
            set_buffers(&SockRef::from(&socket), buffers)?;
        }
        if way.ack == FirstAck::WithData {
            set_tcp_quickack(&socket, false)?;
        }
        match connect(&socket, &addr) {
            // A signal does not end an attempt (connect(2)).
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(errno) => return Err(connect_error(errno.into(), way.source, way.client)),
        }
        let connecting = Tcp::new(socket)?;
        let mut guard = connecting.0.ready(Interest::WRITABLE | Interest::ERROR).await?;
        let failed = guard.ready().is_error();
        guard.retain_ready();
        drop(guard);
        match failed.then(|| connecting.take_error()).transpose()?.flatten() {
            None => itself::with_another(connecting, addr),
            Some(error) => Err(error),
        }
    }

    /// Acknowledges now what was to be acknowledged with data.
    pub(super) fn acknowledge(&self) {
        // Fails only on a socket that is dead already.
        let _ = set_tcp_quickack(self, true);
    }

    /// The address of our own end.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = rustix::net::getsockname(self)?;
        Ok(SocketAddr::try_from(addr)?)
    }

    /// Resolves when the kernel reports an error of the connection.
    pub(super) async fn failed(&self) {
        // Fails only when the runtime is shutting down: then the wait is over as well.
        drop(self.0.ready(Interest::ERROR).await);
    }

    /// Resolves when the peer has ended, or at an urgent mark: an end counts as a priority event too (`Interest::mask` in
    /// tokio).
    pub(super) async fn ended(&self) -> io::Result<Ready> {
        let mut guard = self.0.ready(Interest::PRIORITY).await?;
        guard.retain_ready();
        Ok(guard.ready())
    }

    /// Whether the runtime has reported an end, and no urgent mark with it or before. Costs no system call.
    pub(super) fn has_ended_without_a_mark(&self) -> bool {
        let known = pin!(self.0.ready(Interest::PRIORITY)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(known, Poll::Ready(Ok(known)) if known.ready().is_read_closed() && !known.ready().is_priority())
    }

    /// Resolves when the socket is readable. Does not clear its readiness.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Takes the pending error, which the kernel reports once.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx).map_ok(|mut guard| guard.retain_ready())
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx).map_ok(|mut guard| guard.retain_ready())
    }

    pub(super) fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        self.0.try_io(interest, |_| call())
    }

    /// Whether a short read has emptied the socket, as far as was known before it: no urgent mark, error or end waits
    /// behind the bytes. Whatever arrives later raises an event of its own. Costs no system call.
    pub(super) fn is_emptied_by_a_short_read(&self) -> bool {
        let is_told = |interest| self.0.try_io(interest, |_| Ok(())).is_ok();
        // An end counts as a priority event too (`Interest::mask` in tokio).
        !is_told(Interest::PRIORITY) && !is_told(Interest::ERROR)
    }
}
