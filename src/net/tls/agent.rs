//! TLS of the HTTP client that fetches route tables.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::pem;
use super::setup::{PROVIDER, PairText, SystemRoots, TlsConnector, Unfit};
use crate::model::Part;

/// `pair`: our certificate, for a server that asks for one. `authority`: servers must have a certificate from it; `None`:
/// from an authority of this system. May block.
pub fn agent_tls(pair: Option<PairText<'_>>, authority: Option<&[u8]>) -> Result<TlsConfig, Unfit> {
    // The one that is made here is not used: its errors are.
    TlsConnector::new(pair, authority, &SystemRoots::default())?;
    let roots = match authority {
        Some(text) => pem::certificates(text)
            .map_err(Unfit::of(Part::Authority))?
            .into_iter()
            .map(|item| item.value)
            .collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    let roots: Vec<Certificate<'static>> = roots.iter().map(certificate).collect();
    let client = match pair {
        Some(pair) => {
            let chain = pem::certificates(pair.cert).map_err(Unfit::of(Part::Certificate))?;
            let chain: Vec<Certificate<'static>> =
                chain.iter().map(|item| certificate(&item.value)).collect();
            let key = PrivateKey::from_pem(pair.key).map_err(Unfit::internal)?;
            Some(ClientCert::new_with_certs(&chain, key))
        }
        None => None,
    };
    let config = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(PROVIDER.clone())
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(client);
    Ok(config.build())
}

/// Trusts nobody: what redirects to TLS fails.
pub fn agent_tls_of_nobody() -> TlsConfig {
    let roots = RootCerts::Specific(Arc::new(Vec::new()));
    TlsConfig::builder().unversioned_rustls_crypto_provider(PROVIDER.clone()).root_certs(roots).build()
}

fn certificate(der: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(der).to_owned()
}
