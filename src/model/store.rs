//! Where a route table is fetched from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::fault::Fault;

/// What a signature is called: the name of the text, and this.
const SIGNATURE: &str = ".minisig";

/// What to write instead.
const FORMS: &str = "write https://host/path, http://127.0.0.1:8500/v1/kv/name?raw or etcd://host:2379/key";

/// A place that has one text, and beside it its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A web server, or what speaks like one.
    Http(HttpUrl),
    /// A key of etcd.
    Etcd(EtcdKey),
}

/// The parts of an `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host and port as they were written. No user, no password.
    pub authority: String,
    /// The path; it begins with `/`.
    pub path: String,
    /// What follows the `?`. Empty: there is none.
    pub query: String,
}

/// A key of etcd, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdKey {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Members of the cluster, each `host:port`; at least one.
    pub endpoints: Vec<String>,
    /// The key, as it is in etcd.
    pub key: String,
}

/// One of the two things that a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePart {
    /// The route table.
    Text,
    /// The signature of it.
    Signature,
}

impl StoreUrl {
    /// Whether nobody between here and the store can change what it says: TLS, or this host alone.
    pub fn is_private(&self) -> bool {
        match self {
            StoreUrl::Http(url) => url.tls || is_loopback(&url.authority),
            StoreUrl::Etcd(key) => key.tls || key.endpoints.iter().all(|endpoint| is_loopback(endpoint)),
        }
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        match self {
            StoreUrl::Http(url) => url.tls,
            StoreUrl::Etcd(key) => key.tls,
        }
    }
}

impl HttpUrl {
    /// The URL of a part, with more of a query. Empty: no more.
    pub fn of(&self, part: StorePart, more: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let suffix = if part == StorePart::Signature { SIGNATURE } else { "" };
        let mut text = format!("{scheme}://{}{}{suffix}", self.authority, self.path);
        for (at, query) in [self.query.as_str(), more].into_iter().filter(|text| !text.is_empty()).enumerate()
        {
            text.push(if at == 0 { '?' } else { '&' });
            text.push_str(query);
        }
        text
    }
}

impl EtcdKey {
    /// The key of a part.
    pub fn of(&self, part: StorePart) -> String {
        match part {
            StorePart::Text => self.key.clone(),
            StorePart::Signature => format!("{}{SIGNATURE}", self.key),
        }
    }

    /// The URL of a call to one of the endpoints. `path` begins with `/`.
    pub fn call(&self, endpoint: &str, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{endpoint}{path}")
    }
}

impl FromStr for StoreUrl {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let fault = |what: &str, help: &str| Fault::new(format!("`{}` {what}", without_user(text)), help);
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(fault("is no URL: it has no scheme", FORMS));
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) || !text.is_ascii() {
            return Err(fault(
                "is no URL: a letter in it cannot stand in one",
                "write it as %20, for example",
            ));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            let help =
                "whoever lists processes would see it: give a token with --token-file, or --client-cert";
            return Err(fault("has a user in it", help));
        }
        if authority.split(',').any(|host| host.is_empty() || host.starts_with(':')) {
            return Err(fault("has no host", FORMS));
        }
        if text.contains('#') {
            return Err(fault("has a fragment, which no server gets", "leave out the # and what follows it"));
        }
        match scheme {
            "http" | "https" if authority.contains(',') => {
                Err(fault("has several hosts", "only etcd:// and etcds:// may have several"))
            }
            "http" | "https" => Ok(StoreUrl::Http(HttpUrl {
                tls: scheme == "https",
                authority: authority.to_owned(),
                path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
                query: query.to_owned(),
            })),
            "etcd" | "etcds" if path.len() < 2 => Err(fault(
                "names no key",
                "write etcd://host:2379/key; for a key that begins with `/` write two",
            )),
            "etcd" | "etcds" => Ok(StoreUrl::Etcd(EtcdKey {
                tls: scheme == "etcds",
                endpoints: authority.split(',').map(with_port).collect(),
                key: path[1..].to_owned(),
            })),
            _ => Err(fault("has a scheme that is not known", FORMS)),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Http(url) => f.write_str(&url.of(StorePart::Text, "")),
            StoreUrl::Etcd(key) => {
                let scheme = if key.tls { "etcds" } else { "etcd" };
                write!(f, "{scheme}://{}/{}", key.endpoints.join(","), key.key)
            }
        }
    }
}

