//! `bind`: addresses, and what clients there begin with.

use super::lines::Line;
use crate::config::import::fields::Fields;
use crate::config::import::sheet::EVERYBODY;
use crate::config::import::values::{count, listen, quote, quote_all};

/// One `bind`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bind {
    /// As Portway writes them.
    pub addresses: Vec<String>,
    /// Keys of the route that it says.
    pub fields: Fields,
    /// Words that are not carried over, each with the reason.
    pub rest: Vec<String>,
    /// Those of them that keep somebody out.
    pub guards: Vec<String>,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Words with a value that no socket here has.
const WITH_VALUE: [&str; 19] = [
    "backlog",
    "id",
    "nice",
    "process",
    "thread",
    "shards",
    "severity-output",
    "level",
    "tcp-ut",
    "maxaccept",
    "npn",
    "ciphers",
    "ciphersuites",
    "curves",
    "ecdhe",
    "ssl-min-ver",
    "ssl-max-ver",
    "mss",
    "label",
];

/// Words that need nothing.
const NEEDLESS: [&str; 13] = [
    "backlog",
    "id",
    "nice",
    "process",
    "thread",
    "shards",
    "severity-output",
    "level",
    "tcp-ut",
    "maxaccept",
    "tfo",
    "defer-accept",
    "v6only",
];

/// What is said of TLS.
struct Tls<'l> {
    on: bool,
    crt: Option<&'l str>,
    verify: &'l str,
    ca: Option<&'l str>,
    crl: Option<&'l str>,
}

/// Reads one. `Err`: why it has no address here.
pub(super) fn read(line: &Line) -> Result<Bind, String> {
    let mut bind = Bind::default();
    let mut words = line.args().iter().skip(1).map(String::as_str);
    let mut dual = false;
    let mut tls = Tls { on: false, crt: None, verify: "none", ca: None, crl: None };
    while let Some(word) = words.next() {
        match word {
            "v4v6" => dual = true,
            "accept-proxy" => header(&mut bind),
            "ssl" => tls.on = true,
            "crt" if tls.crt.is_none() => tls.crt = words.next(),
            "crt" => bind.rest.push(format!(
                "`crt {}`: a route has one certificate: write a route for each, with its `sni`",
                words.next().unwrap_or_default()
            )),
            "verify" => tls.verify = words.next().unwrap_or_default(),
            "ca-file" => tls.ca = words.next(),
            "crl-file" => tls.crl = words.next(),
            "alpn" => {
                let list = words.next().unwrap_or_default().split(',').map(str::to_owned);
                bind.fields.set("alpn", quote_all(&list.collect::<Vec<_>>()));
            }
            "maxconn" => match words.next().and_then(count) {
                Some(count) => bind.fields.set("max_connections", count),
                None => bind.rest.push("`maxconn` is no number".to_owned()),
            },
            "name" => drop(words.next()),
            "strict-sni" => {
                bind.guards.push("`strict-sni`: write the names of the certificate into `sni`".to_owned())
            }
            "interface"
            | "user"
            | "group"
            | "uid"
            | "gid"
            | "mode"
            | "namespace"
            | "accept-netscaler-cip" => {
                bind.guards.push(of_socket(word, words.next().unwrap_or_default()));
            }
            word => {
                if WITH_VALUE.contains(&word) {
                    words.next();
                }
                if !NEEDLESS.contains(&word) {
                    bind.rest.push(format!("`{word}`: a socket has no such setting here"));
                }
            }
        }
    }
    if tls.on {
        ends_here(&tls, &mut bind);
    } else {
        bind.fields.remove("alpn");
    }
    for text in line.arg(0).split(',') {
        bind.addresses.push(address(text, dual)?);
    }
    Ok(bind)
}

