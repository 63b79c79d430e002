//! Whose file it is.

use std::fmt;

/// A program whose files can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// nginx: the `stream` block.
    Nginx,
    /// HAProxy: the proxies of `mode tcp`.
    Haproxy,
    /// realm: its TOML, or its JSON.
    Realm,
    /// rinetd.
    Rinetd,
    /// Docker Compose: the `ports` of services.
    Compose,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Nginx => "nginx",
            Program::Haproxy => "HAProxy",
            Program::Realm => "realm",
            Program::Rinetd => "rinetd",
            Program::Compose => "Compose",
        })
    }
}

/// The sections of HAProxy, which begin in the first column.
const SECTIONS: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];

impl Program {
    /// Tells by the text, line by line, what only one of the languages has.
    pub(super) fn of(text: &str) -> Option<Program> {
        if text.trim_start().starts_with('{') {
            // JSON, which is YAML too.
            let realm = text.contains("\"endpoints\"");
            return Some(if realm { Program::Realm } else { Program::Compose });
        }
        let mut lines = text.lines().map(str::trim_end).filter(|line| {
            let bare = line.trim_start();
            !bare.is_empty() && !bare.starts_with('#')
        });
        lines.find_map(line)
    }

    /// What a file must have, for one that has nothing of it.
    pub(super) fn wants(self) -> &'static str {
        match self {
            Program::Nginx => "Portway takes `server` blocks of `stream`; what is in `http` stays with nginx",
            Program::Haproxy => {
                "Portway takes `listen` and `frontend` sections of `mode tcp` that have a `bind`"
            }
            Program::Realm => "Portway takes `[[endpoints]]` with `listen` and `remote`",
            Program::Rinetd => "Portway takes lines such as `0.0.0.0 80 10.0.0.5 8080`",
            Program::Compose => "Portway takes the `ports` of services",
        }
    }
}

/// What this line can be of only one language.
fn line(line: &str) -> Option<Program> {
    let bare = line.trim_start();
    let words: Vec<&str> = bare.split_whitespace().collect();
    let first = words.first()?;
    let starts = line.len() == bare.len();
    match *first {
        "logfile" | "logcommon" | "pidlogfile" if !bare.ends_with(';') => Some(Program::Rinetd),
        word if starts && SECTIONS.contains(&word) && !bare.ends_with(['{', ';']) => Some(Program::Haproxy),
        "[[endpoints]]" | "[network]" => Some(Program::Realm),
        _ if starts && bare.starts_with("services:") => Some(Program::Compose),
        _ if bare.starts_with("ports:") => Some(Program::Compose),
        _ if bare.ends_with('{') => Some(Program::Nginx),
        _ if bare.ends_with(';') || bare.contains("; #") => Some(Program::Nginx),
        _ if bare.contains('{') && bare.contains(';') => Some(Program::Nginx),
        _ if rinetd_rule(&words) => Some(Program::Rinetd),
        _ => None,
    }
}

/// `0.0.0.0 80 10.0.0.5 8080`, with or without `/udp`.
fn rinetd_rule(words: &[&str]) -> bool {
    let is_port = |word: &str| {
        let port = word.split_once('/').map_or(word, |(port, _)| port);
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let is_host = |word: &str| word.contains(['.', ':']) || word == "localhost";
    matches!(words, [from, port, to, other, ..] if is_host(from) && is_port(port) && is_host(to) && is_port(other))
        || matches!(words, ["allow" | "deny", pattern] if pattern.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_only_one_language_has_tells_whose_a_file_is() {
        for (text, program) in [
            ("", None),
            ("# logfile /x\n\n", None),
            ("# of nginx: stream {\n  # listen 80;\n", None),
            (" {\"endpoints\": []}", Some(Program::Realm)),
            ("{\"services\": {}}", Some(Program::Compose)),
            ("logfile /x", Some(Program::Rinetd)),
            ("logcommon", Some(Program::Rinetd)),
            ("pidlogfile /x", Some(Program::Rinetd)),
            ("logfile /x;", Some(Program::Nginx)),
            ("global", Some(Program::Haproxy)),
            ("listen web  ", Some(Program::Haproxy)),
            ("  listen web", None),
            ("listen 80;", Some(Program::Nginx)),
            ("backend {", Some(Program::Nginx)),
            ("[[endpoints]]", Some(Program::Realm)),
            ("  [network]", Some(Program::Realm)),
            ("[log]", None),
            ("version: '3'\nservices:", Some(Program::Compose)),
            ("  services:\n", None),
            ("web:\n  ports: [80]", Some(Program::Compose)),
            ("x: ${Y}\nservices:", Some(Program::Compose)),
            ("x; y\nservices:", Some(Program::Compose)),
            ("stream {", Some(Program::Nginx)),
            ("pid /x; # y", Some(Program::Nginx)),
            ("map $x $y { a b; }", Some(Program::Nginx)),
            ("a { b; } c", Some(Program::Nginx)),
        ] {
            assert_eq!(Program::of(text), program, "{text}");
        }
    }

    #[test]
    fn a_rule_of_rinetd_has_two_addresses_with_their_ports() {
        for (text, is_one) in [
            ("0.0.0.0 80 10.0.0.5 8080", true),
            ("0.0.0.0 80/udp 10.0.0.5 53/udp timeout=60", true),
            (":: http ::1 80", true),
            ("localhost 80 localhost 81", true),
            ("0.0.0.0 80 10.0.0.5", false),
            ("x 80 10.0.0.5 80", false),
            ("0.0.0.0 80 x 80", false),
            ("0.0.0.0 8-0 10.0.0.5 80", false),
            ("0.0.0.0 80 10.0.0.5 8:0", false),
            ("0.0.0.0 /udp 10.0.0.5 80", false),
            ("allow 10.*", true),
            ("deny 10.0.0.1", true),
            ("deny all", false),
            ("accept 10.0.0.1", false),
            ("deny 10.0.0.1 x", false),
        ] {
            assert_eq!(Program::of(text), is_one.then_some(Program::Rinetd), "{text}");
        }
    }
}
