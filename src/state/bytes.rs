//! How much was moved.

use std::ops::AddAssign;

/// Bytes, by their direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client to the upstream.
    pub up: u64,
    /// From the upstream to the client.
    pub down: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, more: Bytes) {
        self.up += more.up;
        self.down += more.down;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_is_added_by_itself() {
        let mut bytes = Bytes { up: 2, down: 30 };
        bytes += Bytes { up: 5, down: 700 };
        assert_eq!(bytes, Bytes { up: 7, down: 730 });
    }
}
