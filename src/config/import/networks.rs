//! Rules of which the first that fits decides, as `allow` and `deny`, of which `deny` decides.

use super::sheet::{Route, Said};
use super::values::quote_all;
use crate::model::Network;

/// One rule of an ordered list.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub said: Said,
    pub allows: bool,
    /// `None`: everybody.
    pub network: Option<Network>,
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
fn show(network: Network) -> String {
    let (first, last) = network.ends();
    if first == last { first.to_string() } else { network.to_string() }
}

fn overlap(one: Network, other: Network) -> bool {
    let ((a, b), (c, d)) = (one.ends(), other.ends());
    a.is_ipv4() == c.is_ipv4() && a <= d && c <= b
}

/// Writes the rules into the route. `open`: who is named by no rule may connect.
pub(super) fn rules(rules: &[Rule], open: bool, route: &mut Route) {
    let (mut allow, mut deny): (Vec<Network>, Vec<Network>) = (Vec::new(), Vec::new());
    let (mut said_of_allow, mut rest) = (Vec::new(), open);
    for rule in rules {
        let Some(network) = rule.network else {
            // Nothing behind it is ever looked at.
            rest = rule.allows;
            break;
        };
        if rule.allows {
            allow.push(network);
            said_of_allow.push(&rule.said);
        } else if allow.iter().any(|earlier| overlap(*earlier, network)) {
            let why = "here the first rule that fits decides, and an earlier one lets some of these in; \
                       of Portway's lists `deny` decides: write into `allow` and `deny` what is meant";
            route.lacks(&rule.said, why);
        } else {
            deny.push(network);
        }
    }
    let shown = |networks: &[Network]| quote_all(&networks.iter().map(|one| show(*one)).collect::<Vec<_>>());
    if !rest {
        match allow.is_empty() {
            // Nobody is let in.
            true => deny = ["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse().ok()).collect(),
            false => route.fields.set("allow", shown(&allow)),
        }
    }
    if !deny.is_empty() {
        route.fields.set("deny", shown(&deny));
    }
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
                network: network(&word[1..]),
            })
            .collect();
        let mut route = Route::new(&said);
        rules(&list, true, &mut route);
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
