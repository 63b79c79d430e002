//! rinetd: each forwarding line becomes a route. Reference: rinetd(8).

use super::misread::Misread;
use super::networks::{common, show};
use super::program::Program;
use super::sheet::{Fate, Route, Said, Sheet, Upstream};
use super::values::{joined, listen, nginx_time, quote, quote_all, span, upstream};
use crate::model::Network;

/// Lists of one route, or of all.
#[derive(Clone, Default)]
struct Access {
    allow: Vec<Network>,
    deny: Vec<Network>,
    /// Patterns that are no networks.
    lost: Vec<Said>,
}

const PATTERN: &str = "write the networks that it means: \"10.0.0.0/8\", or a range \"10.0.0.5-10.0.0.9\"";

/// What was read so far.
struct Reader {
    sheet: Sheet,
    /// The lists before the first forwarding.
    global: Access,
    own: Access,
    /// The forwarding that lists belong to: none yet, one that is a route, or one that can be none.
    open: Option<Option<Route>>,
}

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Sheet, Misread> {
    let mut reader = Reader {
        sheet: Sheet::of(Program::Rinetd),
        global: Access::default(),
        own: Access::default(),
        open: None,
    };
    let mut start = 0;
    for (number, raw) in text.split_inclusive('\n').enumerate() {
        let at = start..start + raw.trim_end().len();
        start += raw.len();
        let bare = raw.trim();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        if !reader.take(&Said::new(number + 1, bare), &bare.split_whitespace().collect::<Vec<_>>()) {
            let help =
                "a line is `ADDRESS PORT ADDRESS PORT`, `allow PATTERN`, `deny PATTERN` or `logfile PATH`";
            return Err(Misread::new(at, "this line says nothing to rinetd", help));
        }
    }
    reader.close();
    Ok(reader.sheet)
}

impl Reader {
    /// Takes a line in. Whether it is one of rinetd's.
    fn take(&mut self, said: &Said, words: &[&str]) -> bool {
        match words {
            [word @ ("allow" | "deny"), pattern] => self.rule(said, *word == "allow", pattern),
            ["logfile", path] => {
                self.sheet.log.set("access", quote(path));
                self.sheet.carried(said);
            }
            ["logcommon"] => {
                self.sheet
                    .note(said, "a line has the form of Portway: \"text\", or \"json\" in `[log] format`");
            }
            ["pidlogfile", ..] => self.sheet.fate(said, Fate::Apart),
            [from, port, to, other, options @ ..] => {
                self.close();
                let made = match forward(&Rule { from, port, to, other }, said) {
                    Ok(mut route) => {
                        let options = options.iter().flat_map(|word| word.split(','));
                        options.for_each(|option| self::option(option, said, &mut route));
                        Some(route)
                    }
                    Err(why) => {
                        self.sheet.note(said, why);
                        None
                    }
                };
                self.open = Some(made);
            }
            _ => return false,
        }
        true
    }

    fn rule(&mut self, said: &Said, allows: bool, pattern: &str) {
        if matches!(self.open, Some(None)) {
            return self.sheet.note(said, "it belongs to the line above, which is not carried over");
        }
        let lists = if self.open.is_some() { &mut self.own } else { &mut self.global };
        match networks(pattern) {
            Some(networks) => {
                if allows {
                    lists.allow.extend(networks)
                } else {
                    lists.deny.extend(networks)
                }
                self.sheet.carried(said);
            }
            None => {
                lists.lost.push(said.clone());
                if self.open.is_none() {
                    self.sheet.note(said, PATTERN);
                }
            }
        }
    }

    /// Ends a route: who connects must be in both lists, that of all and its own.
    fn close(&mut self) {
        let own = std::mem::take(&mut self.own);
        let Some(mut route) = self.open.take().flatten() else { return };
        let global = &self.global;
        let allow = match (global.allow.is_empty(), own.allow.is_empty()) {
            (true, _) => own.allow.clone(),
            (_, true) => global.allow.clone(),
            _ => common(&global.allow, &own.allow),
        };
        let limited = !(global.allow.is_empty() && own.allow.is_empty());
        let mut deny = [global.deny.clone(), own.deny].concat();
        if limited && allow.is_empty() {
            // Nobody is in both.
            deny = ["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse().ok()).collect();
        }
        for (key, networks) in [("allow", allow), ("deny", deny)] {
            let shown: Vec<String> = networks.iter().map(|network| show(*network)).collect();
            let everybody = key == "allow" && shown.iter().any(|one| one == "0.0.0.0/0");
            if !(shown.is_empty() || everybody) {
                route.fields.set(key, quote_all(&shown));
            }
        }
        global.lost.iter().chain(&own.lost).for_each(|said| route.lacks(said, PATTERN));
        self.sheet.add(route);
    }
}

/// The four words of a forwarding.
struct Rule<'r> {
    from: &'r str,
    port: &'r str,
    to: &'r str,
    other: &'r str,
}

