//! The rules of a firewall that lead the clients of a range of ports to its one socket (`port_ranges = "rule"`), for a person to
//! install: Portway changes no firewall.

use std::net::IpAddr;

use crate::model::{ListenSpec, Ports, Route};

/// One for each range of a route, in the words of nftables, for a chain of type nat at the hook prerouting of an `inet` table.
pub fn rules(route: &Route) -> Vec<String> {
    let ranges = route.listen.iter().filter(|spec| route.is_led_by_a_rule() && spec.count() > 1);
    ranges.filter_map(|spec| Some(rule(spec, spec.ports()?))).collect()
}

fn rule(spec: &ListenSpec, ports: Ports) -> String {
    let (first, last) = (ports.first(), ports.last());
    let others = format!("tcp dport {}-{last}", first + 1);
    match spec {
        ListenSpec::Ip(ip, _) if !ip.is_unspecified() => {
            let (family, to) = match ip {
                IpAddr::V4(ip) => ("ip", ip.to_string()),
                IpAddr::V6(ip) => ("ip6", format!("[{ip}]")),
            };
            format!("{family} daddr {ip} {others} dnat {family} to {to}:{first}")
        }
        ListenSpec::Ip(IpAddr::V4(_), _) => format!("meta nfproto ipv4 {others} redirect to :{first}"),
        ListenSpec::Ip(IpAddr::V6(_), _) => format!("meta nfproto ipv6 {others} redirect to :{first}"),
        ListenSpec::Any(_) | ListenSpec::Unix(_) => format!("{others} redirect to :{first}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile;

    #[test]
    fn each_range_of_a_route_has_a_rule() {
        let shown = |listen: &str, ranges: &str| {
            let text = format!(
                "[[route]]\nname = \"r\"\nlisten = {listen}\nupstream = \"a:1\"\nport_ranges = \"{ranges}\""
            );
            rules(&compile("f", text.as_bytes()).unwrap().table.routes["r"])
        };
        assert_eq!(shown("\"10-19\"", "rule"), ["tcp dport 11-19 redirect to :10"]);
        assert_eq!(
            shown("[\"0.0.0.0:10-19\", \"[::]:10-19\", \"127.0.0.1:20\"]", "rule"),
            [
                "meta nfproto ipv4 tcp dport 11-19 redirect to :10",
                "meta nfproto ipv6 tcp dport 11-19 redirect to :10"
            ]
        );
        assert_eq!(
            shown("[\"10.0.0.5:10-11\", \"[fd00::5]:10-11\"]", "rule"),
            [
                "ip daddr 10.0.0.5 tcp dport 11-11 dnat ip to 10.0.0.5:10",
                "ip6 daddr fd00::5 tcp dport 11-11 dnat ip6 to [fd00::5]:10"
            ]
        );
        assert_eq!(shown("\"10-19\"", "sockets"), [""; 0]);
    }
}
