//! What a relay has moved, and how.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::side::Side;
use crate::model::DataPath;
use crate::state::Bytes;

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
pub(super) enum Moved {
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
    pub(super) fn towards(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Client => &self.down,
            Side::Upstream => &self.up,
        }
    }

    pub(super) fn note(&self, moved: Moved) {
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

    /// Bytes of the client that the upstream got before the relay began.
    pub fn sent_before_relay(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes so far.
    pub fn bytes(&self) -> Bytes {
        Bytes { up: self.up.load(Ordering::Relaxed), down: self.down.load(Ordering::Relaxed) }
    }
}
