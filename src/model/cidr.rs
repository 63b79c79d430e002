//! Sets of networks with a fast lookup, and lists of them.

use std::net::IpAddr;

use super::fault::Fault;
use super::network::Network;

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
        for network in networks {
            match network.ends() {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // Not reached: both ends are of one family.
                _ => {}
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

/// Reads a list: one network or range per line; `#` or `;` begins a comment. `Err`: the lines that are neither, at most a
/// thousand.
pub fn read_list(text: &str) -> Result<NetworkSet, Vec<BadLine>> {
    const NOTED: usize = 1000;
    let (mut networks, mut bad, mut start) = (Vec::new(), Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let word = line.split(['#', ';']).next().unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &str) -> NetworkSet {
        read_list(&list.replace(' ', "\n")).unwrap()
    }

    #[test]
    fn a_set_has_its_edges_and_nothing_beyond_them() {
        for (list, within, beyond) in [
            (
                "10.0.0.4/30",
                &["10.0.0.4", "10.0.0.7", "::ffff:10.0.0.5"][..],
                &["10.0.0.3", "10.0.0.8", "::a00:5"][..],
            ),
            ("2001:db8::4/126", &["2001:db8::4", "2001:db8::7"], &["2001:db8::3", "2001:db8::8", "10.0.0.4"]),
            (
                "10.0.0.9 10.0.0.1",
                &["10.0.0.1", "10.0.0.9"],
                &["10.0.0.0", "10.0.0.2", "10.0.0.8", "10.0.0.10"],
            ),
            // One within another, in either order.
            (
                "10.0.0.0/8 10.1.0.0/16",
                &["10.0.0.0", "10.1.2.3", "10.255.255.255"],
                &["9.255.255.255", "11.0.0.0"],
            ),
            ("10.0.0.1-10.0.0.5 10.0.0.3-10.0.0.9", &["10.0.0.1", "10.0.0.9"], &["10.0.0.0", "10.0.0.10"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]),
            ("::/0", &["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], &["0.0.0.0", "::ffff:1.2.3.4"]),
        ] {
            let set = set(list);
            for ip in within {
                assert!(set.contains(ip.parse().unwrap()), "{ip} in {list}");
            }
            for ip in beyond {
                assert!(!set.contains(ip.parse().unwrap()), "{ip} not in {list}");
            }
        }
    }

    #[test]
    fn networks_that_touch_are_one_range() {
        for (list, ranges) in [
            ("", 0),
            ("10.0.0.0/25 10.0.0.128/25", 1),
            ("10.0.0.0/25 10.0.0.129", 2),
            ("10.0.0.0/8 10.0.0.0/9", 1),
            ("2001:db8::/65 2001:db8:0:0:8000::/65", 1),
            ("2001:db8::1 2001:db8::3", 2),
            ("255.255.255.255 0.0.0.0 ::", 3),
        ] {
            assert_eq!((set(list).len(), set(list).is_empty()), (ranges, ranges == 0), "{list}");
        }
    }

    #[test]
    fn a_word_of_a_list_that_is_no_network_is_found_where_it_stands() {
        let text = "10.0.0.0/8 # a comment\n\t x1 ; another\n\n::1\r\n# y\nz2";
        let bad = read_list(text).unwrap_err();
        let words: Vec<(&str, usize)> =
            bad.iter().map(|line| (&text[line.at.clone()], line.at.start)).collect();
        assert_eq!(words, [("x1", 25), ("z2", 48)]);
        assert_eq!(read_list("10.0.0.0/8 # a\n;b\n\n ::1 \r\n").map(|set| set.len()), Ok(2));
        assert_eq!(read_list(&"x\n".repeat(999)).unwrap_err().len(), 999);
        assert_eq!(read_list(&"x\n".repeat(1001)).unwrap_err().len(), 1000);
    }
}