/// What was typed, for a message: a password does not belong there.
fn without_user(text: &str) -> String {
    match (text.find("://"), text.find('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://...{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

/// An endpoint of etcd with its port.
fn with_port(endpoint: &str) -> String {
    let after_host = endpoint.rsplit_once(']').map_or(endpoint, |(_, after)| after);
    if after_host.contains(':') { endpoint.to_owned() } else { format!("{endpoint}:2379") }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StoreUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_is_taken_apart_and_its_signature_stands_beside_it() {
        let StoreUrl::Http(consul) = url("http://127.0.0.1:8500/v1/kv/edge?raw") else { panic!() };
        assert_eq!(consul.of(StorePart::Text, ""), "http://127.0.0.1:8500/v1/kv/edge?raw");
        let signature = consul.of(StorePart::Signature, "index=3&wait=60s");
        assert_eq!(signature, "http://127.0.0.1:8500/v1/kv/edge.minisig?raw&index=3&wait=60s");
        let StoreUrl::Http(bare) = url("https://edge.example") else { panic!() };
        assert_eq!(bare.of(StorePart::Text, "a=b"), "https://edge.example/?a=b");
        let StoreUrl::Etcd(etcd) = url("etcds://a,b:1,[::1]//edge/routes") else { panic!() };
        assert_eq!(etcd.endpoints, ["a:2379", "b:1", "[::1]:2379"]);
        assert_eq!(etcd.of(StorePart::Signature), "/edge/routes.minisig");
        assert_eq!(etcd.call(&etcd.endpoints[0], "/v3/kv/range"), "https://a:2379/v3/kv/range");
        let StoreUrl::Etcd(etcd) = url("etcd://[::1]:1,10.0.0.1/k") else { panic!() };
        assert_eq!(etcd.endpoints, ["[::1]:1", "10.0.0.1:2379"]);
        for text in ["https://a.example/t.toml", "etcd://a:2379,b:2379/edge"] {
            assert_eq!(url(text).to_string(), text);
        }
    }

    #[test]
    fn what_somebody_on_the_way_could_change_is_told_apart() {
        for text in [
            "https://a/b",
            "http://localhost:1/",
            "http://[::1]:1/",
            "http://127.9.9.9/",
            "etcd://[::1]/k",
            "etcds://a/k",
        ] {
            assert!(url(text).is_private(), "{text}");
        }
        for text in ["http://a/b", "http://10.0.0.1/", "etcd://127.0.0.1,a/k", "http://localhost.example/"] {
            assert!(!url(text).is_private(), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_says_what_to_write_and_shows_no_password() {
        let fault = |text: &str| text.parse::<StoreUrl>().unwrap_err();
        for (text, said) in [
            ("store.example/routes.toml", "has no scheme"),
            ("/etc/portway.toml", "has no scheme"),
            ("ftp://a/b", "scheme that is not known"),
            ("https:///b", "has no host"),
            ("https://:443/b", "has no host"),
            ("etcd://a:2379", "names no key"),
            ("etcd://a,/k", "has no host"),
            ("https://a,b/c", "several hosts"),
            ("https://a/b c", "cannot stand in one"),
            ("https://a/b\u{7}", "cannot stand in one"),
            ("https://a/\u{e4}", "cannot stand in one"),
            ("https://a/b#c", "fragment"),
            ("https://ann:secret@a/b", "has a user in it"),
        ] {
            let fault = fault(text);
            assert!(fault.message.contains(said), "{text}: {}", fault.message);
            assert!(!fault.help.is_empty() && !fault.message.contains("secret"), "{text}");
        }
    }

    #[test]
    fn tls_is_spoken_where_the_scheme_says_so() {
        for (text, tls) in
            [("https://a/b", true), ("http://a/b", false), ("etcds://a/k", true), ("etcd://a/k", false)]
        {
            assert_eq!(url(text).is_tls(), tls, "{text}");
        }
        assert_eq!(url("etcds://a:1,b:2/k").to_string(), "etcds://a:1,b:2/k");
    }

    #[test]
    fn a_message_shows_no_user() {
        for (text, shown) in [
            ("https://ann:secret@a/b", "https://...@a/b"),
            ("https://a/b", "https://a/b"),
            ("me@https://a", "me@https://a"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_user(text), shown);
        }
    }
}
