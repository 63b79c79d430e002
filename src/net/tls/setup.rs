//! TLS configurations, made from the certificates, keys and authorities of files. Each serves many connections.

use std::cell::OnceCell;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertRevocationListError, ClientConfig, RootCertStore, ServerConfig};

use super::pem::{self, Flaw, Item};
use crate::model::{Fault, Part};
use crate::wire::certificate::is_for_key;
use crate::wire::revocations::Revocations;

/// The cryptography of every configuration. Explicit, so that nothing depends on which one a program has installed.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The TLS configuration of a route towards its clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsAcceptor(Arc<ServerConfig>);

/// The TLS configuration of a route towards its upstreams. Cheap to clone; clones share remembered sessions.
#[derive(Clone, Debug)]
pub struct TlsConnector(Arc<ClientConfig>);

/// Which file cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What the file is for. `None`: no file has the fault.
    pub part: Option<Part>,
    /// Which one of the files for that, from 0.
    pub number: usize,
    /// The line in it. `None`: the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub fault: Fault,
}

/// Whose certificates clients must have.
#[derive(Clone, Debug)]
pub struct ClientTrust<'t> {
    /// The certificates of the authorities, in PEM.
    pub authorities: &'t [u8],
    /// The certificates that they have revoked, each text in PEM or DER. Empty: none is.
    pub revocations: Vec<&'t [u8]>,
}

/// The contents of a certificate file and of its key file.
#[derive(Clone, Copy, Default)]
pub struct PairText<'t> {
    /// The certificate and its intermediates, in PEM.
    pub cert: &'t [u8],
    /// The private key, in PEM.
    pub key: &'t [u8],
}

impl Unfit {
    pub(super) fn of(part: Part) -> impl Fn(Flaw) -> Unfit {
        move |Flaw { line, fault }| Unfit { part: Some(part), number: 0, line, fault }
    }

    fn no_file(fault: Fault) -> Unfit {
        Unfit { part: None, number: 0, line: None, fault }
    }

    /// A fault that no file can cause.
    pub(super) fn internal(error: impl std::fmt::Display) -> Unfit {
        Unfit::no_file(Fault::new(format!("TLS cannot be set up: {error}"), "report this as a bug"))
    }
}

