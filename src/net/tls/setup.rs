//! TLS configurations, made from the certificates, keys and authorities of files. Each serves many connections.

use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::pem;
use crate::model::Fault;
use crate::wire::certificate::Certificate;

/// The cryptography of every configuration. Explicit, so that nothing depends on which one a program has installed.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The TLS configuration of a route towards its clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsAcceptor(Arc<ServerConfig>);

/// The TLS configuration of a route towards its upstreams. Cheap to clone; clones share remembered sessions.
#[derive(Clone, Debug)]
pub struct TlsConnector(Arc<ClientConfig>);

/// Which file cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The file of `cert`.
    Certificate(Fault),
    /// The file of `key`.
    Key(Fault),
    /// The file of `client_ca` or `ca`.
    Authority(Fault),
    /// The authorities of this system.
    System(Fault),
}

/// The contents of a certificate file and of its key file.
#[derive(Clone, Copy, Default)]
pub struct PairText<'t> {
    /// The certificate and its intermediates, in PEM.
    pub cert: &'t [u8],
    /// The private key, in PEM.
    pub key: &'t [u8],
}

impl TlsAcceptor {
    /// `authority`: if given, clients must have a certificate from it. `alpn`: the protocols to offer, the best first.
    pub fn new(pair: PairText<'_>, authority: Option<&[u8]>, alpn: &[String]) -> Result<TlsAcceptor, Unfit> {
        let resolver = SingleCertAndKey::from(certified(pair)?);
        let builder =
            ServerConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Unfit::Key(internal(&error)))?;
        let builder = match authority {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(text)?), PROVIDER.clone())
                        .build();
                builder
                    .with_client_cert_verifier(verifier.map_err(|error| Unfit::Authority(internal(&error)))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        // Stateless. Ticket keys live as long as these files are in use: a client that other files would refuse has no
        // valid ticket for them.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| Unfit::Key(internal(&error)))?;
        Ok(TlsAcceptor(Arc::new(config)))
    }

    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.0
    }
}

impl TlsConnector {
    /// `pair`: our certificate, for a server that asks for one. `authority`: servers must have a certificate from it;
    /// `None`: from an authority of `system`.
    pub fn new(
        pair: Option<PairText<'_>>,
        authority: Option<&[u8]>,
        system: impl FnOnce() -> Result<RootCertStore, Fault>,
    ) -> Result<TlsConnector, Unfit> {
        let roots = match authority {
            Some(text) => roots(text)?,
            None => system().map_err(Unfit::System)?,
        };
        let builder =
            ClientConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions();
        let builder =
            builder.map_err(|error| Unfit::Authority(internal(&error)))?.with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(pair)?)))
            }
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(TlsConnector(Arc::new(config)))
    }

    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.0
    }
}

/// Servers whose sessions are remembered, to be resumed.
const SESSIONS: usize = 256;

/// The authorities that this system trusts. May block.
pub fn system_roots() -> Result<RootCertStore, Fault> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Old ones that cannot be parsed do no harm.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
    Err(Fault::new(
        format!("this system has no list of authorities that it trusts{why}"),
        "install one (Debian: apt-get install ca-certificates), or name your own: tls = { upstream = { ca = \"ca.pem\" } }",
    ))
}

/// When the first certificate of a file begins to be valid and when it expires, in seconds after 1970. `None` if it
/// cannot be read.
pub fn validity(cert: &[u8]) -> Option<(i64, i64)> {
    let chain = pem::certificates(cert).ok()?;
    Certificate::read(chain.first()?).map(|certificate| certificate.valid)
}

fn certified(pair: PairText<'_>) -> Result<CertifiedKey, Unfit> {
    let chain = pem::certificates(pair.cert).map_err(Unfit::Certificate)?;
    let key = pem::key(pair.key).map_err(Unfit::Key)?;
    CertifiedKey::from_der(chain, key, &PROVIDER).map_err(|error| match error {
        Error::InconsistentKeys(_) => Unfit::Key(Fault::new(
            "the key does not belong to the certificate",
            "give the key that the certificate was made for; the first certificate of the file counts",
        )),
        Error::InvalidCertificate(_) => Unfit::Certificate(Fault::new(
            "the first certificate in it is not one that can be read",
            "make it anew: openssl x509 -in CERT -noout -text shows what is there",
        )),
        // The text of the error may quote what it read.
        _ => Unfit::Key(Fault::new(
            "the key is of a kind that is not known here",
            "use RSA of 2048 bits and more, ECDSA (P-256, P-384, P-521) or Ed25519",
        )),
    })
}

fn roots(text: &[u8]) -> Result<RootCertStore, Unfit> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(text).map_err(Unfit::Authority)? {
        roots.add(certificate).map_err(|_| {
            Unfit::Authority(Fault::new(
                "a certificate in it is not one that can be read",
                "make it anew: openssl x509 -in CERT -noout -text shows what is there",
            ))
        })?;
    }
    Ok(roots)
}

/// A fault that no file can cause.
fn internal(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(format!("TLS cannot be set up: {error}"), "report this as a bug")
}
