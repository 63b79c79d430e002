//! How a store is reached, and the bounds of a request.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::StoreUrl;
use crate::net::tls::TlsConfig;

/// How long a request may take from its beginning to the last byte, besides the wait that it asks for.
pub(super) const AT_MOST: Duration = Duration::from_secs(30);

/// The largest signature, in bytes. minisign's are some 300.
pub(super) const LARGEST_SIGNATURE: u64 = 16 * 1024;

/// How a store is reached.
#[derive(Clone, Debug)]
pub struct StoreAccess {
    /// Where it is.
    pub url: StoreUrl,
    /// Authorities, and our own certificate.
    pub tls: TlsConfig,
    /// A file with the token that goes with each request, read each time. `None`: there is none.
    pub token: Option<PathBuf>,
    /// Whether every text is signed. If not, the whole way must be private: TLS, or this host.
    pub signed: bool,
    /// The largest text, in bytes.
    pub largest: u64,
}
