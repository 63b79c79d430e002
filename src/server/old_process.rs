//! The process that this one has taken over from, for a view of what runs.

use std::time::Instant;

/// A process that another one has taken over from, and that ends with its last connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldProcess {
    /// Its id.
    pub pid: u32,
    /// How many connections and sessions it had when it said so last.
    pub open: u64,
    /// When the last of them is reset. `None`: it did not say.
    pub until: Option<Instant>,
}
