//! The policy of a route: one field for each subject, each with its value or its default.

use std::time::Duration;

use super::access::AccessRules;
use super::health::{HealthCheck, OnVanish, WhenDown};
use super::limits::ClientLimits;
use super::protocol::Protocol;
use super::proxy_protocol::ProxyProtocol;
use super::rate::Bandwidth;
use super::tls::Tls;
use super::upstream::{Balance, OnDown};
use super::words::words;

/// The policy keys of a route. `Default` is what the documentation promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is forwarded: connections or datagrams.
    pub protocol: Protocol,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What an edit does to the open connections of a route that it changes or removes.
    pub on_change: OnChange,
    /// How bytes are moved.
    pub relay: RelayMode,
    /// Which upstream gets the next connection.
    pub balance: Balance,
    /// How long an upstream that came back has less than its share: at most an hour.
    pub slow_start: Duration,
    /// What becomes of the connections of an upstream that went down.
    pub on_down: OnDown,
    /// What becomes of the connections to an address that has left its name.
    pub on_vanish: OnVanish,
    /// How the upstreams are checked; `None`: only failed connects tell.
    pub health: Option<HealthCheck>,
    /// What becomes of a client when no upstream is available.
    pub when_down: WhenDown,
    /// UDP: sessions of the route at once. `None`: as many as the descriptors allow.
    pub max_sessions: Option<u32>,
    /// UDP: answers after which a session ends.
    pub max_replies: Option<u32>,
    /// Which clients are admitted.
    pub access: AccessRules,
    /// How many connections there may be.
    pub limits: ClientLimits,
    /// What one connection may move.
    pub bandwidth: Bandwidth,
    /// From whom a PROXY header is read, and whether one is sent.
    pub proxy_protocol: ProxyProtocol,
    /// Where TLS ends here, and where it begins here.
    pub tls: Tls,
}

/// How long things may take. `None`: there is no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one attempt at one address: at least 1 ms.
    pub connect: Duration,
    /// No byte, or of UDP no datagram, in either direction. Never `None` of a UDP route: nothing else ends its sessions.
    pub idle: Option<Duration>,
    /// After the first FIN: no byte in the other direction.
    pub half_close: Option<Duration>,
    /// TCP keepalive of both sides: idle time before the first probe, in whole seconds, at most 32,767.
    pub keepalive: Option<Duration>,
    /// How long a drain waits.
    pub drain: Duration,
    /// How long a client may take to send its TLS hello, and for its handshake: at least 1 ms.
    pub sniff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            idle: None,
            half_close: None,
            keepalive: Some(Duration::from_secs(60)),
            drain: Duration::from_secs(30),
            sniff: Duration::from_secs(5),
        }
    }
}

/// The idle time of a UDP route where none is given.
pub const UDP_IDLE: Duration = Duration::from_secs(60);

words! {
    /// What an edit does to the open connections of a route that it changes or removes.
    #[derive(Default)]
    pub enum OnChange {
        /// They go on as they are.
        #[default]
        Keep = "keep",
        /// They have `drain_timeout` to end by themselves.
        Drain = "drain",
        /// They are reset at once.
        Cut = "cut",
    }
}

words! {
    /// How bytes are moved.
    #[derive(Default)]
    pub enum RelayMode {
        /// The fastest that fits.
        #[default]
        Auto = "auto",
        /// tokio's `copy_bidirectional`.
        Copy = "copy",
        /// Through kernel pipes from the first byte.
        Splice = "splice",
    }
}
