//! What a person can do on the screen: reset connections, and steer routes and upstreams.

/// What the proxy is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Reset these connections.
    Kill(Vec<u64>),
    /// Steer a route, or one upstream of it.
    Steer(Steer, Of),
}

/// How a route or an upstream is steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steer {
    Drain,
    Disable,
    Enable,
    Weight(u32),
}

/// A route. With an upstream: that upstream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub route: String,
    pub upstream: Option<String>,
}
