//! Options of sockets.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::model::{SocketBuffers, SocketOptions};

/// Keepalive probes that a silent peer may miss, `KEEPALIVE_INTERVAL` apart.
pub(super) const KEEPALIVE_PROBES: u32 = 5;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two probes if the first is sent after `idle`: never longer than `idle`.
pub(super) fn keepalive_interval(idle: Duration) -> Duration {
    KEEPALIVE_INTERVAL.min(idle)
}

/// Sets TCP_NODELAY, keepalive and the sizes of the queues.
///
/// `TCP_USER_TIMEOUT` stays unset on purpose: see `relay::liveness`.
///
/// On Linux an accepted socket inherits these options from its listening socket, so they cost no call per connection.
pub(super) fn tune(socket: &SockRef<'_>, options: SocketOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(buffers) = options.buffers {
        set_buffers(socket, buffers)?;
    }
    match options.keepalive {
        Some(idle) => set_keepalive(socket, idle),
        None => socket.set_keepalive(false),
    }
}

/// Sets the sizes of both queues. More than `rmem_max` and `wmem_max` the kernel does not give (socket(7)).
pub(super) fn set_buffers(socket: &SockRef<'_>, buffers: SocketBuffers) -> io::Result<()> {
    let size = usize::try_from(buffers.bytes()).unwrap_or(usize::MAX);
    socket.set_recv_buffer_size(size)?;
    socket.set_send_buffer_size(size)
}

/// Lets the kernel adapt the queues of accepted sockets again, from the sizes that were set (SO_BUF_LOCK, Linux 5.14).
pub(super) fn free_buffers(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, SO_BUF_LOCK, 0)
}

/// `asm-generic/socket.h`; the libc crate does not name it.
const SO_BUF_LOCK: i32 = 72;

/// Turns keepalive on. The idle time is set after that, and so counts from the last byte (tcp_sock_set_keepidle_locked()
/// in the kernel).
pub(super) fn set_keepalive(socket: &SockRef<'_>, idle: Duration) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(keepalive_interval(idle))
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&probes)
}

/// Sets an option that takes a number, one that no kept crate sets: IP_MTU_DISCOVER, IP_RECVERR, UDP_GRO, SO_TIMESTAMPNS,
/// IP_BIND_ADDRESS_NO_PORT.
#[allow(unsafe_code, reason = "rustix and socket2 have no such call for these options")]
pub(super) fn set(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let size = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or_default();
    // SAFETY: the kernel reads `size` bytes of `value`, which is that large, and keeps no pointer to it.
    let answer = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many datagrams the kernel has dropped on their way to the socket, since it was opened: its queue was full, for the most
/// part (SO_MEMINFO, sock_diag(7)).
#[allow(unsafe_code, reason = "rustix and socket2 have no such call")]
pub(super) fn dropped(socket: &impl AsFd) -> io::Result<u32> {
    /// The last of the numbers that the kernel tells: SK_MEMINFO_DROPS.
    const DROPS: usize = 8;
    let mut numbers = [0_u32; DROPS + 1];
    let mut size = libc::socklen_t::try_from(size_of_val(&numbers)).unwrap_or_default();
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes `size` bytes at most into `numbers`, which is that large, and keeps no pointer to it.
    let answer = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, numbers.as_mut_ptr().cast(), &raw mut size)
    };
    if answer == 0 { Ok(numbers[DROPS]) } else { Err(io::Error::last_os_error()) }
}
