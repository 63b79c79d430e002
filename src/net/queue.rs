//! What the kernel knows about a TCP socket: how many written bytes it still holds, and whether the peer answers.

#![allow(
    unsafe_code,
    reason = "no kept crate wraps SIOCOUTQ or TCP_INFO: a reset must not overtake what was written, and a dead peer must \
              be told from one that does not read"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// Bytes written and not acknowledged (linux/sockios.h; the same number as `TIOCOUTQ`).
const SIOCOUTQ: Opcode = 0x5411;
/// Bytes written and not sent (linux/sockios.h).
const SIOCOUTQNSD: Opcode = 0x894B;
/// Bytes received and not read (linux/sockios.h; the same number as `FIONREAD`).
const SIOCINQ: Opcode = 0x541B;
/// Where `tcpi_bytes_acked` is (linux/tcp.h).
const ACKNOWLEDGED: usize = 120;
/// Where `tcpi_bytes_received` is.
const RECEIVED: usize = 128;
/// `TCP_TIME_WAIT`, `TCP_CLOSE_WAIT`, `TCP_LAST_ACK`, `TCP_CLOSING` (net/tcp_states.h): the peer has sent FIN.
const AFTER_FIN: [u8; 4] = [6, 8, 9, 11];
/// `TCP_CLOSE` (net/tcp_states.h): reset, failed, or ended in both directions.
const CLOSED: u8 = 7;

/// The send queue of a TCP socket, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendQueue {
    /// Written by us, not acknowledged by the peer.
    pub held: u64,
    /// The part of `held` that is not sent yet: the peer's window (or the network) does not take it.
    pub unsent: u64,
}

impl SendQueue {
    /// The empty queue: nothing to wait for.
    pub const EMPTY: SendQueue = SendQueue { held: 0, unsent: 0 };

    /// Reads the queue. A closed socket, or one that is not TCP, has an empty one.
    pub fn of(socket: impl AsFd) -> SendQueue {
        let read =
            |answer: rustix::io::Result<i32>| answer.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0));
        // SAFETY: both requests write one C int through the pointer that `Getter` owns, and change nothing.
        let held = read(unsafe { ioctl(&socket, Getter::<SIOCOUTQ, i32>::new()) });
        if held == 0 {
            return SendQueue::EMPTY;
        }
        // SAFETY: as above.
        let unsent = read(unsafe { ioctl(&socket, Getter::<SIOCOUTQNSD, i32>::new()) });
        // A reset leaves the numbers as they were.
        let lost = info(&socket).is_none_or(|info| info.tcpi_state == CLOSED);
        if lost { SendQueue::EMPTY } else { SendQueue { held, unsent } }
    }

    /// Whether the peer has acknowledged everything that was sent, and yet bytes are left to send: it does not read.
    pub fn peer_does_not_read(self) -> bool {
        self.unsent > 0 && self.unsent >= self.held
    }
}

/// Whether the peer of a TCP socket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// Retransmissions and window probes since the last answer.
    pub asked: u32,
    /// How long ago the peer last acknowledged anything.
    pub last: Duration,
}

impl Answers {
    /// Asks the kernel. `None` for a socket that cannot tell.
    pub fn of(socket: impl AsFd) -> Option<Answers> {
        info(&socket).map(|info| Answers {
            asked: u32::from(info.tcpi_retransmits) + u32::from(info.tcpi_probes),
            last: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        })
    }
}

/// The kernel's statistics of a TCP socket (`TCP_INFO`), for people.
#[derive(Clone, Copy, Debug)]
pub struct TcpView {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Variation of the round-trip time.
    pub rtt_variation: Duration,
    /// Segments retransmitted since the connection began.
    pub retransmits: u32,
    /// Segments in flight that are not acknowledged.
    pub unacknowledged: u32,
    /// Bytes written and not acknowledged.
    pub send_queue: u64,
    /// The congestion window, in segments.
    pub window: u32,
    /// How long ago data last moved, in either direction.
    pub idle: Duration,
}

impl TcpView {
    /// Asks the kernel. `None` for a socket that cannot tell.
    pub fn of(socket: impl AsFd) -> Option<TcpView> {
        let info = info(&socket)?;
        let idle = info.tcpi_last_data_sent.min(info.tcpi_last_data_recv);
        Some(TcpView {
            rtt: Duration::from_micros(info.tcpi_rtt.into()),
            rtt_variation: Duration::from_micros(info.tcpi_rttvar.into()),
            retransmits: info.tcpi_total_retrans,
            unacknowledged: info.tcpi_unacked,
            send_queue: SendQueue::of(&socket).held,
            window: info.tcpi_snd_cwnd,
            idle: Duration::from_millis(idle.into()),
        })
    }
}

/// How far a TCP socket was read and written, whoever did it: two looks are equal if nobody has used it between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    read: u64,
    written: u64,
}

impl Used {
    /// Asks the kernel. `None` for a socket that cannot tell, or that is closed.
    pub fn of(socket: impl AsFd) -> Option<Used> {
        let counted = counted(&socket).filter(|counted| counted.state != CLOSED)?;
        // SAFETY: the request writes one C int through the pointer that `Getter` owns, and changes nothing.
        let unread = unsafe { ioctl(&socket, Getter::<SIOCINQ, i32>::new()) }.ok()?;
        // The FIN of the peer counts as a byte that was received, and not as one to be read (tcp_inq() in the kernel).
        let fin = u64::from(AFTER_FIN.contains(&counted.state));
        let read = counted.received.checked_sub(u64::try_from(unread).ok()? + fin)?;
        // SAFETY: as above.
        let held = unsafe { ioctl(&socket, Getter::<SIOCOUTQ, i32>::new()) }.ok()?;
        Some(Used { read, written: counted.acknowledged + u64::try_from(held).ok()? })
    }
}

/// What `TCP_INFO` counts.
struct Counted {
    state: u8,
    acknowledged: u64,
    received: u64,
}

/// Asks for the fields that `libc::tcp_info` lacks.
fn counted(socket: &impl AsFd) -> Option<Counted> {
    let mut info = [0_u8; RECEIVED + 8];
    let mut size = libc::socklen_t::try_from(info.len()).ok()?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes into `info`, which is that large.
    let answer = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size)
    };
    let number = |at: usize| {
        let bytes = info.get(at..at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let whole = answer == 0 && usize::try_from(size).is_ok_and(|size| size == info.len());
    let (acknowledged, received) = (number(ACKNOWLEDGED)?, number(RECEIVED)?);
    whole.then_some(Counted { state: info[0], acknowledged, received })
}

fn info(socket: &impl AsFd) -> Option<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut size = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes into `info`, which is that large.
    let answer = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size)
    };
    // SAFETY: integers only, zeroed above where the kernel has written none.
    (answer == 0).then(|| unsafe { info.assume_init() })
}
