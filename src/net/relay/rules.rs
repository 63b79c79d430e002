//! How a relay is to move bytes.

use std::time::Duration;

use crate::model::{Bandwidth, RelayMode};

/// Which silence ends a connection. `None`: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// No byte in either direction.
    pub idle: Option<Duration>,
    /// No byte since one side has sent FIN.
    pub half_close: Option<Duration>,
    /// A peer that does not answer: after so long it is asked for a sign of life, as keepalive does.
    pub keepalive: Option<Duration>,
}

/// How bytes are moved, and how long silence may last.
#[derive(Clone, Copy, Debug)]
pub struct RelayRules<'a> {
    /// As the file has it. Where there is TLS, or a bandwidth, only one path fits.
    pub mode: RelayMode,
    /// What each direction may move.
    pub bandwidth: &'a Bandwidth,
    /// Which silence ends the connection.
    pub timeouts: Timeouts,
}
