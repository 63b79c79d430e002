//! The relay: two sockets become one connection, until it has ended in both directions.
//!
//! What a path through here must keep (each rule with a test in `tests/relay`):
//! 1. FIN is passed on per direction, after all data before it; the other direction goes on.
//! 2. A reset is passed on as a reset, after the data that was read before it.
//! 3. A reset is noticed while the relay is blocked writing to the other side.
//! 4. Memory is bounded; a slow reader makes nothing grow.
//! 5. A half-closed peer that lives is never cut; one that is gone is found by keepalive.
//! 6. Bulk traffic yields to the other connections of its thread.

mod copy;
mod ending;
mod guard;
mod layered;
mod pipe;
mod plain;
mod throttle;
mod vigil;

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Leg, Socket};
use crate::model::{Bandwidth, DataPath, RelayMode};
use ending::Pair;
use guard::Guards;
pub use pipe::{MOST_PIPES, limit_pipes, pipes};

/// One of the two peers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer that connected to us.
    Client,
    /// The peer that we connected to.
    Upstream,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Client => Side::Upstream,
            Side::Upstream => Side::Client,
        }
    }
}

/// Which silence ends a connection. `None`: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// No byte in either direction.
    pub idle: Option<Duration>,
    /// No byte since one side has sent FIN.
    pub half_close: Option<Duration>,
    /// A peer that does not answer: after so long it is asked for a sign of life, as keepalive does.
    pub keepalive: Option<Duration>,
}

/// Bytes that the kernel has taken from us, while the relay runs.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the client to the upstream.
    pub up: AtomicU64,
    /// From the upstream to the client.
    pub down: AtomicU64,
    /// The highest [`Moved`] that happened to a direction, or 0.
    moved: AtomicU8,
}

/// What became of bytes that were no messages. In the order of what a person wants to know of a connection.
#[derive(Clone, Copy, Debug)]
enum Moved {
    /// There was no pipe to be had.
    NoPipe = 1,
    /// The kernel does not splice these sockets.
    NoSplice = 2,
    /// They went through a pipe.
    Spliced = 3,
    /// All went through `copy_bidirectional`.
    Copied = 4,
    /// They were opened or sealed on the way.
    Layered = 5,
}

impl Traffic {
    /// Bytes that were sent to `side`.
    fn towards(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Client => &self.down,
            Side::Upstream => &self.up,
        }
    }

    fn note(&self, moved: Moved) {
        // Most calls say what is known: no write then.
        if self.moved.load(Ordering::Relaxed) < moved as u8 {
            self.moved.fetch_max(moved as u8, Ordering::Relaxed);
        }
    }

    /// How the bytes were moved so far.
    pub fn path(&self) -> DataPath {
        match self.moved.load(Ordering::Relaxed) {
            0 => DataPath::Buffer,
            moved if moved == Moved::NoPipe as u8 => DataPath::BufferNoPipe,
            moved if moved == Moved::NoSplice as u8 => DataPath::BufferNoSplice,
            moved if moved == Moved::Spliced as u8 => DataPath::Splice,
            moved if moved == Moved::Layered as u8 => DataPath::Tls,
            _ => DataPath::Copy,
        }
    }

    /// Bytes so far, up and down.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides sent FIN, this one first.
    Closed(Side),
    /// This side reset the connection.
    Reset(Side),
    /// This side stopped answering.
    Lost(Side),
    /// [`Patience::idle`] is over.
    Idle,
    /// [`Patience::half_close`] is over.
    HalfClose,
}

/// Moves bytes both ways until the connection has ended, and passes its end on: a FIN as FIN, anything else as a
/// reset. Dropping the future leaves both sockets open and the rest unsent.
pub async fn relay(
    (client, upstream): (&Socket, &Socket),
    (mode, bandwidth): (RelayMode, &Bandwidth),
    patience: &Patience,
    traffic: &Traffic,
) -> Ending {
    let ending = match mode {
        _ if !bandwidth.is_free() => {
            Box::pin(throttle::run((client, upstream), bandwidth, patience, traffic)).await
        }
        // Boxed: a task is as large as its largest branch, and this one is not the usual.
        RelayMode::Copy => Box::pin(copy::run(client, upstream, patience, traffic)).await,
        RelayMode::Auto | RelayMode::Splice => {
            plain::run((client, upstream), patience, traffic, mode == RelayMode::Splice).await
        }
    };
    pass_on(ending, client, upstream);
    ending
}

/// The same, where one side at least has TLS on it. Which mode is asked for is all one here.
pub async fn relay_tls(
    (client, upstream): (Leg<'_>, Leg<'_>),
    bandwidth: &Bandwidth,
    patience: &Patience,
    traffic: &Traffic,
) -> Ending {
    let sockets = (client.socket, upstream.socket);
    let ending = layered::run((client, upstream), bandwidth, patience, traffic).await;
    pass_on(ending, sockets.0, sockets.1);
    ending
}

/// What is no clean end is a reset.
fn pass_on(ending: Ending, client: &Socket, upstream: &Socket) {
    if !matches!(ending, Ending::Closed(_)) {
        client.reset_on_close();
        upstream.reset_on_close();
    }
}

/// Calls `turn`, the moving of what can be moved, until the connection has ended.
async fn supervise(
    pair: &Pair<'_>,
    sockets: (&Socket, &Socket),
    patience: &Patience,
    mut turn: impl FnMut(&mut Context<'_>),
) -> Ending {
    let mut guards = Guards::new(pair, sockets, patience);
    poll_fn(|cx| {
        turn(cx);
        match pair.verdict() {
            Some(ending) => Poll::Ready(ending),
            None => guards.poll(cx),
        }
    })
    .await
}
