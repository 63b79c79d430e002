//! Floor 3: sockets and the relay.
//!
//! May not log, and knows no route: it is told what to bind, dial and move, and says in values how that went.

mod accept;
pub mod bind;
pub mod check;
pub mod datagram;
pub mod dial;
mod exchange;
pub mod inherit;
mod low_ports;
mod queue;
pub mod relay;
pub mod resolve;
mod socket;
mod stream;
mod tcp;
pub mod tls;

pub use accept::{Accepted, Acceptor};
pub use bind::{Listener, bind};
pub use check::{CheckError, check};
pub use dial::{DialError, dial};
pub use inherit::Inherited;
pub use low_ports::use_low_ports;
pub use queue::TcpView;
pub use resolve::look_up;
pub use socket::Socket;
pub use stream::{Leg, Stream};

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};

/// Probes that a silent peer may miss, and the seconds between them.
const KEEPALIVE_PROBES: u32 = 5;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two probes, where the first comes after `idle`.
fn keepalive_interval(idle: Duration) -> Duration {
    KEEPALIVE_INTERVAL.min(idle)
}

/// Sets what every TCP socket of Portway has: no delay of small segments, and keepalive where the route wants it.
///
/// `TCP_USER_TIMEOUT` is left alone on purpose: see [`relay`]'s `vigil`.
///
/// On Linux an accepted socket inherits these from its listening socket, so it costs no call per connection.
fn tune(socket: &SockRef<'_>, keepalive: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let Some(idle) = keepalive else { return socket.set_keepalive(false) };
    let probes = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(keepalive_interval(idle))
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&probes)
}

/// Whether this system denied what was asked of it, so that it says nothing about a peer: no port, no descriptor, no
/// memory was left.
pub fn is_local(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN)
    )
}

/// The error without Rust's `(os error 111)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
