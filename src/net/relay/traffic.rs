//! What a relay has moved, and how, and whether it is to pause.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::side::Side;
use crate::model::DataPath;
use crate::state::Bytes;
use crate::state::moved::MovedConnection;

/// Bytes that the kernel has taken from us so far. Grows while the relay runs.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the client to the upstream.
    pub up: AtomicU64,
    /// From the upstream to the client.
    pub down: AtomicU64,
    /// The highest [`Moved`] of either direction so far; 0: none.
    moved: AtomicU8,
    /// Whether the relay is to pause: [`RUNS`], [`ASKED`] or [`HOLDS`].
    pauses: AtomicU8,
}

/// Nobody wants it to pause.
const RUNS: u8 = 0;
/// It is to pause after its turn.
const ASKED: u8 = 1;
/// It is to pause, and cannot: what it has read is not taken yet.
const HOLDS: u8 = 2;

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

    /// Makes the relay pause after its turn, or no more. It notices once its task is woken.
    pub fn pause(&self, pauses: bool) {
        self.pauses.store(if pauses { ASKED } else { RUNS }, Ordering::Release);
    }

    pub(super) fn is_to_pause(&self) -> bool {
        self.pauses.load(Ordering::Acquire) != RUNS
    }

    /// Whether it pauses after this turn. `settled`: whether it could. If it could not, that is noted.
    pub(super) fn pauses(&self, settled: bool) -> bool {
        match self.pauses.load(Ordering::Acquire) {
            RUNS => false,
            _ if settled => true,
            now => {
                // Fails where nobody wants it any more.
                let _ = self.pauses.compare_exchange(now, HOLDS, Ordering::Release, Ordering::Relaxed);
                false
            }
        }
    }

    /// Whether it was to pause, and could not. `false` as long as it has had no turn.
    pub fn cannot_pause(&self) -> bool {
        self.pauses.load(Ordering::Acquire) == HOLDS
    }

    pub(super) fn moved(&self) -> u8 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Goes on from what another process has moved.
    pub fn go_on_from(&self, moved: &MovedConnection) {
        self.up.store(moved.up, Ordering::Relaxed);
        self.down.store(moved.down, Ordering::Relaxed);
        self.moved.store(moved.path, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_not_pause_is_told_from_who_had_no_turn() {
        let traffic = Traffic::default();
        assert!(!traffic.pauses(true) && !traffic.pauses(false) && !traffic.cannot_pause());
        traffic.pause(true);
        assert!(!traffic.cannot_pause(), "it has had no turn");
        assert!(!traffic.pauses(false));
        assert!(traffic.cannot_pause() && traffic.is_to_pause());
        // What it held was taken.
        assert!(traffic.pauses(true));
        traffic.pause(false);
        assert!(!traffic.pauses(false) && !traffic.cannot_pause() && !traffic.is_to_pause());
    }
}