fn forward(rule: &Rule<'_>, said: &Said) -> Result<Route, String> {
    let (own, udp) = port(rule.port)?;
    let (other, to_udp) = port(rule.other)?;
    if udp != to_udp {
        return Err("rinetd goes from one protocol to the other here (a port without /udp is of TCP); Portway forwards \
                    datagrams as datagrams"
            .into());
    }
    let mut route = Route::new(said);
    route.listen.push(listen(&joined(rule.from, &own))?);
    route.upstream.push(Upstream::at(upstream(&joined(rule.to, &other))?));
    if udp {
        route.udp();
        route.fields.set("idle_timeout", quote("1m 12s"));
        route.fields.remark("idle_timeout", "rinetd's default");
    }
    Ok(route)
}

/// Ports that have names in many files.
const SERVICES: [(&str, u16); 16] = [
    ("ssh", 22),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("imap", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("imaps", 993),
    ("pop3s", 995),
    ("mysql", 3306),
    ("postgresql", 5432),
];

/// `53/udp`, `http`.
fn port(text: &str) -> Result<(String, bool), String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let udp = match protocol {
        "tcp" => false,
        "udp" => true,
        other => return Err(format!("`{other}` is neither tcp nor udp")),
    };
    let named = SERVICES.iter().find(|(name, _)| *name == port).map(|(_, number)| number.to_string());
    match named {
        Some(number) => Ok((number, udp)),
        None if port.bytes().all(|b| b.is_ascii_digit()) => Ok((port.to_owned(), udp)),
        None => Err(format!("`{port}` is a name of /etc/services: write its number")),
    }
}

/// `src=10.0.0.5`, `timeout=60`, `keepalive=on`.
fn option(text: &str, said: &Said, route: &mut Route) {
    let bare = text.trim_matches(['[', ']']);
    if bare.is_empty() {
        return;
    }
    let udp = route.fields.get("protocol").is_some();
    match bare.split_once('=') {
        Some(("src", ip)) if ip.parse::<std::net::IpAddr>().is_ok() => route.fields.set("source", quote(ip)),
        Some(("timeout", seconds)) => match nginx_time(seconds).and_then(span) {
            Some(time) => {
                route.fields.set("idle_timeout", time);
                route.fields.remark("idle_timeout", "");
            }
            None => route.note(said, format!("`{bare}` is no number of seconds")),
        },
        Some(("keepalive", "on")) => {}
        Some(("keepalive", _)) if udp => {}
        Some(("keepalive", _)) => route
            .note(said, "`keepalive`: dead peers are looked for always; `keepalive = \"60s\"` says how soon"),
        _ => route.note(said, format!("`{bare}`: Portway does not know it")),
    }
}

/// A pattern with `*` for digits: of whole numbers it is a network.
fn networks(pattern: &str) -> Option<Vec<Network>> {
    let parse = |text: String| text.parse::<Network>().ok();
    if pattern.contains(':') || pattern.contains('/') {
        return Some(vec![parse(pattern.to_owned())?]);
    }
    let mut parts: Vec<&str> = pattern.split('.').collect();
    // `10.*` is as `10.*.*.*`.
    while parts.len() < 4 && parts.last() == Some(&"*") {
        parts.push("*");
    }
    let stars = parts.iter().rev().take_while(|part| **part == "*").count();
    let fixed = parts.get(..parts.len() - stars).unwrap_or_default();
    if parts.len() != 4 || !fixed.iter().all(|part| part.parse::<u8>().is_ok()) {
        return match (parts.as_slice(), fixed) {
            // One place of the last number: a range of ten.
            ([a, b, c, d], _) if d.ends_with('?') && d.matches('?').count() == 1 => {
                let tens = d.trim_end_matches('?');
                let first = if tens.is_empty() { "0".to_owned() } else { format!("{tens}0") };
                Some(vec![parse(format!("{a}.{b}.{c}.{first}-{a}.{b}.{c}.{tens}9"))?])
            }
            _ => None,
        };
    }
    let zeros = vec!["0"; stars];
    let all = [fixed, &zeros].concat().join(".");
    Some(vec![parse(format!("{all}/{}", 8 * (4 - stars)))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_networks() {
        for (pattern, expected) in [
            ("192.168.1.*", "192.168.1.0/24"),
            ("10.*.*.*", "10.0.0.0/8"),
            ("10.*", "10.0.0.0/8"),
            ("*", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.1?", "192.0.2.10-192.0.2.19"),
            ("192.0.2.?", "192.0.2.0-192.0.2.9"),
            ("192.0.*.*", "192.0.0.0/16"),
            ("*.*.*.*", "0.0.0.0/0"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let read = networks(pattern).map(|read| read.into_iter().map(show).collect::<Vec<_>>().join(" "));
            assert_eq!(read.as_deref(), Some(expected), "{pattern}");
        }
        for pattern in [
            "192.*.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.*.*",
            "1.2.3.256",
            "1.2.?.?",
            "1.2.3.1??",
            "1.2.3.?1",
            "1.2.3.25?",
            "10.0.0.1/8",
            "2001:db8:*",
            "x",
        ] {
            assert!(networks(pattern).is_none(), "{pattern}");
        }
    }
}
