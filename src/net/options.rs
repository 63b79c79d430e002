//! Options of every TCP socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Keepalive probes that a silent peer may miss, `KEEPALIVE_INTERVAL` apart.
pub(super) const KEEPALIVE_PROBES: u32 = 5;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two probes if the first is sent after `idle`: never longer than `idle`.
pub(super) fn keepalive_interval(idle: Duration) -> Duration {
    KEEPALIVE_INTERVAL.min(idle)
}

/// Sets TCP_NODELAY and keepalive. `keepalive` is the idle time before the first probe; `None` turns it off.
///
/// `TCP_USER_TIMEOUT` stays unset on purpose: see `relay::liveness`.
///
/// On Linux an accepted socket inherits these options from its listening socket, so they cost no call per connection.
pub(super) fn tune(socket: &SockRef<'_>, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    match keepalive {
        Some(idle) => set_keepalive(socket, idle),
        None => socket.set_keepalive(false),
    }
}

/// Turns keepalive on. The idle time is set after that, and so counts from the last byte (tcp_sock_set_keepidle_locked()
/// in the kernel).
pub(super) fn set_keepalive(socket: &SockRef<'_>, idle: Duration) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(keepalive_interval(idle))
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&probes)
}