/// What a socket has, in another way.
fn of_socket(word: &str, value: &str) -> String {
    match word {
        "interface" => format!("`interface {value}`: a socket listens on addresses: write those of {value}"),
        "namespace" => {
            format!("`namespace {value}`: sockets are those of the namespace that Portway runs in")
        }
        "accept-netscaler-cip" => {
            format!("`accept-netscaler-cip {value}`: of headers only a PROXY header is read")
        }
        _ => {
            let cure = "listen = { address = \"unix:/path\", mode = \"0660\", group = \"www-data\" }";
            format!("`{word} {value}`: write {cure}")
        }
    }
}

fn ends_here(tls: &Tls<'_>, bind: &mut Bind) {
    match tls.crt {
        Some(path) => certificate(path, bind),
        None => bind
            .guards
            .push("`ssl` without `crt`: write tls = { cert = \"app.pem\", key = \"app.key\" }".to_owned()),
    }
    match (tls.verify, tls.ca) {
        ("required", Some(ca)) => {
            bind.fields.set("tls.client_ca", quote(ca));
            tls.crl.into_iter().for_each(|crl| bind.fields.set("tls.crl", quote(crl)));
        }
        ("none", _) => {}
        ("required", None) => {
            bind.guards.push(
                "`verify required` without `ca-file`: write tls = { client_ca = \"ca.pem\" }".to_owned(),
            );
        }
        _ => bind.rest.push(
            "`verify`: clients must have a certificate (`client_ca`), or are asked for none".to_owned(),
        ),
    }
}

/// Everybody must begin with the header.
fn header(bind: &mut Bind) {
    bind.fields.set("proxy_protocol.accept", "true");
    bind.fields.set("proxy_protocol.trusted", EVERYBODY);
    bind.remarks.push("HAProxy takes a PROXY header from anyone: name your proxies in `trusted`.".to_owned());
}

/// HAProxy has both in one file; Portway finds them there too.
fn certificate(path: &str, bind: &mut Bind) {
    bind.fields.set("tls.cert", quote(path));
    bind.fields.set("tls.key", quote(path));
    if path.ends_with('/') {
        bind.guards.push("`crt` is a folder: write a route for each certificate, with its `sni`".to_owned());
    }
}

/// One address with its port.
fn address(text: &str, dual: bool) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text)) {
        return listen(&format!("unix:{path}"));
    }
    for (prefix, what) in [
        ("abns@", "sockets without a file have no address here: write unix:/path"),
        ("fd@", "sockets of systemd are found by their address: write it"),
        ("sockpair@", "there is no other process to share a socket with"),
        ("quic", "QUIC is passed on as datagrams: protocol = \"udp\""),
        ("udp", "HAProxy itself takes datagrams for logs only; write protocol = \"udp\""),
    ] {
        if text.starts_with(prefix) {
            return Err(what.to_owned());
        }
    }
    let (family, text) = match text.split_once('@') {
        Some((family @ ("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6"), rest)) => (family, rest),
        _ => ("", text),
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("it has no port".to_owned());
    };
    let any = matches!(host, "" | "*");
    let v6 = family.ends_with('6') || matches!(host, "::" | "[::]");
    match (any, v6) {
        (_, true) if dual => listen(port),
        (_, true) if any || matches!(host, "::" | "[::]") => listen(&format!("[::]:{port}")),
        (true, _) => listen(&format!("0.0.0.0:{port}")),
        _ => listen(&crate::config::import::values::joined(host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_haproxy() {
        for (text, expected) in [
            (":80", "0.0.0.0:80"),
            ("*:80", "0.0.0.0:80"),
            (":::80", "[::]:80"),
            ("[::]:80", "[::]:80"),
            ("::1:80", "[::1]:80"),
            ("10.0.0.1:7000-7009", "10.0.0.1:7000-7009"),
            ("ipv6@:80", "[::]:80"),
            ("ipv4@10.0.0.1:80", "10.0.0.1:80"),
            ("/run/x.sock", "unix:/run/x.sock"),
            ("unix@/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(address(text, false).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(address(":::80", true).as_deref(), Ok("80"));
        assert!(address("abns@x", false).is_err());
        assert!(address("example", false).is_err());
    }
}
