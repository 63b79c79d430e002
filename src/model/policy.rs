//! The policy of a route: one field for each subject, which holds its value or its default.

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

/// The policy keys of a route. `Default` has the documented defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is forwarded: connections or datagrams.
    pub protocol: Protocol,
    /// Timeouts of its connections and sessions.
    pub timeouts: Timeouts,
    /// What an edit does to the open connections of a route that it changes or removes.
    pub on_change: OnChange,
    /// Which path a relay takes, unless TLS or a bandwidth limit leaves only one.
    pub relay: RelayMode,
    /// Which upstream gets the next connection.
    pub balance: Balance,
    /// How long an upstream that came back gets less than its share: at most an hour. Zero: no slow start.
    pub slow_start: Duration,
    /// What happens to the connections of an upstream that went down.
    pub on_down: OnDown,
    /// What happens to the connections to an address that its name no longer resolves to. `None`: what is usual for the
    /// protocol, by [`Policy::of`].
    pub on_vanish: Option<OnVanish>,
    /// Active checks of the upstreams. `None`: only failed connects count.
    pub health: Option<HealthCheck>,
    /// What happens to a client when no upstream is available.
    pub when_down: WhenDown,
    /// UDP: most sessions of the route at once. `None`: as many as the descriptors allow.
    pub max_sessions: Option<u32>,
    /// UDP: a session ends once each datagram of the client has had this many answers. `None`: only silence ends it.
    pub max_replies: Option<u32>,
    /// Which clients are admitted.
    pub access: AccessRules,
    /// How many connections the route and each client may have.
    pub limits: ClientLimits,
    /// The bandwidth limits of one connection.
    pub bandwidth: Bandwidth,
    /// From whom PROXY headers are read, and whether one is sent to the upstream.
    pub proxy_protocol: ProxyProtocol,
    /// TLS towards clients, and towards the upstreams.
    pub tls: Tls,
}

impl Policy {
    /// The policy as a route of this protocol has it: what the protocol has no use for has its default.
    #[must_use]
    pub fn of(&self, protocol: Protocol) -> Policy {
        let proxy_protocol = self.proxy_protocol.clone().of(protocol);
        let all = Policy { protocol, proxy_protocol, ..self.clone() };
        match protocol {
            Protocol::TcpUdp => all,
            Protocol::Tcp => Policy {
                on_vanish: self.on_vanish.or(Some(OnVanish::Keep)),
                max_sessions: None,
                max_replies: None,
                ..all
            },
            Protocol::Udp => Policy {
                timeouts: Timeouts {
                    connect: self.timeouts.connect,
                    // Nothing else ends a session.
                    idle: self.timeouts.idle.or(Some(UDP_IDLE)),
                    drain: self.timeouts.drain,
                    ..Timeouts::default()
                },
                // A client of UDP does not notice: its next datagram opens a session to another address.
                on_vanish: self.on_vanish.or(Some(OnVanish::Cut)),
                relay: RelayMode::default(),
                on_down: OnDown::default(),
                when_down: WhenDown::default(),
                limits: ClientLimits {
                    max_connections_per_client: self.limits.max_connections_per_client,
                    rate_per_client: self.limits.rate_per_client,
                    ..ClientLimits::default()
                },
                bandwidth: Bandwidth::default(),
                tls: Tls::default(),
                ..all
            },
        }
    }
}

/// The timeouts of a route. `None`: there is no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one attempt to connect to one address, TLS handshake included: at least 1 ms.
    pub connect: Duration,
    /// Without a byte (UDP: a datagram) in either direction. Never `None` for a UDP route: nothing else ends its
    /// sessions.
    pub idle: Option<Duration>,
    /// After the first FIN, without a byte in the other direction.
    pub half_close: Option<Duration>,
    /// From connected to drained, give or take a tenth.
    pub max_age: Option<Duration>,
    /// TCP keepalive of both sides: idle time before the first probe, in whole seconds, at most 32,767.
    pub keepalive: Option<Duration>,
    /// How long a drain waits for open connections before it resets them. Zero: not at all.
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
            max_age: None,
            keepalive: Some(Duration::from_secs(60)),
            drain: Duration::from_secs(30),
            sniff: Duration::from_secs(5),
        }
    }
}

/// The idle timeout of a UDP route that sets none.
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
        /// The fastest path that fits.
        #[default]
        Auto = "auto",
        /// tokio's `copy_bidirectional`, with one buffer per direction.
        Copy = "copy",
        /// Through kernel pipes from the first byte.
        Splice = "splice",
    }
}
