//! The PROXY header that a client's proxy may send before anything else.

use std::io::{self, Cursor};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join, split};

use crate::net::within;
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// How long the rest of a header may take. What begins as one, such as an empty line, is a line after that.
const REST: Duration = Duration::from_secs(1);

/// A header that was read.
#[derive(Debug)]
pub(super) struct Told {
    version: u8,
    header: Header,
}

/// Reads the header at the beginning of `bytes`, and returns it with its length. `None`: there is none, or not all of it.
pub(super) fn read(bytes: &[u8]) -> Option<(Told, usize)> {
    let (header, length) = proxy::parse(bytes).ok()??;
    let version = if bytes.starts_with(b"PROXY") { 1 } else { 2 };
    Some((Told { version, header }, length))
}

/// Reads a header from a stream, if there is one. Returns it with the stream behind it.
pub(super) async fn take<S: AsyncRead + AsyncWrite>(
    stream: S,
) -> io::Result<(Option<Told>, impl AsyncRead + AsyncWrite + Unpin)> {
    let (mut reader, writer) = split(stream);
    let mut start = Vec::with_capacity(256);
    // A quiet client may stay: only what has begun has to go on.
    let mut ended = reader.read_buf(&mut start).await? == 0;
    while !ended && matches!(proxy::parse(&start), Ok(None)) {
        match within(REST, reader.read_buf(&mut start)).await {
            Ok(read) => ended = read? == 0,
            Err(_) => break,
        }
    }
    let told = match read(&start) {
        Some((told, length)) => {
            start.drain(..length);
            Some(told)
        }
        None => None,
    };
    Ok((told, join(Cursor::new(start).chain(reader), writer)))
}

impl Told {
    /// The client that the header names, if it names one.
    pub(super) fn client(&self) -> Option<String> {
        match &self.header.addresses {
            Addresses::Ip(client, _) => Some(client.to_string()),
            Addresses::Unix(client, _) => Some(format!("unix:{}", client.escape_ascii())),
            Addresses::Own | Addresses::Unknown => None,
        }
    }
}

/// `v2, 203.0.113.7:4711 to 192.0.2.1:443`.
impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}, ", self.version)?;
        match &self.header.addresses {
            Addresses::Own => write!(f, "LOCAL: the proxy's own connection")?,
            Addresses::Unknown => write!(f, "UNKNOWN: no addresses")?,
            Addresses::Ip(client, server) => write!(f, "{client} to {server}")?,
            Addresses::Unix(client, server) => {
                write!(f, "unix:{} to unix:{}", client.escape_ascii(), server.escape_ascii())?;
            }
        }
        let Notes { alpn, authority, unique_id, ssl, others } = &self.header.notes;
        for (name, note) in [("alpn", alpn), ("authority", authority), ("unique id", unique_id)] {
            if let Some(note) = note {
                write!(f, ", {name} {}", note.escape_ascii())?;
            }
        }
        if ssl.is_some() {
            write!(f, ", tls")?;
        }
        let mut others = others.iter();
        others.try_for_each(|note| write!(f, ", 0x{:02x} {}", note.kind, note.value.escape_ascii()))
    }
}
