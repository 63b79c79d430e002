//! Rules of which the first that fits decides, as `allow` and `deny`, of which `deny` decides.

use super::sheet::{Route, Said};
use super::values::quote_all;
use crate::model::Network;

/// One rule of an ordered list.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub said: Said,
    pub allows: bool,
    pub who: Who,
}

/// Whom a rule is about.
#[derive(Clone, Debug)]
pub(super) enum Who {
    All,
    In(Network),
    /// Who is in none of these is refused, and the next rule is about the others.
    InNone(Vec<Network>),
}

/// A network as the others write it: host bits are ignored.
pub(super) fn network(text: &str) -> Option<Network> {
    let bare = text.trim_matches(['[', ']']);
    bare.parse().ok().or_else(|| {
        let (host, prefix) = bare.split_once('/')?;
        let ip: std::net::IpAddr = host.parse().ok()?;
        let prefix: u32 = match prefix.parse::<std::net::Ipv4Addr>() {
            Ok(mask) if mask.to_bits().leading_ones() == mask.to_bits().count_ones() => {
                mask.to_bits().count_ones()
            }
            Ok(_) => return None,
            Err(_) => prefix.parse().ok()?,
        };
        let network = match ip {
            std::net::IpAddr::V4(ip) => {
                let free = u32::MAX.checked_shr(prefix).unwrap_or(0);
                std::net::Ipv4Addr::from_bits(ip.to_bits() & !free).to_string()
            }
            std::net::IpAddr::V6(ip) => {
                let free = u128::MAX.checked_shr(prefix).unwrap_or(0);
                std::net::Ipv6Addr::from_bits(ip.to_bits() & !free).to_string()
            }
        };
        // A prefix that is too long is none there.
        format!("{network}/{prefix}").parse().ok()
    })
}

/// A network in its shortest form: one address has no prefix.
pub(super) fn show(network: Network) -> String {
    let (first, last) = network.ends();
    if first == last { first.to_string() } else { network.to_string() }
}

fn overlap(one: Network, other: Network) -> bool {
    let ((a, b), (c, d)) = (one.ends(), other.ends());
    a.is_ipv4() == c.is_ipv4() && a <= d && c <= b
}

/// The addresses that are in both lists.
pub(super) fn common(one: &[Network], other: &[Network]) -> Vec<Network> {
    let pairs = one.iter().flat_map(|one| other.iter().map(move |other| [one.ends(), other.ends()]));
    let both = pairs.filter_map(|[(a, b), (c, d)]| {
        let (first, last) = (a.max(c), b.min(d));
        let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
        // A range that is a network is shown as one.
        is_range.then(|| format!("{first}-{last}").parse().ok()).flatten()
    });
    both.collect()
}

