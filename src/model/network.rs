//! Networks, and ranges of addresses, as a list has them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::fault::Fault;

/// Addresses that follow each other: a network, or a range `a-b`. Of one family; those of an IPv4-mapped network are
/// stored as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    first: IpAddr,
    last: IpAddr,
}

/// Length of `::ffff:0:0/96`, the prefix of IPv4-mapped addresses, in bits.
const MAPPED: u8 = 96;

impl Network {
    /// The network with this prefix length that contains the address.
    fn of(addr: IpAddr, prefix: u8) -> Self {
        match addr {
            IpAddr::V4(ip) => {
                let free = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let (first, last) = (ip.to_bits() & !free, ip.to_bits() | free);
                Network { first: Ipv4Addr::from_bits(first).into(), last: Ipv4Addr::from_bits(last).into() }
            }
            IpAddr::V6(ip) => {
                let free = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let (first, last) = (ip.to_bits() & !free, ip.to_bits() | free);
                Network { first: Ipv6Addr::from_bits(first).into(), last: Ipv6Addr::from_bits(last).into() }
            }
        }
    }

    /// The first and the last address, of one family.
    pub fn ends(self) -> (IpAddr, IpAddr) {
        (self.first, self.last)
    }

    /// Whether the address, which may be IPv4-mapped, is one of them.
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        // The order of `IpAddr` has every IPv4 address before the first of IPv6.
        ip.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&ip)
    }

    /// The length of the prefix that just these addresses share. `None`: they are no network.
    fn prefix(self) -> Option<u8> {
        let most = if self.first.is_ipv4() { 32 } else { 128 };
        (0..=most).find(|prefix| Network::of(self.first, *prefix) == self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            Some(prefix) => write!(f, "{}/{prefix}", self.first),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for Network {
    type Err = Fault;

    /// Reads `"10.0.0.0/8"`, `"2001:db8::/32"`, `"10.0.0.5-10.0.0.9"`, or one address.
    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some((first, last)) = text.split_once('-') {
            return range(text, first.trim(), last.trim());
        }
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix)),
            None => (text, None),
        };
        let Some(addr) = address(host) else { return Err(not_a_network(text)) };
        let most: u8 = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => match digits.parse::<u8>() {
                Ok(prefix) if prefix <= most && digits.bytes().all(|b| b.is_ascii_digit()) => prefix,
                _ => return Err(not_a_prefix(addr, digits, most)),
            },
        };
        let network = Network::of(addr, prefix);
        if network.first != addr {
            return Err(Fault::new(
                format!("`{text}` has bits set beyond its prefix"),
                format!("write \"{network}\" for the network, \"{addr}\" for the one address"),
            ));
        }
        match addr.to_canonical() {
            ip @ IpAddr::V4(_) if addr.is_ipv6() && prefix >= MAPPED => Ok(Network::of(ip, prefix - MAPPED)),
            _ => Ok(network),
        }
    }
}

/// An address, which may stand in brackets.
fn address(text: &str) -> Option<IpAddr> {
    text.trim_matches(['[', ']']).parse().ok()
}

/// Reads `a-b`.
fn range(text: &str, first: &str, last: &str) -> Result<Network, Fault> {
    let Some(from) = address(first) else { return Err(not_a_network(text)) };
    let Some(to) = address(last) else {
        // As nmap has it: the last number only.
        let start = first.rfind('.').map_or("", |dot| &first[..=dot]);
        return Err(match address(&format!("{start}{last}")) {
            Some(to) if from.is_ipv4() && from <= to => {
                Fault::new(format!("`{last}` is not an address"), format!("write \"{from}-{to}\""))
            }
            _ => not_a_network(text),
        });
    };
    let (from, to) = (from.to_canonical(), to.to_canonical());
    if from.is_ipv4() != to.is_ipv4() {
        let cure = "write a range of IPv4 addresses, or one of IPv6 addresses";
        return Err(Fault::new(format!("`{text}` begins in one family and ends in the other"), cure));
    }
    if to < from {
        return Err(Fault::new(
            format!("the range {from}-{to} runs backwards"),
            format!("write \"{to}-{from}\""),
        ));
    }
    Ok(Network { first: from, last: to })
}

