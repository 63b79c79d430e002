//! TLS of a route: towards its clients, and towards its upstreams.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The `tls` key of a route. `Default`: bytes pass as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// TLS towards clients. `None`: their bytes pass as they are.
    pub clients: Option<Arc<ServeTls>>,
    /// TLS towards the upstreams. `None`: bytes pass to them as they are.
    pub upstream: Option<Arc<UpstreamTls>>,
}

impl Tls {
    /// Whether bytes pass as they are, on both sides.
    pub fn is_off(&self) -> bool {
        self.clients.is_none() && self.upstream.is_none()
    }

    /// What it needs from files, for each side with TLS.
    pub fn credentials(&self) -> impl Iterator<Item = Credentials> {
        let clients = self.clients.iter().cloned().map(Credentials::Clients);
        clients.chain(self.upstream.iter().cloned().map(Credentials::Upstream))
    }
}

/// A certificate and its key, each in a file. A relative path starts at the folder of the routes' file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The certificate, and the intermediate ones up to an authority that the other side knows.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// How to speak TLS to clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeTls {
    /// The certificate that clients see, and its key.
    pub pair: Pair,
    /// The authorities that clients must have a certificate from. `None`: they need none.
    pub client_ca: Option<PathBuf>,
    /// The certificates that the authorities have revoked. Empty: none is.
    pub crl: Vec<PathBuf>,
    /// The ALPN protocols to offer, the best first. Empty: none, whatever a client offers.
    pub alpn: Vec<String>,
}

/// How to speak TLS to an upstream. Its certificate is always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamTls {
    /// The authorities that its certificate must come from. `None`: those that this system trusts.
    pub ca: Option<PathBuf>,
    /// The name to ask for, which its certificate must have. `None`: the name that it is dialled by.
    pub server_name: Option<String>,
    /// Our certificate and its key, if it asks for one. `None`: we have none.
    pub pair: Option<Pair>,
}

/// Files with certificates and keys that are read and watched together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credentials {
    /// Those for TLS towards clients.
    Clients(Arc<ServeTls>),
    /// Those for TLS towards upstreams.
    Upstream(Arc<UpstreamTls>),
}

/// Which of the files, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The file of `cert`.
    Certificate,
    /// The file of `key`.
    Key,
    /// The file of `client_ca` or `ca`.
    Authority,
    /// A file of `crl`.
    Revocations,
}

impl Credentials {
    /// Its files, with their paths as written in the routes' file.
    pub fn files(&self) -> Vec<(Part, &PathBuf)> {
        let (pair, authority, revocations) = match self {
            Credentials::Clients(tls) => (Some(&tls.pair), &tls.client_ca, &tls.crl[..]),
            Credentials::Upstream(tls) => (tls.pair.as_ref(), &tls.ca, &[][..]),
        };
        let pair = pair.map(|pair| [(Part::Certificate, &pair.cert), (Part::Key, &pair.key)]);
        let authority = authority.iter().map(|path| (Part::Authority, path));
        let revocations = revocations.iter().map(|path| (Part::Revocations, path));
        pair.into_iter().flatten().chain(authority).chain(revocations).collect()
    }
}

/// As written in the file: the paths, never what the files contain.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let pair = |pair: &Pair| {
            [format!("cert = {}", pair.cert.display()), format!("key = {}", pair.key.display())]
        };
        if let Some(clients) = &self.clients {
            parts.extend(pair(&clients.pair));
            parts.extend(clients.client_ca.iter().map(|path| format!("client_ca = {}", path.display())));
            parts.extend(clients.crl.iter().map(|path| format!("crl = {}", path.display())));
            if !clients.alpn.is_empty() {
                parts.push(format!("offers {}", clients.alpn.join(", ")));
            }
        }
        if let Some(upstream) = &self.upstream {
            let mut inner = Vec::new();
            inner.extend(upstream.ca.iter().map(|path| format!("ca = {}", path.display())));
            inner.extend(upstream.server_name.iter().map(|name| format!("server_name = {name}")));
            inner.extend(upstream.pair.iter().flat_map(pair));
            parts.push(match inner.is_empty() {
                true => "upstream = true".to_owned(),
                false => format!("upstream = {{ {} }}", inner.join(", ")),
            });
        }
        match parts.is_empty() {
            true => f.write_str("off"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}
