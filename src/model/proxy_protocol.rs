//! The PROXY protocol of a route: from whom headers are read, and how they are sent.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::access::Networks;
use super::addr::Peer;
use super::fault::Fault;
use super::network::Network;
use super::protocol::Protocol;
use super::units;
use super::words::words;

/// The `proxy_protocol` key of a route. `Default`: off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// How headers are read from clients. `None`: they are not.
    pub accept: Option<Arc<AcceptProxy>>,
    /// The version that is sent to the upstream. `None`: no header is sent.
    pub send: Option<ProxyVersion>,
    /// UDP: which datagrams of a session have a header.
    pub datagrams: HeaderOn,
}

impl ProxyProtocol {
    /// Leaves out what `protocol` does not have: with UDP there is no version 1, and no header is read.
    pub fn of(self, protocol: Protocol) -> Self {
        match protocol {
            Protocol::TcpUdp => self,
            Protocol::Tcp => ProxyProtocol { datagrams: HeaderOn::Each, ..self },
            Protocol::Udp => ProxyProtocol {
                accept: None,
                send: self.send.filter(|version| *version == ProxyVersion::V2),
                ..self
            },
        }
    }
}

/// From whom a header is read, and what happens to other senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Senders that must begin with a header.
    pub trusted: Trusted,
    /// What happens to a sender that is not trusted.
    pub untrusted: Untrusted,
    /// How long the whole header may take: at least 1 ms.
    pub timeout: Duration,
}

/// Senders whose headers are believed: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    networks: Networks,
    /// Whether to trust whoever can open the route's Unix socket.
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
    /// Senders on the route's Unix socket. Written `"unix:"`.
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
    /// What happens to a client whose header would not be believed.
    #[derive(Default)]
    pub enum Untrusted {
        /// It is reset.
        #[default]
        Refuse = "refuse",
        /// It is served as a client without a header: all that it sends is payload.
        Plain = "plain",
    }
}

words! {
    /// A version of the PROXY protocol.
    pub enum ProxyVersion {
        /// A line of text.
        V1 = "v1",
        /// Binary, with a checksum and notes.
        V2 = "v2",
    }
}

words! {
    /// Which datagrams of a session have a header. The specification does not say, and receivers differ.
    #[derive(Default)]
    pub enum HeaderOn {
        /// Each, as PowerDNS, BIND, Knot, Unbound and go-mmproxy expect it: a datagram may be lost or overtaken, so
        /// each must be understood by itself.
        #[default]
        Each = "each",
        /// The first, as Cloudflare Spectrum and frp send it: a receiver that expects this takes a second header for
        /// payload.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(senders: &[&str]) -> Trusted {
        senders.iter().map(|sender| sender.parse::<TrustedSender>().unwrap()).collect()
    }

    fn accept(senders: &[&str], untrusted: Untrusted) -> Option<Arc<AcceptProxy>> {
        let timeout = Duration::from_secs(5);
        Some(Arc::new(AcceptProxy { trusted: trusted(senders), untrusted, timeout }))
    }

    #[test]
    fn only_senders_of_the_list_are_trusted() {
        let (ip, unix) = (|text: &str| Peer::from_ip(text.parse().unwrap()), Peer::Unix(None));
        let networks = trusted(&["10.0.0.0/8", "2001:db8::1"]);
        for (sender, is) in [
            (ip("10.1.2.3:9"), true),
            (ip("[::ffff:10.1.2.3]:9"), true),
            (ip("11.0.0.1:9"), false),
            (ip("[2001:db8::1]:9"), true),
            (ip("[2001:db8::2]:9"), false),
            (unix.clone(), false),
        ] {
            assert_eq!(networks.includes(&sender), is, "{sender}");
        }
        let local = trusted(&["unix:"]);
        assert!(local.includes(&unix) && !local.includes(&ip("10.1.2.3:9")));
        for (senders, shown) in [
            (&["10.0.0.0/8"][..], "10.0.0.0/8"),
            (&["unix:"], "unix:"),
            (&["unix:", "10.0.0.0/8", "::1"], "10.0.0.0/8, ::1/128, unix:"),
        ] {
            assert_eq!(trusted(senders).to_string(), shown);
        }
        let fault = "unix:/run/a".parse::<TrustedSender>().unwrap_err();
        assert_eq!(fault.message, "`unix:/run/a` says more than can be known of a sender");
        assert!("lan".parse::<TrustedSender>().is_err());
    }

    #[test]
    fn a_protocol_has_what_it_can_carry() {
        use ProxyVersion::{V1, V2};
        let with = |send| {
            let (accept, datagrams) = (accept(&["unix:"], Untrusted::Plain), HeaderOn::First);
            ProxyProtocol { accept, send, datagrams }
        };
        for send in [None, Some(V1), Some(V2)] {
            assert_eq!(with(send).of(Protocol::TcpUdp), with(send));
            let tcp = with(send).of(Protocol::Tcp);
            assert_eq!((tcp.accept.is_some(), tcp.send, tcp.datagrams), (true, send, HeaderOn::Each));
            let udp = with(send).of(Protocol::Udp);
            let sends = send.filter(|version| *version == V2);
            assert_eq!((udp.accept.is_some(), udp.send, udp.datagrams), (false, sends, HeaderOn::First));
        }
    }

    #[test]
    fn it_is_shown_for_a_person() {
        let send = Some(ProxyVersion::V2);
        for (protocol, shown) in [
            (ProxyProtocol::default(), "off"),
            (ProxyProtocol { send, ..ProxyProtocol::default() }, "send v2"),
            (
                ProxyProtocol { send, datagrams: HeaderOn::First, ..ProxyProtocol::default() },
                "send v2 with the first datagram",
            ),
            (
                ProxyProtocol { accept: accept(&["unix:"], Untrusted::Refuse), ..ProxyProtocol::default() },
                "accept from unix: within 5s, others refused",
            ),
            (
                ProxyProtocol {
                    accept: accept(&["::1"], Untrusted::Plain),
                    send,
                    ..ProxyProtocol::default()
                },
                "accept from ::1/128 within 5s, others plain, send v2",
            ),
        ] {
            assert_eq!(protocol.to_string(), shown);
        }
    }
}
