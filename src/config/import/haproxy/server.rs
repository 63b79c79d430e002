//! `server` and `default-server`: an upstream, and what it asks of its route.

use super::table::SERVER;
use crate::config::import::fields::Fields;
use crate::config::import::meaning::{Effect, effect};
use crate::config::import::values::{joined, quote, upstream};
use crate::model::upstream::LARGEST_WEIGHT;

/// What the words of a server say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Keys of the upstream.
    pub own: Fields,
    /// Keys that a route has for all its upstreams.
    pub shared: Fields,
    pub checks: bool,
    /// Checks are of TLS, whatever connections are.
    pub checks_tls: bool,
    pub tls: bool,
    /// Whether the upstream's certificate is verified.
    pub verifies: bool,
    /// Words that are not carried over, each with the reason.
    pub rest: Vec<String>,
    /// Those of them without which a client would come to something else.
    pub away: Vec<String>,
}

impl Words {
    /// Adds what these words say to what is said by default.
    pub fn read(&mut self, words: &[String]) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(known) = SERVER.iter().find(|known| known.name == word) else {
                self.rest.push(format!("`{word}`: Portway does not know it"));
                continue;
            };
            let value: Vec<String> =
                if known.has_value { words.next().cloned().into_iter().collect() } else { Vec::new() };
            match effect(known.meaning, &value, &mut self.shared) {
                Effect::Fate(_) => {}
                Effect::Named(why) => self.rest.push(format!("`{}`: {why}", shown(word, &value))),
                Effect::Off(why) => self.away.push(format!("`{}`: {why}", shown(word, &value))),
                Effect::Together => {
                    let value = value.first().map_or("", String::as_str);
                    if let Err(why) = self.together(word, value) {
                        self.rest.push(format!("`{}`: {why}", shown(word, &[value.to_owned()])));
                    }
                }
            }
        }
    }

    fn together(&mut self, word: &str, value: &str) -> Result<(), String> {
        match word {
            "weight" => match value.parse::<u32>() {
                Ok(1) => self.own.remove("weight"),
                Ok(weight) if weight <= LARGEST_WEIGHT => self.own.set("weight", weight.to_string()),
                _ => return Err("it is no number from 0 to 256".to_owned()),
            },
            "maxconn" => match value.parse::<u32>() {
                Ok(0) => self.own.remove("max_connections"),
                Ok(most) => self.own.set("max_connections", most.to_string()),
                Err(_) => return Err("it is no number".to_owned()),
            },
            "backup" => self.own.set("backup", "true"),
            "no-backup" => self.own.remove("backup"),
            "disabled" => self.own.set("state", "\"drain\""),
            "enabled" => self.own.remove("state"),
            "check" => self.checks = true,
            "no-check" => self.checks = false,
            "check-ssl" => self.checks_tls = true,
            "no-check-ssl" => self.checks_tls = false,
            "send-proxy" => self.shared.set("proxy_protocol.send", "\"v1\""),
            "send-proxy-v2" | "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => {
                self.shared.set("proxy_protocol.send", "\"v2\"");
            }
            "no-send-proxy" | "no-send-proxy-v2" | "no-send-proxy-v2-ssl" | "no-send-proxy-v2-ssl-cn" => {
                self.shared.remove("proxy_protocol.send");
            }
            "ssl" => self.tls = true,
            "no-ssl" => self.tls = false,
            "verify" => self.verifies = value != "none",
            "ca-file" if value == "@system-ca" => {}
            "ca-file" => self.shared.set("tls.upstream.ca", quote(value)),
            "crt" => {
                self.shared.set("tls.upstream.cert", quote(value));
                self.shared.set("tls.upstream.key", quote(value));
            }
            "sni" | "verifyhost" => {
                let name = value.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')'));
                let name = name.or_else(|| Some(value).filter(|_| word == "verifyhost"));
                let cure = "the upstream is asked for one name: upstream = { server_name = \"db.internal\" }";
                self.shared.set("tls.upstream.server_name", quote(name.ok_or(cure)?));
            }
            "source" => {
                let ip = value.trim_end_matches(":0").trim_matches(['[', ']']);
                match ip.parse::<std::net::IpAddr>() {
                    Ok(ip) if !ip.is_unspecified() => self.own.set("source", quote(&ip.to_string())),
                    // What follows says whose address it is.
                    Ok(_) => {}
                    _ => return Err("it is no address of this host".to_owned()),
                }
            }
            "usesrc" if matches!(value, "client" | "clientip") => self.own.set("source", "\"client\""),
            "on-marked-down" if value == "shutdown-sessions" => self.shared.set("on_down", "\"cut\""),
            _ => return Err("it has no counterpart here".to_owned()),
        }
        Ok(())
    }

    /// The keys for the route: a check needs to be asked for, and TLS too.
    pub fn route_keys(&self) -> Fields {
        let mut fields = self.shared.clone();
        match self.checks {
            true => fields.or_set("health.interval", "\"2s\""),
            false => fields.remove("health"),
        }
        match self.tls {
            true => fields.or_set("tls.upstream", "true"),
            false => fields.remove("tls.upstream"),
        }
        fields
    }
}

