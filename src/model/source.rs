//! From where upstreams are connected to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use super::Fault;

/// The key `source`. At least one of its parts is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The local IPv4 address, and the local IPv6 address. Both `None`: the kernel chooses.
    pub addresses: [Option<IpAddr>; 2],
    /// The address of the client that is connected, instead of `addresses`. Checks and trials, which are of no client, begin at
    /// an address of this host.
    pub client: bool,
    /// The interface that packets leave by (SO_BINDTODEVICE). `None`: the routes say.
    pub interface: Option<Interface>,
    /// The class of service that packets have (DSCP). `None`: that of the system.
    pub dscp: Option<Dscp>,
    /// The mark that packets have for routes and filters of this host (SO_MARK). `None`: none.
    pub mark: Option<NonZeroU32>,
}

impl Source {
    /// The local address towards this peer. `Ok(None)`: the kernel chooses. Fails where the source has addresses, and none of
    /// the family of the peer.
    pub fn towards(&self, peer: SocketAddr) -> Result<Option<IpAddr>, NoSuchFamily> {
        let [v4, v6] = self.addresses;
        match if peer.is_ipv4() { (v4, v6) } else { (v6, v4) } {
            (None, Some(_)) => Err(NoSuchFamily(if peer.is_ipv4() { "IPv4" } else { "IPv6" })),
            (own, _) => Ok(own),
        }
    }
}

/// The source has no address of the family that the peer has.
#[derive(Debug, thiserror::Error)]
#[error("`source` has no {0} address")]
pub struct NoSuchFamily(&'static str);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source { addresses, client, interface, dscp, mark } = self;
        let mut parts: Vec<String> = addresses.iter().flatten().map(ToString::to_string).collect();
        parts.extend(client.then(|| "client".to_owned()));
        parts.extend(interface.as_ref().map(|interface| format!("interface {interface}")));
        parts.extend(dscp.map(|dscp| format!("dscp {dscp}")));
        parts.extend(mark.map(|mark| format!("mark {mark}")));
        f.write_str(&parts.join(", "))
    }
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface(String);

impl Interface {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Interface {
    type Err = Fault;

    /// As the kernel has them (dev_valid_name()).
    fn from_str(text: &str) -> Result<Self, Fault> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
        if text.is_empty() || text.len() > 15 || text.contains(odd) || text == "." || text == ".." {
            let message = format!("`{text}` is no name of an interface");
            return Err(Fault::new(message, "write one of those that `ip link` shows: \"eth0\""));
        }
        Ok(Interface(text.to_owned()))
    }
}

/// A class of service: the upper six bits of the byte that IPv4 calls TOS and IPv6 traffic class (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dscp(u8);

/// The classes that have names (RFC 4594, RFC 5865, RFC 8622).
const CLASSES: [(&str, u8); 23] = [
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("va", 44),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

impl Dscp {
    /// The byte of the header, with these two bits of congestion notification.
    pub fn byte(self, ecn: u8) -> u8 {
        self.0 << 2 | (ecn & 0b11)
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CLASSES.iter().find(|(_, class)| *class == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for Dscp {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let named = CLASSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, class)| *class);
        match named.or_else(|| text.parse().ok().filter(|class| *class < 64)) {
            Some(class) => Ok(Dscp(class)),
            None => {
                let message = format!("`{text}` is no class of service");
                Err(Fault::new(message, "write a number from 0 to 63, or a name: \"ef\", \"af41\", \"cs1\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_service_is_a_name_or_a_number() {
        let read = |text: &str| text.parse::<Dscp>().map(|dscp| (dscp.byte(0b01), dscp.to_string())).ok();
        assert_eq!(read("ef"), Some((0b1011_1001, "ef".into())));
        assert_eq!(read("46"), read("EF"));
        assert_eq!(read("63"), Some((0xfd, "63".into())));
        assert_eq!((read("64"), read("-1"), read("af44"), read("")), (None, None, None, None));
    }

    #[test]
    fn the_address_fits_the_family_of_the_peer() {
        let (v4, v6) = ("10.0.0.5".parse().unwrap(), "2001:db8::5".parse().unwrap());
        let towards = |addresses, peer: &str| {
            Source { addresses, ..Source::default() }.towards(peer.parse().unwrap()).ok()
        };
        assert_eq!(towards([Some(v4), None], "10.0.0.1:80"), Some(Some(v4)));
        assert_eq!(towards([Some(v4), None], "[::1]:80"), None);
        assert_eq!(towards([Some(v4), Some(v6)], "[::1]:80"), Some(Some(v6)));
        assert_eq!(towards([None, None], "[::1]:80"), Some(None));
    }

    #[test]
    fn an_interface_has_a_name_that_the_kernel_takes() {
        for fits in ["e", "eth0", "br-0.1", "...", "a23456789012345"] {
            assert_eq!(fits.parse::<Interface>().unwrap().name(), fits);
        }
        for wrong in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{7f}", "a234567890123456"] {
            let fault = wrong.parse::<Interface>().unwrap_err();
            assert_eq!(fault.message, format!("`{wrong}` is no name of an interface"));
        }
    }

    #[test]
    fn a_source_shows_each_of_its_parts() {
        let addresses = ["10.0.0.5".parse().ok(), "2001:db8::5".parse().ok()];
        let (interface, dscp, mark) = ("eth0".parse().ok(), "ef".parse().ok(), NonZeroU32::new(7));
        let whole = Source { addresses, client: true, interface, dscp, mark };
        assert_eq!(whole.to_string(), "10.0.0.5, 2001:db8::5, client, interface eth0, dscp ef, mark 7");
        assert_eq!(Source { client: true, ..Source::default() }.to_string(), "client");
        assert_eq!(
            Source { addresses: [None, addresses[1]], ..Source::default() }.to_string(),
            "2001:db8::5"
        );
        let fault = Source { addresses: [None, addresses[1]], ..Source::default() }
            .towards("10.0.0.1:80".parse().unwrap());
        assert_eq!(fault.unwrap_err().to_string(), "`source` has no IPv4 address");
        let fault = Source { addresses: [addresses[0], None], ..Source::default() }
            .towards("[::1]:80".parse().unwrap());
        assert_eq!(fault.unwrap_err().to_string(), "`source` has no IPv6 address");
    }

    /// RFC 4594, RFC 5865, RFC 8622.
    #[test]
    fn classes_have_the_numbers_of_the_standards() {
        let classes = [
            ("cs0", 0),
            ("le", 1),
            ("cs1", 8),
            ("af11", 10),
            ("af12", 12),
            ("af13", 14),
            ("cs2", 16),
            ("af21", 18),
            ("af22", 20),
            ("af23", 22),
            ("cs3", 24),
            ("af31", 26),
            ("af32", 28),
            ("af33", 30),
            ("cs4", 32),
            ("af41", 34),
            ("af42", 36),
            ("af43", 38),
            ("cs5", 40),
            ("va", 44),
            ("ef", 46),
            ("cs6", 48),
            ("cs7", 56),
        ];
        for (name, number) in classes {
            let [dscp, by_number] =
                [name.to_owned(), number.to_string()].map(|text| text.parse::<Dscp>().unwrap());
            assert_eq!((dscp, dscp.to_string().as_str(), dscp.byte(0)), (by_number, name, number * 4));
        }
        let best: Dscp = "63".parse().unwrap();
        assert_eq!([0, 1, 2, 3, 4, 255].map(|ecn| best.byte(ecn)), [252, 253, 254, 255, 252, 255]);
    }
}
