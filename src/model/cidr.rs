//! Networks, and sets of them with a fast lookup.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::fault::Fault;

/// The addresses that share a prefix. An IPv4-mapped network is stored as its IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    addr: IpAddr,
    prefix: u8,
}

/// Length of `::ffff:0:0/96`, the prefix of IPv4-mapped addresses, in bits.
const MAPPED: u8 = 96;

impl Network {
    /// The network with this prefix length that contains the address.
    fn of(addr: IpAddr, prefix: u8) -> Self {
        match addr {
            IpAddr::V4(ip) => {
                let masked = ip.to_bits() & !low_bits_32(prefix);
                Network { addr: Ipv4Addr::from_bits(masked).into(), prefix }
            }
            IpAddr::V6(ip) => {
                let masked = ip.to_bits() & !low_bits_128(prefix);
                Network { addr: Ipv6Addr::from_bits(masked).into(), prefix }
            }
        }
    }

    /// Whether the network contains the address, which may be IPv4-mapped.
    pub fn contains(self, ip: IpAddr) -> bool {
        match (self.addr, ip.to_canonical()) {
            (IpAddr::V4(_), ip @ IpAddr::V4(_)) | (IpAddr::V6(_), ip @ IpAddr::V6(_)) => {
                Network::of(ip, self.prefix) == self
            }
            _ => false,
        }
    }
}

/// Ones in the bits that a prefix leaves free; `prefix` is at most 32.
fn low_bits_32(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

/// As [`low_bits_32`], for 128 bits.
fn low_bits_128(prefix: u8) -> u128 {
    u128::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for Network {
    type Err = Fault;

    /// Reads `"10.0.0.0/8"`, `"2001:db8::/32"`, or one address.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix)),
            None => (text, None),
        };
        let Ok(addr) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
            return Err(not_a_network(text, host));
        };
        let most: u8 = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => match digits.parse::<u8>() {
                Ok(prefix) if prefix <= most && digits.bytes().all(|b| b.is_ascii_digit()) => prefix,
                _ => {
                    return Err(Fault::new(
                        format!("`/{digits}` is not a prefix length of `{host}`"),
                        format!("write a number from 0 to {most}: \"{addr}/{most}\" is the one address"),
                    ));
                }
            },
        };
        let network = Network::of(addr, prefix);
        if network.addr != addr {
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

fn not_a_network(text: &str, host: &str) -> Fault {
    let help = if host.contains('*') {
        "write the network with its prefix length: \"10.1.0.0/16\" for 10.1.*.*"
    } else if host
        .rsplit_once(':')
        .is_some_and(|(host, _)| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
    {
        "write it without the port: a client's port says nothing"
    } else {
        "write a network (\"10.0.0.0/8\", \"2001:db8::/32\") or an address; names are not looked up here"
    };
    Fault::new(format!("`{text}` is not a network"), help)
}

/// A set of addresses: sorted ranges that neither touch nor overlap. A lookup is one binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last addresses, in two arrays because the search reads only the first ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges<T> {
    first: Box<[T]>,
    last: Box<[T]>,
}

impl<T: Copy + Ord> Ranges<T> {
    /// Sorts and merges ranges. `follows` says whether its second argument comes right after the first.
    fn new(mut ranges: Vec<(T, T)>, follows: impl Fn(T, T) -> bool) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end || follows(*end, first) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        let (first, last): (Vec<T>, Vec<T>) = merged.into_iter().unzip();
        Ranges { first: first.into(), last: last.into() }
    }

    fn contains(&self, value: T) -> bool {
        let after = self.first.partition_point(|first| *first <= value);
        after.checked_sub(1).and_then(|index| self.last.get(index)).is_some_and(|last| value <= *last)
    }
}

impl NetworkSet {
    /// Whether the set contains the address, which may be IPv4-mapped.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.contains(ip.to_bits()),
        }
    }

    /// Number of ranges of both families, after merging.
    pub fn len(&self) -> usize {
        self.v4.first.len() + self.v6.first.len()
    }

    /// Whether the set contains no address.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Network> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Network { addr, prefix } in networks {
            match addr {
                IpAddr::V4(ip) => v4.push((ip.to_bits(), ip.to_bits() | low_bits_32(prefix))),
                IpAddr::V6(ip) => v6.push((ip.to_bits(), ip.to_bits() | low_bits_128(prefix))),
            }
        }
        NetworkSet {
            v4: Ranges::new(v4, |a, b| a.checked_add(1) == Some(b)),
            v6: Ranges::new(v6, |a, b| a.checked_add(1) == Some(b)),
        }
    }
}

/// A line of a list that is not a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Where the word is in the text, in bytes.
    pub at: std::ops::Range<usize>,
    /// Why the word is not a network.
    pub error: Fault,
}

/// Reads a list: one network per line; `#` begins a comment. `Err`: the lines that are not networks, at most a
/// thousand.
pub fn read_list(text: &str) -> Result<NetworkSet, Vec<BadLine>> {
    const NOTED: usize = 1000;
    let (mut networks, mut bad, mut start) = (Vec::new(), Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let word = line.split('#').next().unwrap_or_default();
        let at = start + (word.len() - word.trim_start().len());
        start += line.len();
        match word.trim() {
            "" => {}
            word => match word.parse() {
                Ok(network) => networks.push(network),
                Err(error) if bad.len() < NOTED => bad.push(BadLine { at: at..at + word.len(), error }),
                Err(_) => {}
            },
        }
    }
    if bad.is_empty() { Ok(networks.into_iter().collect()) } else { Err(bad) }
}
