//! The PROXY protocol (haproxy.org, "proxy-protocol.txt", 2020/03/05): before the client's first byte, a proxy says who
//! the client is.

use super::{proxy_v1, proxy_v2};

pub use super::proxy_header::{Addresses, ClientCertificate, Header, LONGEST, Malformed, Note, Notes, Ssl};

impl Ssl {
    /// The bytes for [`Notes::ssl`].
    pub fn note(&self) -> Vec<u8> {
        proxy_v2::ssl(self)
    }
}

/// Reads a header of either version from the beginning of `bytes`, and returns it with its length in bytes. `None`:
/// more bytes are needed. What cannot become a header is refused at its first wrong byte.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if begins(bytes, proxy_v1::START) {
        return proxy_v1::parse(bytes);
    }
    if begins(bytes, proxy_v2::START) {
        return proxy_v2::parse(bytes);
    }
    Err(Malformed("it does not begin as a PROXY header"))
}

/// Whether both agree up to the length of the shorter one.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

/// Writes a header of version 1: at most 107 bytes.
pub fn write_v1(addresses: &Addresses) -> Vec<u8> {
    proxy_v1::write(addresses)
}

/// Writes a header of version 2, with its checksum. `datagram`: for UDP, before the payload in the same datagram.
pub fn write_v2(header: &Header, datagram: bool) -> Vec<u8> {
    proxy_v2::write(header, datagram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_described_for_a_note() {
        let ssl = Ssl { version: "TLSv1.3".into(), cipher: "AES".into(), certificate: None };
        assert_eq!(ssl.note(), b"\x01\0\0\0\x01\x21\0\x07TLSv1.3\x23\0\x03AES");
    }
}