fn shown(word: &str, value: &[String]) -> String {
    std::iter::once(word)
        .chain(value.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end()
        .to_owned()
}

/// The ports of a listener, for servers that take theirs from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub first: u16,
    pub last: u16,
}

impl Ports {
    /// Of an address to listen on.
    pub fn of(listen: &str) -> Option<Ports> {
        let ports = listen.rsplit_once(':').map_or(listen, |(_, ports)| ports);
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Some(Ports { first: first.parse().ok()?, last: last.parse().ok()? })
    }

    /// These, moved.
    fn moved(&self, by: i32) -> Option<String> {
        let moved = |port: u16| u16::try_from(i32::from(port) + by).ok().filter(|port| *port > 0);
        let (first, last) = (moved(self.first)?, moved(self.last)?);
        Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
    }
}

/// An address of a server. `Err`: why it is none.
pub(super) fn address(text: &str, ports: Option<&Ports>) -> Result<String, String> {
    if text.contains("${") || text.starts_with('$') {
        return Err("variables of the environment are not read: write the address".to_owned());
    }
    if let Some(path) = text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text)) {
        return upstream(&format!("unix:{path}"));
    }
    let text = match text.split_once('@') {
        Some(("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6", rest)) => rest,
        Some(_) => return Err("such an address has no counterpart here".to_owned()),
        None => text,
    };
    let bare: Option<std::net::IpAddr> = text.trim_matches(['[', ']']).parse().ok();
    let (host, port) = match text.rsplit_once(':') {
        // An address of IPv6 without brackets has its port behind the last colon, as HAProxy reads it.
        Some((host, port)) if !(bare.is_some() && text.ends_with(']')) => (host, port),
        _ => (text, ""),
    };
    let moves = port.starts_with(['+', '-']);
    let port = match (port, ports) {
        (port, _) if !port.is_empty() && !moves => port.to_owned(),
        (port, Some(ports)) => {
            let by: i32 = if port.is_empty() {
                0
            } else {
                port.parse().map_err(|_| "its port is no number".to_owned())?
            };
            ports.moved(by).ok_or_else(|| "its ports go beyond 65535".to_owned())?
        }
        (_, None) => return Err("its port is that of each `bind`: write a route for each".to_owned()),
    };
    upstream(&joined(host, &port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_take_its_port_from_the_listener() {
        let ports = Ports::of("0.0.0.0:7000-7009");
        for (text, expected) in [
            ("10.0.0.5:80", "10.0.0.5:80"),
            ("10.0.0.5", "10.0.0.5:7000-7009"),
            ("10.0.0.5:+1000", "10.0.0.5:8000-8009"),
            ("db.internal:5432", "db.internal:5432"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("unix@/run/x", "unix:/run/x"),
        ] {
            assert_eq!(address(text, ports.as_ref()).as_deref(), Ok(expected), "{text}");
        }
        assert!(address("10.0.0.5", None).is_err());
        assert!(address("${DB}:1", None).unwrap_err().contains("environment"));
    }
}
