//! How one of several routes at one address is chosen for a client: by what it asks for in its TLS hello.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;

/// Which clients of its address a route serves. `Default`: the rest, which no other route serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Server names (SNI) that it serves. Empty: any name, or none.
    pub sni: Vec<ServerName>,
    /// ALPN protocols that it serves. Empty: any, or none.
    pub alpn: Vec<String>,
}

impl Selector {
    /// Whether it serves the rest: then nothing need be known about a client.
    pub fn is_rest(&self) -> bool {
        self.sni.is_empty() && self.alpn.is_empty()
    }

    /// Each key with its value, both as written in the file.
    pub fn entries(&self) -> [(&'static str, String); 2] {
        let shown = |words: Vec<String>| if words.is_empty() { "*".to_owned() } else { words.join(", ") };
        let names = self.sni.iter().map(ToString::to_string).collect();
        [("sni", shown(names)), ("alpn", shown(self.alpn.clone()))]
    }
}

/// A server name in lower case, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerName {
    /// Exactly this name.
    Exact(String),
    /// Names that end with a dot and this name. Written with `*.` before it.
    Below(String),
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerName::Exact(name) => f.write_str(name),
            ServerName::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl FromStr for ServerName {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = |why: &str, cure: &str| Err(Fault::new(format!("`{text}` {why}"), cure));
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text == "*" {
            return wrong(
                "takes every name",
                "write sni = \"*\" alone, or leave `sni` out: the route then takes the rest",
            );
        }
        if name.contains('*') {
            return wrong(
                "has a `*` where none can be",
                "it stands for whole labels at the beginning: \"*.example.com\"",
            );
        }
        if name.contains(':') || name.contains('/') {
            return wrong(
                "is not a server name",
                "write the name alone, without a port or a path: \"app.example.com\"",
            );
        }
        if !name.is_ascii() {
            return wrong("is not a name as TLS has it", "write it in its ASCII form, with \"xn--\"");
        }
        let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
        if !name.chars().all(legal) || !labels_fit || name.len() > 253 {
            return wrong(
                "is not a server name",
                "write a name (\"app.example.com\"), or all below one (\"*.example.com\")",
            );
        }
        if name.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit())) {
            return wrong(
                "is an address",
                "no client sends an address as a server name: leave `sni` out for those",
            );
        }
        Ok(if below { ServerName::Below(name) } else { ServerName::Exact(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_exact_or_all_below_one() {
        let exact = |name: &str| Ok(ServerName::Exact(name.to_owned()));
        assert_eq!("App.Example.COM".parse(), exact("app.example.com"));
        assert_eq!("app.example.com.".parse(), exact("app.example.com"));
        assert_eq!("a_b-c.4".parse(), exact("a_b-c.4"));
        assert_eq!("*.Example.com".parse(), Ok(ServerName::Below("example.com".to_owned())));
        let longest = ["x".repeat(63), "x".repeat(63), "x".repeat(63), "x".repeat(61)].join(".");
        assert_eq!(longest.len(), 253);
        assert_eq!(longest.parse(), exact(&longest));
        for text in ["app.example.com", "*.example.com"] {
            assert_eq!(text.parse::<ServerName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_server_name_says_why() {
        let label = "x".repeat(64);
        let name = ["x".repeat(63), "x".repeat(63), "x".repeat(63), "x".repeat(62)].join(".");
        for (text, said, cure) in [
            ("*", "takes every name", "leave `sni` out"),
            ("a.*.example", "has a `*`", "whole labels"),
            ("*a.example", "has a `*`", "whole labels"),
            ("app.example:443", "is not a server name", "without a port"),
            ("app.example/path", "is not a server name", "without a port"),
            ("b\u{fc}cher.example", "is not a name as TLS has it", "xn--"),
            ("", "is not a server name", "write a name"),
            ("*.", "is not a server name", "write a name"),
            ("a..b", "is not a server name", "write a name"),
            ("a b", "is not a server name", "write a name"),
            (&label, "is not a server name", "write a name"),
            (&name, "is not a server name", "write a name"),
            ("192.0.2.7", "is an address", "leave `sni` out"),
        ] {
            let fault = text.parse::<ServerName>().unwrap_err();
            assert!(fault.message.contains(said) && fault.help.contains(cure), "{text}: {fault:?}");
        }
    }

    #[test]
    fn a_selector_without_names_and_protocols_serves_the_rest() {
        let with = |sni: &[&str], alpn: &[&str]| Selector {
            sni: sni.iter().map(|name| name.parse().unwrap()).collect(),
            alpn: alpn.iter().map(|&name| name.to_owned()).collect(),
        };
        for (selector, rest, sni, alpn) in [
            (with(&[], &[]), true, "*", "*"),
            (with(&["a.b", "*.c"], &[]), false, "a.b, *.c", "*"),
            (with(&[], &["h2", "http/1.1"]), false, "*", "h2, http/1.1"),
            (with(&["a.b"], &["h2"]), false, "a.b", "h2"),
        ] {
            assert_eq!(selector.is_rest(), rest);
            assert_eq!(selector.entries(), [("sni", sni.to_owned()), ("alpn", alpn.to_owned())]);
        }
    }
}