/// Writes lists of rules into the route. Each list decides about those whom the ones before let in; who is named by none of its
/// rules is let in.
pub(super) fn rules(lists: &[&[Rule]], route: &mut Route) {
    let mut deny: Vec<Network> = Vec::new();
    // Where those are whom nobody has refused yet. `None`: everywhere.
    let mut left: Option<Vec<Network>> = None;
    for list in lists {
        left = through(list, left, &mut deny, route);
    }
    if left.as_ref().is_some_and(Vec::is_empty) {
        // Nobody is let in.
        deny = ["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse().ok()).collect();
    }
    let said = lists.iter().flat_map(|list| list.iter()).map(|rule| &rule.said).next();
    for (key, list) in [("allow", left.unwrap_or_default()), ("deny", deny)] {
        match (list.is_empty(), said) {
            (true, _) => {}
            (false, Some(said)) if route.fields.has(key) => {
                route.lacks(said, format!("`{key}` is a list or a file: write all networks into the file"));
            }
            (false, _) => {
                let shown = quote_all(&list.into_iter().map(show).collect::<Vec<_>>());
                route.fields.set(key, shown);
            }
        }
    }
}

/// Where those are whom this list lets in, of those who are left.
fn through(
    list: &[Rule],
    mut left: Option<Vec<Network>>,
    deny: &mut Vec<Network>,
    route: &mut Route,
) -> Option<Vec<Network>> {
    let mut allow: Vec<Network> = Vec::new();
    for rule in list {
        match &rule.who {
            // Nothing behind it is ever looked at.
            Who::All if rule.allows => break,
            Who::All => return Some(allow),
            Who::InNone(list) => left = Some(left.map_or_else(|| list.clone(), |left| common(&left, list))),
            Who::In(network) if rule.allows => match &left {
                Some(left) => allow.extend(common(left, &[*network])),
                None => allow.push(*network),
            },
            Who::In(network) if allow.iter().any(|earlier| overlap(*earlier, *network)) => {
                let why = "here the first rule that fits decides, and an earlier one lets some of these in; \
                           of Portway's lists `deny` decides: write into `allow` and `deny` what is meant";
                route.lacks(&rule.said, why);
            }
            Who::In(network) => deny.push(*network),
        }
    }
    left.map(|left| [allow, left].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let said = Said::new(1, text);
        let list: Vec<Rule> = text
            .split(' ')
            .map(|word| Rule {
                said: said.clone(),
                allows: word.starts_with('+'),
                who: network(&word[1..]).map_or(Who::All, Who::In),
            })
            .collect();
        let mut route = Route::new(&said);
        rules(&[&list], &mut route);
        let keys: Vec<String> =
            route.fields.lines().iter().map(|line| format!("{} = {}", line.key, line.value)).collect();
        format!("{} {}", keys.join(" "), route.notes.len()).trim().to_owned()
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        for (rules, expected) in [
            ("+10.0.0.0/8 -all", "allow = \"10.0.0.0/8\" 0"),
            ("-10.0.0.1 +10.0.0.0/8 -all", "allow = \"10.0.0.0/8\" deny = \"10.0.0.1\" 0"),
            ("-192.0.2.0/24 +all", "deny = \"192.0.2.0/24\" 0"),
            ("-192.0.2.7/24", "deny = \"192.0.2.0/24\" 0"),
            ("-2001:db8::7/32 +all", "deny = \"2001:db8::/32\" 0"),
            ("-10.1.2.3/255.255.0.0 +all", "deny = \"10.1.0.0/16\" 0"),
            ("+10.0.0.1", "0"),
            ("+10.0.0.1 -all", "allow = \"10.0.0.1\" 0"),
            ("-10.0.0.1 -all", "deny = [\"0.0.0.0/0\", \"::/0\"] 0"),
            ("-10.0.0.1 +all -10.0.0.2", "deny = \"10.0.0.1\" 0"),
            ("+10.0.0.0/8 +all -10.0.0.0/8", "0"),
            // Those that touch do not overlap, and those that share one address do.
            ("+10.0.0.1 -10.0.0.2 +all", "deny = \"10.0.0.2\" 0"),
            ("+10.0.0.2 -10.0.0.1 +all", "deny = \"10.0.0.1\" 0"),
            ("+10.0.0.0/31 -10.0.0.1 +all", "enabled = false 1"),
            ("+10.0.0.1 -10.0.0.0/31 +all", "enabled = false 1"),
            ("+10.0.0.0/31 -10.0.0.0 +all", "enabled = false 1"),
            ("+0.0.0.0/0 -::/0 +all", "deny = \"::/0\" 0"),
            ("+::/0 -0.0.0.0/0 +all", "deny = \"0.0.0.0/0\" 0"),
            // Such a list cannot be said here, and nobody is to come in who could not before.
            ("+10.0.0.1 -10.0.0.0/8 +all", "enabled = false 1"),
            ("-all", "deny = [\"0.0.0.0/0\", \"::/0\"] 0"),
        ] {
            assert_eq!(of(rules), expected, "{rules}");
        }
    }

    #[test]
    fn a_network_is_read_without_its_host_bits() {
        for (text, expected) in [
            ("10.9.9.9/0", Some("0.0.0.0/0")),
            ("10.9.9.9/31", Some("10.9.9.8/31")),
            ("10.9.9.9/32", Some("10.9.9.9")),
            ("10.9.9.9/33", None),
            ("2001:db8::7/0", Some("::/0")),
            ("2001:db8::7/127", Some("2001:db8::6/127")),
            ("[2001:db8::7]/128", Some("2001:db8::7")),
            ("2001:db8::7/129", None),
            ("10.9.9.9/0.0.0.0", Some("0.0.0.0/0")),
            ("10.9.9.9/255.255.254.0", Some("10.9.8.0/23")),
            ("10.9.9.9/255.255.255.255", Some("10.9.9.9")),
            ("10.9.9.9/255.0.255.0", None),
            ("10.9.9.9/0.0.0.255", None),
            ("10.9.9.9/x", None),
            ("x/8", None),
            ("10.9.9", None),
        ] {
            assert_eq!(network(text).map(show).as_deref(), expected, "{text}");
        }
    }
}
