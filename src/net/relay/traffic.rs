//! What a relay has moved, and how.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::side::Side;
use crate::model::DataPath;
use crate::state::Bytes;

/// Bytes that the kernel has taken from us so far. Grows while the relay runs.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the client to the upstream.
    pub up: AtomicU64,
    /// From the upstream to the client.
    pub down: AtomicU64,
    /// The highest [`Moved`] of either direction so far; 0: none.
    moved: AtomicU8,
}

/// How bytes other than messages were moved. In ascending order of what a person wants to know about a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moved {
    /// No pipe was available.
    NoPipe = 1,
    /// The kernel does not splice these sockets.
    NoSplice = 2,
    /// They went through a pipe.
    Spliced = 3,
    /// All went through `copy_bidirectional`, or through buffers with a bandwidth limit.
    Copied = 4,
    /// They were decrypted or encrypted on the way.
    Layered = 5,
}

impl Traffic {
    /// The counter of bytes that were sent to `side`.
    pub(super) fn towards(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Client => &self.down,
            Side::Upstream => &self.up,
        }
    }

    pub(super) fn note(&self, moved: Moved) {
        // Most calls repeat what is noted already: skip the write then.
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

    /// Counts bytes of the client that were sent to the upstream before the relay began.
    pub fn sent_before_relay(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of each direction so far.
    pub fn bytes(&self) -> Bytes {
        Bytes { up: self.up.load(Ordering::Relaxed), down: self.down.load(Ordering::Relaxed) }
    }
}
