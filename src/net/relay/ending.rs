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
    /// [`super::Timeouts::idle`] is over.
    Idle,
    /// [`super::Timeouts::half_close`] is over.
    HalfClose,
}
