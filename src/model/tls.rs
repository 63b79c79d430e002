//! TLS of a route: where it ends here, and where it begins here.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What `tls` says. `Default`: bytes pass as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// How clients are served TLS.
    pub clients: Option<Arc<ServeTls>>,
    /// How TLS begins with the upstream.
    pub upstream: Option<Arc<UpstreamTls>>,
}

impl Tls {
    /// Whether bytes pass as they are.
    pub fn is_off(&self) -> bool {
        self.clients.is_none() && self.upstream.is_none()
    }

    /// What it needs from files.
    pub fn credentials(&self) -> impl Iterator<Item = Credentials> {
        let clients = self.clients.iter().cloned().map(Credentials::Clients);
        clients.chain(self.upstream.iter().cloned().map(Credentials::Upstream))
    }
}

/// A certificate and its key, each in a file. A relative path starts at the folder of the routes' file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The certificate, and those between it and an authority that the other side knows.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How clients are served TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeTls {
    /// What clients are shown.
    pub pair: Pair,
    /// Whose certificates clients must have. `None`: they need none.
    pub client_ca: Option<PathBuf>,
    /// The protocols above TLS that are offered, the best first. Empty: none, whatever a client offers.
    pub alpn: Vec<String>,
}

/// How TLS begins with an upstream. Its certificate is always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamTls {
    /// Whose certificates it must have. `None`: those that this system trusts.
    pub ca: Option<PathBuf>,
    /// The name that is asked for, and that its certificate must have. `None`: the one that it is dialled by.
    pub server_name: Option<String>,
    /// What it is shown, if it asks for a certificate.
    pub pair: Option<Pair>,
}

/// What stands in files, and is read and watched together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credentials {
    /// Towards clients.
    Clients(Arc<ServeTls>),
    /// Towards upstreams.
    Upstream(Arc<UpstreamTls>),
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `cert`.
    Certificate,
    /// `key`.
    Key,
    /// `client_ca`, `ca`.
    Authority,
}

impl Credentials {
    /// Its files, as written.
    pub fn files(&self) -> Vec<(Part, &PathBuf)> {
        let (pair, authority) = match self {
            Credentials::Clients(tls) => (Some(&tls.pair), &tls.client_ca),
            Credentials::Upstream(tls) => (tls.pair.as_ref(), &tls.ca),
        };
        let pair = pair.map(|pair| [(Part::Certificate, &pair.cert), (Part::Key, &pair.key)]);
        let authority = authority.iter().map(|path| (Part::Authority, path));
        pair.into_iter().flatten().chain(authority).collect()
    }
}

/// As the file has it: paths, and nothing that stands at them.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let pair = |pair: &Pair| {
            [format!("cert = {}", pair.cert.display()), format!("key = {}", pair.key.display())]
        };
        if let Some(clients) = &self.clients {
            parts.extend(pair(&clients.pair));
            parts.extend(clients.client_ca.iter().map(|path| format!("client_ca = {}", path.display())));
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
