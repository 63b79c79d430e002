//! What a header of the PROXY protocol says, of either version.

use std::net::{IpAddr, SocketAddr};

/// The longest header that is read, in bytes. Version 2 could have 64 KiB; the largest that are sent carry a client's
/// certificate, and HAProxy takes no more than this either.
pub const LONGEST: usize = 16 * 1024;

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Between whom the connection is.
    pub addresses: Addresses,
    /// What else there is to say. Version 1 has nothing else.
    pub notes: Notes,
}

/// Between whom a connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// The proxy itself connects, to see whether we live. (v2 LOCAL)
    Own,
    /// The proxy does not say. (v1 UNKNOWN, v2 UNSPEC)
    #[default]
    Unknown,
    /// A client's address, and the one that it connected to: both of one family.
    Ip(SocketAddr, SocketAddr),
    /// The paths of two Unix sockets, without the zeros at their ends.
    Unix(Vec<u8>, Vec<u8>),
}

impl Addresses {
    /// Of two addresses of any families: an IPv4 one beside an IPv6 one is written as an IPv4-mapped one.
    pub fn between(client: SocketAddr, server: SocketAddr) -> Self {
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let mapped = |addr: SocketAddr| match addr.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
            IpAddr::V6(_) => addr,
        };
        let (client, server) = (canonical(client), canonical(server));
        match client.is_ipv4() == server.is_ipv4() {
            true => Addresses::Ip(client, server),
            false => Addresses::Ip(mapped(client), mapped(server)),
        }
    }
}

/// What version 2 says beside the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The protocol above TLS (`PP2_TYPE_ALPN`), at most 255 bytes.
    pub alpn: Option<Vec<u8>>,
    /// The server name that the client asks for (`PP2_TYPE_AUTHORITY`), at most 255 bytes.
    pub authority: Option<Vec<u8>>,
    /// What the first proxy calls the connection (`PP2_TYPE_UNIQUE_ID`), at most 128 bytes.
    pub unique_id: Option<Vec<u8>>,
    /// The client's TLS (`PP2_TYPE_SSL`), at most 255 bytes: as [`super::proxy::Ssl::note`] has it, or as another proxy said it.
    pub ssl: Option<Vec<u8>>,
}

/// A client's TLS that ended at a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// As OpenSSL calls it: "TLSv1.3".
    pub version: String,
    /// As OpenSSL calls it: "TLS_AES_256_GCM_SHA384".
    pub cipher: String,
    /// Its certificate, which was verified.
    pub certificate: Option<ClientCertificate>,
}

/// A client's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whose it is, where it says.
    pub common_name: Option<String>,
    /// It was shown when the session began, of which this connection is another one.
    pub earlier: bool,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(super) &'static str);
