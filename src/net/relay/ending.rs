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
    /// `idle_timeout` is over.
    Idle,
    /// `half_close_timeout` is over.
    HalfClose,
}