impl TlsAcceptor {
    /// `clients`: whose certificate they must have; `None`: they need none. `alpn`: the protocols to offer, the best
    /// first.
    pub fn new(
        pair: PairText<'_>,
        clients: Option<ClientTrust<'_>>,
        alpn: &[String],
    ) -> Result<TlsAcceptor, Unfit> {
        let resolver = SingleCertAndKey::from(certified(pair)?);
        let builder =
            ServerConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(Unfit::internal)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(verifier(clients)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        // Stateless. Ticket keys live as long as these files are in use: a client that other files would refuse has no
        // valid ticket for them.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(Unfit::internal)?;
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
        system: &SystemRoots,
    ) -> Result<TlsConnector, Unfit> {
        let roots = match authority {
            Some(text) => Arc::new(roots(text)?),
            None => system.get().map_err(Unfit::no_file)?,
        };
        let builder =
            ClientConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(Unfit::internal)?.with_root_certificates(roots);
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

/// The authorities that this system trusts: loaded when they are first needed, and shared by all that were made with the
/// same value. Some 150 certificates.
#[derive(Debug, Default)]
pub struct SystemRoots(OnceCell<Result<Arc<RootCertStore>, Fault>>);

impl SystemRoots {
    fn get(&self) -> Result<Arc<RootCertStore>, Fault> {
        self.0.get_or_init(|| system_roots().map(Arc::new)).clone()
    }
}

/// The authorities that this system trusts. May block.
fn system_roots() -> Result<RootCertStore, Fault> {
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

fn certified(pair: PairText<'_>) -> Result<CertifiedKey, Unfit> {
    let chain = pem::certificates(pair.cert).map_err(Unfit::of(Part::Certificate))?;
    let key = pem::key(pair.key).map_err(Unfit::of(Part::Key))?;
    // The text of the error may quote what it read.
    let key = PROVIDER.key_provider.load_private_key(key);
    let of_key = |fault| Unfit::of(Part::Key)(Flaw { line: None, fault });
    let key = key.map_err(|_| of_key(pem::unknown_key()))?;
    // Not by rustls, which reads no certificate of version 1. A client reads it, and judges it.
    let fits = |certificate: &Item<CertificateDer<'_>>| match key.public_key() {
        Some(public) => is_for_key(&certificate.value, &public),
        None => Some(true),
    };
    match chain.first().map(|first| (first, fits(first))) {
        Some((_, Some(true))) => {}
        Some((first, None)) => return Err(Unfit::of(Part::Certificate)(unreadable(first.line))),
        _ => return Err(of_key(misfit(chain.iter().position(|other| fits(other) == Some(true))))),
    }
    Ok(CertifiedKey::new(chain.into_iter().map(|item| item.value).collect(), key))
}

/// `other`: which certificate of the file the key belongs to, from 0.
fn misfit(other: Option<usize>) -> Fault {
    match other {
        Some(index) => Fault::new(
            format!("the key belongs to certificate {} of the file, not to the first", index + 1),
            "put that certificate first: those between it and its authority follow it",
        ),
        None => Fault::new(
            "the key does not belong to the certificate",
            "give the key that the certificate was made for; the first certificate of the file counts",
        ),
    }
}

fn unreadable(line: usize) -> Flaw {
    let help = "make it anew: openssl x509 -in CERT -noout -text shows what is there";
    Flaw::at(line, "this certificate is not one that can be read", help)
}

fn roots(text: &[u8]) -> Result<RootCertStore, Unfit> {
    let mut roots = RootCertStore::empty();
    for Item { value, line } in pem::certificates(text).map_err(Unfit::of(Part::Authority))? {
        roots.add(value).map_err(|_| Unfit::of(Part::Authority)(unreadable(line)))?;
    }
    Ok(roots)
}

/// Verifies clients as HAProxy (`crl-file`) and nginx (`ssl_crl`) do: each certificate but the authority's own needs a
/// list that is not too old.
fn verifier(clients: ClientTrust<'_>) -> Result<Arc<dyn ClientCertVerifier>, Unfit> {
    let roots = Arc::new(roots(clients.authorities)?);
    let verifier = |lists: Vec<CertificateRevocationListDer<'static>>| {
        let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), PROVIDER.clone());
        builder.with_crls(lists).enforce_revocation_expiration().build()
    };
    let mut all = Vec::new();
    for (number, text) in clients.revocations.into_iter().enumerate() {
        let of_file = |flaw| Unfit { number, ..Unfit::of(Part::Revocations)(flaw) };
        for Item { value, line } in pem::revocations(text).map_err(of_file)? {
            if let Err(VerifierBuilderError::InvalidCrl(error)) = verifier(vec![value.clone()]) {
                return Err(of_file(unusable_list(line, &value, &error)));
            }
            all.push(value);
        }
    }
    verifier(all).map_err(Unfit::internal)
}

fn unusable_list(line: usize, list: &[u8], error: &CertRevocationListError) -> Flaw {
    let read = Revocations::read(list);
    let (what, help) = match (error, read) {
        (_, None) => ("is not one that can be read", "openssl crl -in FILE -noout -text shows what is there"),
        (_, Some(list)) if list.is_version_1 => (
            "is of version 1, which has no number and cannot be used",
            "give lists a number: `crlnumber`, and `crl_extensions = crl_ext`, in openssl.cnf",
        ),
        (_, Some(list)) if list.next_update.is_none() => {
            ("does not say when the next one is due", "openssl ca -gencrl -crldays 30 makes one that does")
        }
        (CertRevocationListError::UnsupportedDeltaCrl, _) => {
            ("has only what is new since another one", "give the whole list")
        }
        (CertRevocationListError::UnsupportedIndirectCrl, _) => {
            ("is for certificates of other authorities", "give the list of each authority")
        }
        _ => ("has parts that are not known here", "openssl crl -in FILE -noout -text shows what is there"),
    };
    Flaw::at(line, format!("this revocation list {what}"), help)
}
