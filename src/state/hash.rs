//! A hash that is stable across processes, machines and versions of Portway, so that all replicas choose the same
//! upstream for a client. The numbers of the test below are a promise.

use std::net::IpAddr;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): each bit of the input reaches each bit of the output.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// FNV-1a, 64 bits, then mixed: FNV alone leaves the high bits of short inputs alike.
pub(super) fn bytes(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The hash of a client's address, without the port. All clients without an address (Unix sockets) have the same hash.
pub(super) fn client(ip: Option<IpAddr>) -> u64 {
    match ip.map(|ip| ip.to_canonical()) {
        None => bytes(&[]),
        Some(IpAddr::V4(ip)) => bytes(&ip.octets()),
        Some(IpAddr::V6(ip)) => bytes(&ip.octets()),
    }
}

/// The cost of an upstream for a client, before its weight: -log2 of a number that is drawn for the pair, uniformly
/// from 0 to 1, in units of 2^-32. The least `cost / weight` wins (weighted rendezvous hashing: Schindelhauer,
/// Schomaker 2005). Uses integers only: the logarithms of libraries differ in their last bit.
pub(super) fn cost(client: u64, upstream: u64) -> u64 {
    let drawn = mix(client ^ mix(upstream)) | 1;
    let zeros = drawn.leading_zeros();
    let mut mantissa = u128::from(drawn << zeros);
    let mut log = u64::from(63 - zeros);
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        let carry = mantissa >> 64 & 1;
        log = log << 1 | u64::from(carry == 1);
        mantissa >>= carry;
    }
    (64 << 32) - log
}

/// A random number generator. The caller supplies the seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next number of SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to `end` - 1, drawn uniformly. `end` is at least 1.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        // Undo the draw: what is left is -log2.
        let of = |drawn: u64| {
            let zeros = drawn.leading_zeros();
            64.0 - f64::from(63 - zeros) - ((drawn << zeros) as f64 / 2f64.powi(63)).log2()
        };
        for (client, upstream) in [(1, 2), (3, 4), (0, 0), (u64::MAX, 7), (1 << 40, 1 << 50)] {
            let drawn = mix(client ^ mix(upstream)) | 1;
            let found = cost(client, upstream) as f64 / 2f64.powi(32);
            assert!((found - of(drawn)).abs() < 1e-8, "{found} and {}", of(drawn));
        }
    }

    #[test]
    fn these_numbers_never_change() {
        let ip = |text: &str| client(Some(text.parse().unwrap()));
        assert_eq!(client(None), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(ip("192.0.2.1"), 0x1e00_e9a1_2f82_49cb);
        assert_eq!(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
        assert_eq!(ip("2001:db8::1"), 0x216d_ba65_aa6c_0c57);
        assert_eq!(bytes(b"app-1:3000"), 0xd029_7908_bcd4_6782);
        assert_eq!(cost(ip("192.0.2.1"), bytes(b"app-1:3000")), 16_489_324);
    }
}
