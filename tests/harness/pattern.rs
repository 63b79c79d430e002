//! Bytes that tell where they belong: any loss, repetition, swap or invention shows at its offset.

use std::sync::{Arc, LazyLock};

/// The length of the repeated block: a prime, so that no buffer size or segment size is a multiple of it.
const PERIOD: usize = 65_521;

/// The bytes of one direction.
#[derive(Clone)]
pub struct Pattern {
    block: Arc<Vec<u8>>,
    at: u64,
}

impl Pattern {
    /// From the client to the server.
    pub fn up() -> Self {
        static BLOCK: LazyLock<Arc<Vec<u8>>> = LazyLock::new(|| Pattern::seeded(1));
        Pattern { block: BLOCK.clone(), at: 0 }
    }

    /// From the server to the client.
    pub fn down() -> Self {
        static BLOCK: LazyLock<Arc<Vec<u8>>> = LazyLock::new(|| Pattern::seeded(2));
        Pattern { block: BLOCK.clone(), at: 0 }
    }

    /// Made once: a test may have thousands of peers.
    fn seeded(seed: u64) -> Arc<Vec<u8>> {
        let mut rng = Rng::new(seed);
        // Twice, so that any run of up to a period is one slice.
        let once: Vec<u8> = (0..PERIOD).map(|_| rng.next() as u8).collect();
        Arc::new([once.as_slice(), once.as_slice()].concat())
    }

    /// How many bytes have been taken.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next `n` bytes, at most a period; they are taken only by [`Pattern::advance`].
    pub fn peek(&self, n: usize) -> &[u8] {
        let start = (self.at % PERIOD as u64) as usize;
        &self.block[start..start + n.min(PERIOD)]
    }

    /// Takes `n` bytes.
    pub fn advance(&mut self, n: usize) {
        self.at += n as u64;
    }

    /// Takes what was received, which must be the next bytes.
    #[track_caller]
    pub fn expect(&mut self, mut received: &[u8]) {
        while !received.is_empty() {
            let n = received.len().min(PERIOD);
            if received[..n] != *self.peek(n) {
                let right = received[..n].iter().zip(self.peek(n)).take_while(|(a, b)| a == b).count();
                panic!("a wrong byte at offset {}", self.at + right as u64);
            }
            self.advance(n);
            received = &received[n..];
        }
    }
}

/// How many bytes one write has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Always so many.
    Of(usize),
    /// Anything up to 64 KiB.
    Random,
}

impl Chunk {
    /// One byte, one Ethernet segment, a large write, and everything between.
    pub const ALL: [Chunk; 4] = [Chunk::Of(1), Chunk::Of(1448), Chunk::Of(65_536), Chunk::Random];

    /// `n`, or what of it can be sent in such pieces before the reader of the test's output falls asleep.
    pub fn total(self, n: u64) -> u64 {
        match self {
            Chunk::Of(1) => n.min(3_000),
            _ => n,
        }
    }

    /// The sizes, one after the other.
    pub fn sizes(self) -> impl Iterator<Item = usize> {
        let mut rng = Rng::new(3);
        std::iter::repeat_with(move || match self {
            Chunk::Of(n) => n,
            Chunk::Random => 1 + (rng.next() % 65_536) as usize,
        })
    }
}

/// Numbers without a pattern, the same at every run (xorshift64).
pub struct Rng(u64);

impl Rng {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
