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
