//! How a relay ends.

use super::side::Side;

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides sent FIN, this one first.
    Closed(Side),
    /// This side reset the connection.
    Reset(Side),
    /// This side stopped answering.
    Lost(Side),
    /// No byte moved for `idle_timeout`.
    Idle,
    /// One side had sent FIN, and no byte moved for `half_close_timeout`.
    HalfClose,
}