/// What stands after the `/` is no prefix length: it may be a netmask, or a wildcard of Cisco's lists.
fn not_a_prefix(addr: IpAddr, digits: &str, most: u8) -> Fault {
    match mask(addr, digits) {
        Some(network) => Fault::new(
            format!("`{digits}` is a mask; here a network has the length of its prefix"),
            format!("write \"{network}\""),
        ),
        None => Fault::new(
            format!("`/{digits}` is not a prefix length of `{addr}`"),
            format!("write a number from 0 to {most}: \"{addr}/{most}\" is the one address"),
        ),
    }
}

/// The network of an address and a netmask (255.0.0.0) or a wildcard (0.255.255.255).
fn mask(addr: IpAddr, mask: &str) -> Option<Network> {
    let bits = mask.parse::<Ipv4Addr>().ok().filter(|_| addr.is_ipv4())?.to_bits();
    let prefix = if bits.leading_ones() > 0 { bits } else { !bits };
    let length = prefix.leading_ones();
    (length + prefix.trailing_zeros() == 32).then(|| Network::of(addr, u8::try_from(length).unwrap_or(32)))
}

/// `10.1.*.*`, `10.1.`, `10.1/16`: the numbers that stand there, and how many bits they are.
fn shortened(text: &str) -> Option<Network> {
    let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
    let numbers: Vec<&str> = host.split('.').take_while(|part| !matches!(*part, "*" | "x" | "")).collect();
    let rest = host.split('.').skip(numbers.len());
    if numbers.is_empty() || numbers.len() > 3 || !rest.into_iter().all(|part| matches!(part, "*" | "x" | ""))
    {
        return None;
    }
    let known = numbers.len();
    let padded: Vec<&str> = numbers.into_iter().chain(["0"; 3]).take(4).collect();
    let addr: Ipv4Addr = padded.join(".").parse().ok()?;
    let length = match prefix {
        Some(digits) => digits.parse().ok().filter(|length| *length <= 32)?,
        // One number alone may be anything.
        None if host.contains('.') => u8::try_from(8 * known).ok()?,
        None => return None,
    };
    Some(Network::of(addr.into(), length))
}

