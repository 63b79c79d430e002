//! The content of a PROXY header, of either version.

use std::net::{IpAddr, SocketAddr};

/// The longest header that is read, in bytes. Version 2 allows 64 KiB; the largest in use carry a client's certificate,
/// and HAProxy takes no more than this either.
pub const LONGEST: usize = 16 * 1024;

/// The content of a header, of either version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The two ends of the connection.
    pub addresses: Addresses,
    /// Everything else. Version 1 has nothing else.
    pub notes: Notes,
}

/// The two ends of a connection, as a header names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// The proxy's own connection: it checks whether we are alive. (v2 LOCAL)
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
    /// Combines two addresses of any family. If the families differ, the IPv4 address becomes an IPv4-mapped one.
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

/// What version 2 says besides the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The ALPN protocol (`PP2_TYPE_ALPN`), at most 255 bytes.
    pub alpn: Option<Vec<u8>>,
    /// The server name that the client asks for (`PP2_TYPE_AUTHORITY`), at most 255 bytes.
    pub authority: Option<Vec<u8>>,
    /// The id that the first proxy gave the connection (`PP2_TYPE_UNIQUE_ID`), at most 128 bytes.
    pub unique_id: Option<Vec<u8>>,
    /// The client's TLS (`PP2_TYPE_SSL`): from [`super::proxy::Ssl::note`], or as another proxy sent
    /// it.
    pub ssl: Option<Vec<u8>>,
    /// What was noted of other kinds, in its order: it goes on as it came.
    pub others: Vec<Note>,
}

/// A note of a kind that says nothing to us: of a cloud, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `PP2_TYPE_...`
    pub kind: u8,
    /// What it says.
    pub value: Vec<u8>,
}

/// A client's TLS session that ended at a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// The protocol version, by OpenSSL's name: "TLSv1.3".
    pub version: String,
    /// The cipher, by OpenSSL's name: "TLS_AES_256_GCM_SHA384".
    pub cipher: String,
    /// The client's certificate, which was verified. `None`: it showed none.
    pub certificate: Option<ClientCertificate>,
}

/// A client's certificate, as a header describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common name of its subject, if it has one.
    pub common_name: Option<String>,
    /// It was shown on an earlier connection: this one resumes that session.
    pub earlier: bool,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(super) &'static str);
