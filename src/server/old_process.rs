//! The process that this one has taken over from, for a view of what runs.

/// A process that another one has taken over from, and that ends with its last connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldProcess {
    /// Its id.
    pub pid: u32,
    /// How many connections and sessions it had when it said so last.
    pub open: u64,
}
