//! The PROXY protocol (haproxy.org, "proxy-protocol.txt", 2020/03/05): who the client is, said by a proxy before the
//! client's first byte.

use super::{proxy_v1, proxy_v2};

pub use super::proxy_header::{Addresses, ClientCertificate, Header, LONGEST, Malformed, Notes, Ssl};

impl Ssl {
    /// For [`Notes::ssl`].
    pub fn note(&self) -> Vec<u8> {
        proxy_v2::ssl(self)
    }
}

/// Reads a header of either version from the beginning of `bytes`. `None`: more must come. With the header: how many
/// bytes it has. What cannot become a header is refused with its first wrong byte.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if begins(bytes, proxy_v1::START) {
        return proxy_v1::parse(bytes);
    }
    if begins(bytes, proxy_v2::START) {
        return proxy_v2::parse(bytes);
    }
    Err(Malformed("it does not begin as a PROXY header"))
}

/// Whether they agree as far as both go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

/// A header of version 1, at most 107 bytes.
pub fn write_v1(addresses: &Addresses) -> Vec<u8> {
    proxy_v1::write(addresses)
}

/// A header of version 2, with its checksum. `datagram`: for UDP, before the payload in one datagram.
pub fn write_v2(header: &Header, datagram: bool) -> Vec<u8> {
    proxy_v2::write(header, datagram)
}
