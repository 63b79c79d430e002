//! TLS of a route: towards its clients, and towards its upstreams.

use std::fmt;
use std::path::{Path, PathBuf};
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

    /// Makes relative paths begin at this folder.
    pub fn begin_at(&mut self, folder: &Path) {
        let here = |path: &mut PathBuf| *path = folder.join(&*path);
        if let Some(clients) = self.clients.as_mut().map(Arc::make_mut) {
            let ServeTls { pair: Pair { cert, key }, client_ca, crl, .. } = clients;
            [cert, key].into_iter().chain(client_ca).chain(crl).for_each(here);
        }
        if let Some(upstream) = self.upstream.as_mut().map(Arc::make_mut) {
            let pair = upstream.pair.iter_mut().flat_map(|Pair { cert, key }| [cert, key]);
            pair.chain(&mut upstream.ca).for_each(here);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> ServeTls {
        let pair = Pair { cert: "app.pem".into(), key: "app.key".into() };
        ServeTls {
            pair,
            client_ca: Some("ca.pem".into()),
            crl: vec!["a.crl".into(), "/b.crl".into()],
            alpn: vec![],
        }
    }

    fn upstream() -> UpstreamTls {
        let pair = Pair { cert: "me.pem".into(), key: "/me.key".into() };
        UpstreamTls { ca: Some("up.pem".into()), server_name: Some("db.internal".into()), pair: Some(pair) }
    }

    fn both(clients: Option<ServeTls>, upstream: Option<UpstreamTls>) -> Tls {
        Tls { clients: clients.map(Arc::new), upstream: upstream.map(Arc::new) }
    }

    /// The files of each side with TLS.
    fn files(tls: &Tls) -> Vec<Vec<(Part, String)>> {
        let shown = |(part, path): (Part, &PathBuf)| (part, path.display().to_string());
        tls.credentials().map(|credentials| credentials.files().into_iter().map(shown).collect()).collect()
    }

    #[test]
    fn relative_paths_begin_at_the_folder_of_the_file() {
        use Part::{Authority, Certificate, Key, Revocations};
        let named = |all: &[(Part, &str)]| -> Vec<(Part, String)> {
            all.iter().map(|(part, path)| (*part, (*path).to_owned())).collect()
        };
        let mut tls = both(Some(clients()), Some(upstream()));
        let written = [
            named(&[
                (Certificate, "app.pem"),
                (Key, "app.key"),
                (Authority, "ca.pem"),
                (Revocations, "a.crl"),
                (Revocations, "/b.crl"),
            ]),
            named(&[(Certificate, "me.pem"), (Key, "/me.key"), (Authority, "up.pem")]),
        ];
        assert_eq!(files(&tls), written);
        tls.begin_at(Path::new("/etc"));
        let found = [
            named(&[
                (Certificate, "/etc/app.pem"),
                (Key, "/etc/app.key"),
                (Authority, "/etc/ca.pem"),
                (Revocations, "/etc/a.crl"),
                (Revocations, "/b.crl"),
            ]),
            named(&[(Certificate, "/etc/me.pem"), (Key, "/me.key"), (Authority, "/etc/up.pem")]),
        ];
        assert_eq!(files(&tls), found);
        assert_eq!(files(&both(None, Some(UpstreamTls::default()))), [vec![]], "a side without files");
        assert!(files(&Tls::default()).is_empty());
    }

    #[test]
    fn tls_is_shown_as_it_is_written() {
        let plain = ServeTls { client_ca: None, crl: vec![], ..clients() };
        let offers = ServeTls { alpn: vec!["h2".into(), "http/1.1".into()], ..plain.clone() };
        for (tls, off, shown) in [
            (Tls::default(), true, "off"),
            (both(Some(plain), None), false, "cert = app.pem, key = app.key"),
            (both(Some(offers), None), false, "cert = app.pem, key = app.key, offers h2, http/1.1"),
            (both(None, Some(UpstreamTls::default())), false, "upstream = true"),
            (
                both(None, Some(upstream())),
                false,
                "upstream = { ca = up.pem, server_name = db.internal, cert = me.pem, key = /me.key }",
            ),
            (
                both(Some(clients()), Some(UpstreamTls::default())),
                false,
                "cert = app.pem, key = app.key, client_ca = ca.pem, crl = a.crl, crl = /b.crl, upstream = true",
            ),
        ] {
            assert_eq!((tls.to_string().as_str(), tls.is_off()), (shown, off));
        }
    }
}
