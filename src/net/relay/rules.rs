//! How a relay is to move bytes.

use crate::model::{Bandwidth, RelayMode, Timeouts};

/// How bytes are moved, and how long silence may last.
#[derive(Clone, Copy, Debug)]
pub struct RelayRules<'a> {
    /// As the file has it. Where there is TLS, or a bandwidth, only one path fits.
    pub mode: RelayMode,
    /// What each direction may move.
    pub bandwidth: &'a Bandwidth,
    /// Which silence ends the connection.
    pub timeouts: &'a Timeouts,
}