fn not_a_network(text: &str) -> Fault {
    let words: Vec<&str> = text.split_whitespace().collect();
    let masked = || match words.as_slice() {
        [addr, "mask" | "netmask", bits] | [addr, bits] => mask(address(addr)?, bits),
        _ => None,
    };
    // As lists of nginx and Apache have it: `deny 10.0.0.0/8`, `Require ip 10.0.0.0/8`.
    let of_a_line = || match words.as_slice() {
        [.., last] if words.len() > 1 => last.parse::<Network>().ok(),
        _ => None,
    };
    let with_port = || {
        let (host, port) = text.rsplit_once(':')?;
        let addr = address(host).filter(|_| port.parse::<u16>().is_ok())?;
        Some(Network::of(addr, 128))
    };
    if let Some(network) = shortened(text).or_else(masked).or_else(of_a_line) {
        return Fault::new(format!("`{text}` is not a network"), format!("write \"{network}\""));
    }
    if let Some(network) = with_port() {
        let cure = format!("write \"{}\" without the port: a client's port says nothing", network.first);
        return Fault::new(format!("`{text}` is not a network"), cure);
    }
    let rest = text.trim_start_matches('!').trim();
    if text.starts_with('!') && rest.parse::<Network>().is_ok() {
        let cure = format!("remove it here, and put \"{rest}\" into `deny`");
        return Fault::new(format!("`{text}` is an exception, and `allow` has none"), cure);
    }
    let cure = "write a network (\"10.0.0.0/8\", \"2001:db8::/32\"), a range (\"10.0.0.5-10.0.0.9\") or an address; \
                names are not looked up here";
    Fault::new(format!("`{text}` is not a network"), cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m_ranges_are_networks_too() {
        for (text, shown) in [
            ("10.0.0.5-10.0.0.9", "10.0.0.5-10.0.0.9"),
            ("10.0.0.5 - 10.0.0.9", "10.0.0.5-10.0.0.9"),
            ("10.0.0.0-10.0.0.255", "10.0.0.0/24"),
            ("10.0.0.7-10.0.0.7", "10.0.0.7/32"),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
            ("2001:db8::1-2001:db8::9", "2001:db8::1-2001:db8::9"),
            ("::ffff:10.0.0.5-::ffff:10.0.0.9", "10.0.0.5-10.0.0.9"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown, "{text}");
        }
        let range: Network = "10.0.0.5-10.0.0.9".parse().unwrap();
        for (ip, within) in [
            ("10.0.0.4", false),
            ("10.0.0.5", true),
            ("10.0.0.9", true),
            ("::ffff:10.0.0.9", true),
            ("10.0.0.10", false),
            ("::a00:5", false),
        ] {
            assert_eq!(range.contains(ip.parse().unwrap()), within, "{ip}");
        }
    }

    #[test]
    fn m_other_spellings_of_a_network_have_their_cure() {
        for (text, cure) in [
            ("10.0.0.0/255.0.0.0", "write \"10.0.0.0/8\""),
            ("10.1.2.3/255.255.0.0", "write \"10.1.0.0/16\""),
            ("10.0.0.0/0.255.255.255", "write \"10.0.0.0/8\""),
            ("10.0.0.0 255.0.0.0", "write \"10.0.0.0/8\""),
            ("10.0.0.0 netmask 255.0.0.0", "write \"10.0.0.0/8\""),
            ("10.1.*.*", "write \"10.1.0.0/16\""),
            ("10.1.2.x", "write \"10.1.2.0/24\""),
            ("10.1.", "write \"10.1.0.0/16\""),
            ("10/8", "write \"10.0.0.0/8\""),
            ("10.1/16", "write \"10.1.0.0/16\""),
            ("10.0.0.5-9", "write \"10.0.0.5-10.0.0.9\""),
            ("10.0.0.9-10.0.0.5", "write \"10.0.0.5-10.0.0.9\""),
            ("deny 10.0.0.0/8", "write \"10.0.0.0/8\""),
            ("10.0.0.1/8", "write \"10.0.0.0/8\" for the network, \"10.0.0.1\" for the one address"),
            ("10.0.0.1:80", "write \"10.0.0.1\" without the port: a client's port says nothing"),
            ("[::1]:80", "write \"::1\" without the port: a client's port says nothing"),
            ("!10.0.0.1", "remove it here, and put \"10.0.0.1\" into `deny`"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().help, cure, "{text}");
        }
        for text in ["!a", " ::1"] {
            assert_eq!(text.parse::<Network>().unwrap_err().message, format!("`{text}` is not a network"));
        }
        for text in
            ["10.0.0.1/255.0.255.0", "*", "10", "a-b", "10.0.0.1-::1", "10.0.0.5-4", "", "-", "10.*.1"]
        {
            let fault = text.parse::<Network>().unwrap_err();
            let quoted = fault.help.split('"').nth(1).unwrap_or("10.0.0.0/8");
            assert!(quoted.parse::<Network>().is_ok(), "{text}: {}", fault.help);
        }
    }

    #[test]
    fn prefixes_have_their_bounds_and_mapped_networks_are_ipv4() {
        for (text, shown) in [
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1/128", "::1/128"),
            ("::/0", "::/0"),
            ("[2001:db8::]/32", "2001:db8::/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::fffe:0:0/95", "::fffe:0:0/95"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown, "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "::/129", "::/+1", "::ffff:10.0.0.1/95"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let ends: (IpAddr, IpAddr) = ("10.1.0.0".parse().unwrap(), "10.1.255.255".parse().unwrap());
        assert_eq!("10.1.0.0/16".parse::<Network>().unwrap().ends(), ends);
    }

    #[test]
    fn what_is_shortened_is_guessed_only_where_it_can_mean_one_thing() {
        let guess = |text: &str| shortened(text).map(|network| network.to_string());
        for (text, network) in [
            ("10.", Some("10.0.0.0/8")),
            ("10.x", Some("10.0.0.0/8")),
            ("10.*.*.*", Some("10.0.0.0/8")),
            ("10.1.2", Some("10.1.2.0/24")),
            ("10/8", Some("10.0.0.0/8")),
            ("10.1/32", Some("10.1.0.0/32")),
            ("10/33", None),
            ("10", None),
            ("10.*.1", None),
            ("*.10", None),
            ("10.1.2.3", None),
            ("10.256", None),
            ("", None),
        ] {
            assert_eq!(guess(text).as_deref(), network, "{text}");
        }
    }
}
