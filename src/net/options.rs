//! What every TCP socket of Portway has.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Probes that a silent peer may miss, and the seconds between them.
pub(super) const KEEPALIVE_PROBES: u32 = 5;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two probes, where the first comes after `idle`.
pub(super) fn keepalive_interval(idle: Duration) -> Duration {
    KEEPALIVE_INTERVAL.min(idle)
}

/// Sets what every TCP socket of Portway has: no delay of small segments, and keepalive where the route wants it.
///
/// `TCP_USER_TIMEOUT` is left alone on purpose: see `relay::liveness`.
///
/// On Linux an accepted socket inherits these from its listening socket, so it costs no call per connection.
pub(super) fn tune(socket: &SockRef<'_>, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let Some(idle) = keepalive else { return socket.set_keepalive(false) };
    let probes = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(keepalive_interval(idle))
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&probes)
}
