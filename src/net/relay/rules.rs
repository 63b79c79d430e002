//! The rules of a relay: path, bandwidth and timeouts.

use crate::model::{Bandwidth, RelayMode, Timeouts};

/// How to move bytes, how fast, and how long silence may last.
#[derive(Clone, Copy, Debug)]
pub struct RelayRules<'a> {
    /// The `relay` key of the route. Ignored with TLS or a bandwidth limit: then only one path fits.
    pub mode: RelayMode,
    /// The bandwidth limit of each direction.
    pub bandwidth: &'a Bandwidth,
    /// How long the connection may be silent before it is ended.
    pub timeouts: &'a Timeouts,
}
