//! The policy of a route: one field for each subject, which holds its value or its default.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::access::AccessRules;
use super::health::{HealthCheck, OnVanish, WhenDown};
use super::limits::ClientLimits;
use super::protocol::Protocol;
use super::proxy_protocol::ProxyProtocol;
use super::rate::Bandwidth;
use super::socket_options::{SocketBuffers, SocketOptions};
use super::source::Source;
use super::tls::Tls;
use super::upstream::{Balance, OnDown};
use super::words::words;

/// The policy keys of a route. `Default` has the documented defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is forwarded: connections or datagrams.
    pub protocol: Protocol,
    /// How the ports of a range are listened on.
    pub port_ranges: PortRanges,
    /// Timeouts of its connections and sessions.
    pub timeouts: Timeouts,
    /// What an edit does to the open connections of a route that it changes or removes.
    pub on_change: OnChange,
    /// From where upstreams are connected to. `None`: the system says.
    pub source: Option<Arc<Source>>,
    /// Which path a relay takes, unless TLS or a bandwidth limit leaves only one.
    pub relay: RelayMode,
    /// How much each queue of its TCP sockets holds. `None`: the kernel adapts it.
    pub socket_buffers: Option<SocketBuffers>,
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
    /// The options of its listening sockets.
    pub fn socket_options(&self) -> SocketOptions {
        SocketOptions { keepalive: self.timeouts.keepalive, buffers: self.socket_buffers }
    }

    /// Makes the relative paths that it names begin at this folder.
    pub fn begin_at(&mut self, folder: &Path) {
        self.access.begin_at(folder);
        self.tls.begin_at(folder);
    }

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
                    drain_delay: self.timeouts.drain_delay,
                    ..Timeouts::default()
                },
                port_ranges: PortRanges::default(),
                // A client of UDP does not notice: its next datagram opens a session to another address.
                on_vanish: self.on_vanish.or(Some(OnVanish::Cut)),
                relay: RelayMode::default(),
                socket_buffers: None,
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
    /// How long its listening sockets stay open once the process is told to stop. Zero: they close at once.
    pub drain_delay: Duration,
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
            drain_delay: Duration::ZERO,
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
    /// How the ports of a range are listened on.
    #[derive(Default)]
    pub enum PortRanges {
        /// Each by a socket of its own.
        #[default]
        Sockets = "sockets",
        /// All by the socket of the first: a rule of the firewall leads the clients of the others there.
        Rule = "rule",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ByteRate, HeaderOn, ProxyVersion, WhenFull};

    /// One with another value than the default for each key that a protocol may have no use for.
    fn odd() -> Policy {
        let seconds = |n| Some(Duration::from_secs(n));
        Policy {
            protocol: Protocol::TcpUdp,
            port_ranges: PortRanges::Rule,
            timeouts: Timeouts {
                connect: Duration::from_secs(1),
                idle: seconds(2),
                half_close: seconds(3),
                max_age: seconds(4),
                keepalive: seconds(5),
                drain: Duration::from_secs(6),
                drain_delay: Duration::from_secs(7),
                sniff: Duration::from_secs(8),
            },
            relay: RelayMode::Copy,
            socket_buffers: "64 KiB".parse().ok(),
            on_down: OnDown::Cut,
            on_vanish: Some(OnVanish::Drain),
            when_down: WhenDown::Refuse,
            max_sessions: Some(9),
            max_replies: Some(10),
            limits: ClientLimits {
                max_connections: Some(11),
                when_full: WhenFull::Wait,
                max_connections_per_client: Some(12),
                rate_per_client: "13/s".parse().ok(),
            },
            bandwidth: Bandwidth { up: "1 MB/s".parse::<ByteRate>().ok(), down: None },
            proxy_protocol: ProxyProtocol {
                send: Some(ProxyVersion::V1),
                datagrams: HeaderOn::First,
                ..ProxyProtocol::default()
            },
            tls: Tls { upstream: Some(Arc::default()), ..Tls::default() },
            ..Policy::default()
        }
    }

    #[test]
    fn udp_has_the_keys_of_sessions_and_tcp_those_of_connections() {
        assert_eq!(odd().of(Protocol::TcpUdp), odd());
        let tcp = odd().of(Protocol::Tcp);
        let proxy_protocol = ProxyProtocol { send: Some(ProxyVersion::V1), ..ProxyProtocol::default() };
        let wanted = Policy { protocol: Protocol::Tcp, max_sessions: None, max_replies: None, ..odd() };
        assert_eq!(tcp, Policy { proxy_protocol, ..wanted });
        let udp = odd().of(Protocol::Udp);
        let timeouts = Timeouts {
            connect: Duration::from_secs(1),
            idle: Some(Duration::from_secs(2)),
            drain: Duration::from_secs(6),
            drain_delay: Duration::from_secs(7),
            ..Timeouts::default()
        };
        let limits = ClientLimits {
            max_connections_per_client: Some(12),
            rate_per_client: "13/s".parse().ok(),
            ..ClientLimits::default()
        };
        let wanted = Policy {
            protocol: Protocol::Udp,
            timeouts,
            limits,
            on_vanish: Some(OnVanish::Drain),
            max_sessions: Some(9),
            max_replies: Some(10),
            proxy_protocol: ProxyProtocol { datagrams: HeaderOn::First, ..ProxyProtocol::default() },
            ..Policy::default()
        };
        assert_eq!(udp, wanted);
    }

    #[test]
    fn what_a_file_does_not_say_is_usual_for_the_protocol() {
        let of = |protocol| Policy::default().of(protocol);
        let idle = |protocol| of(protocol).timeouts.idle.map(|idle| idle.as_secs());
        assert_eq!(
            (idle(Protocol::Tcp), idle(Protocol::Udp), idle(Protocol::TcpUdp)),
            (None, Some(60), None)
        );
        assert_eq!(of(Protocol::Tcp).on_vanish, Some(OnVanish::Keep));
        assert_eq!(of(Protocol::Udp).on_vanish, Some(OnVanish::Cut));
        assert_eq!(of(Protocol::TcpUdp).on_vanish, None);
        let Timeouts { connect, keepalive, drain, drain_delay, sniff, .. } = Timeouts::default();
        assert_eq!([connect, drain, drain_delay, sniff].map(|time| time.as_secs()), [5, 30, 0, 5]);
        assert_eq!(keepalive, Some(Duration::from_secs(60)));
    }

    #[test]
    fn sockets_have_its_keepalive_and_its_buffers() {
        let options = odd().socket_options();
        assert_eq!(options.keepalive, Some(Duration::from_secs(5)));
        assert_eq!(options.buffers.map(SocketBuffers::bytes), Some(65_536));
    }

    #[test]
    fn every_file_that_it_names_begins_at_the_folder() {
        use crate::model::{NetworkList, UpstreamTls};
        let mut policy = Policy::default();
        policy.access.deny = Some(NetworkList::File("deny.txt".into()));
        policy.tls.upstream =
            Some(Arc::new(UpstreamTls { ca: Some("ca.pem".into()), ..UpstreamTls::default() }));
        policy.begin_at(Path::new("/etc/portway"));
        assert_eq!(policy.access.deny, Some(NetworkList::File("/etc/portway/deny.txt".into())));
        let ca = policy.tls.upstream.and_then(|upstream| upstream.ca.clone());
        assert_eq!(ca, Some("/etc/portway/ca.pem".into()));
    }
}
