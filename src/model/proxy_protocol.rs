//! The PROXY protocol of a route: from whom it is read, and how it is sent.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::access::Networks;
use super::addr::Peer;
use super::cidr::Network;
use super::fault::Fault;
use super::protocol::Protocol;
use super::units;
use super::words::words;

/// What a route has to do with the PROXY protocol. `Default`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// It is read.
    pub accept: Option<Arc<AcceptProxy>>,
    /// It is sent to the upstream.
    pub send: Option<ProxyVersion>,
    /// Of UDP: which datagrams of a session have it.
    pub datagrams: HeaderOn,
}

impl ProxyProtocol {
    /// What of it a route of a protocol has: of UDP there is no version 1, and none is read.
    pub fn of(self, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => ProxyProtocol { datagrams: HeaderOn::Each, ..self },
            Protocol::Udp => ProxyProtocol {
                accept: None,
                send: self.send.filter(|version| *version == ProxyVersion::V2),
                ..self
            },
        }
    }
}

/// From whom a header is read, and what becomes of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Who must send one.
    pub trusted: Trusted,
    /// What becomes of who is not trusted.
    pub untrusted: Untrusted,
    /// How long the whole header may take: at least 1 ms.
    pub timeout: Duration,
}

/// Senders whose word counts: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    networks: Networks,
    /// Whoever can open our Unix socket.
    unix: bool,
}

impl Trusted {
    /// Whether this sender is one of them.
    pub fn includes(&self, sender: &Peer) -> bool {
        match sender {
            Peer::Ip(addr) => self.contains(addr.ip()),
            Peer::Unix(_) => self.unix,
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.networks.set().contains(ip)
    }
}

impl FromIterator<TrustedSender> for Trusted {
    fn from_iter<I: IntoIterator<Item = TrustedSender>>(senders: I) -> Self {
        let senders: Vec<TrustedSender> = senders.into_iter().collect();
        let networks = senders.iter().filter_map(|sender| match sender {
            TrustedSender::Network(network) => Some(*network),
            TrustedSender::Unix => None,
        });
        Trusted { networks: networks.collect(), unix: senders.contains(&TrustedSender::Unix) }
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.networks.set().is_empty(), self.unix) {
            (true, true) => f.write_str("unix:"),
            (false, true) => write!(f, "{}, unix:", self.networks),
            (_, false) => write!(f, "{}", self.networks),
        }
    }
}

/// One entry of `trusted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedSender {
    /// Senders of a network.
    Network(Network),
    /// Senders that come through our Unix socket. Written `"unix:"`.
    Unix,
}

impl FromStr for TrustedSender {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.starts_with("unix:") {
            return if text == "unix:" {
                Ok(TrustedSender::Unix)
            } else {
                let cure = "write \"unix:\" alone, for whoever can open the socket of the route";
                Err(Fault::new(format!("`{text}` says more than can be known of a sender"), cure))
            };
        }
        text.parse().map(TrustedSender::Network)
    }
}

words! {
    /// What becomes of a client whose header would not be believed.
    #[derive(Default)]
    pub enum Untrusted {
        /// It is reset.
        #[default]
        Refuse = "refuse",
        /// It is a client like any other, and what it sends is its own.
        Plain = "plain",
    }
}

words! {
    /// A version of the protocol.
    pub enum ProxyVersion {
        /// A line of text.
        V1 = "v1",
        /// Binary, with a checksum and notes.
        V2 = "v2",
    }
}

words! {
    /// Which datagrams of a session have a header. The protocol's text does not say, and receivers differ.
    #[derive(Default)]
    pub enum HeaderOn {
        /// Each, as PowerDNS, BIND, Knot, Unbound and go-mmproxy expect it: a datagram may be lost, or overtaken, and each
        /// must be understood by itself.
        #[default]
        Each = "each",
        /// The first, as Cloudflare Spectrum and frp send it: what expects that takes a second header for payload.
        First = "first",
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(AcceptProxy { trusted, untrusted, timeout }) = self.accept.as_deref() {
            let others = match untrusted {
                Untrusted::Refuse => "refused",
                Untrusted::Plain => "plain",
            };
            write!(f, "accept from {trusted} within {}, others {others}", units::show(*timeout))?;
        }
        let gap = if self.accept.is_some() { ", " } else { "" };
        match self.send {
            Some(version) => write!(f, "{gap}send {version}"),
            None if self.accept.is_none() => f.write_str("off"),
            None => Ok(()),
        }?;
        match self.datagrams {
            HeaderOn::Each => Ok(()),
            HeaderOn::First => f.write_str(" with the first datagram"),
        }
    }
}
