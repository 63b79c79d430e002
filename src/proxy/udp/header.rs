//! The PROXY header that names the client of a session to its upstream.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::model::source::Dscp;
use crate::model::{HeaderOn, ProxyProtocol};
use crate::net::datagram::{DatagramSocket, Segments, Sent};
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// An encoded header, and which datagrams carry it.
#[derive(Debug)]
pub(super) struct ProxyHeader {
    header: Vec<u8>,
    on: HeaderOn,
}

impl ProxyHeader {
    /// The header for `client` and the address it has sent to (`server`). `None`: the route sends no header.
    pub(super) fn new(
        proxy_protocol: &ProxyProtocol,
        client: SocketAddr,
        server: SocketAddr,
        unique_id: impl FnOnce() -> String,
    ) -> Option<ProxyHeader> {
        // Only version 2 exists for UDP.
        proxy_protocol.send?;
        let notes = Notes { unique_id: Some(unique_id().into_bytes()), ..Notes::default() };
        let header = Header { addresses: Addresses::between(client, server), notes };
        Some(ProxyHeader { header: proxy::write_v2(&header, true), on: proxy_protocol.datagrams })
    }
}

/// The connected socket of a session to its upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The open table has a weak reference, and asks it for its address when somebody looks.
    pub socket: Arc<OwnedFd>,
    pub addr: SocketAddr,
    /// The class of service of its datagrams. `None`: that of the system.
    pub dscp: Option<Dscp>,
    /// The header for the next datagram. `None`: none, or it was sent already.
    pub header: Option<ProxyHeader>,
}

impl Upstream {
    /// Sends datagrams of the client, each with its header if it carries one. The bytes of headers are not counted as
    /// sent. A header may make a datagram too long: it then fails as any other that is. `buffer` is scratch space for
    /// the headers.
    pub(super) fn send(
        &mut self,
        listener: &DatagramSocket,
        segments: &Segments<'_>,
        buffer: &mut Vec<u8>,
    ) -> Sent {
        let (mut sent, mut rest) = (Sent::default(), Some(*segments));
        while let Some(segments) = rest {
            let Some(ProxyHeader { header, on }) = &self.header else {
                return sent.and(listener.send_through(&self.socket, &segments, self.addr, self.dscp));
            };
            let together = *on == HeaderOn::Each && segments.has_room(header.len());
            let (now, later) = if together { (segments, None) } else { segments.split_first() };
            let mut went =
                listener.send_through(&self.socket, &now.headed(header, buffer), self.addr, self.dscp);
            went.sent.bytes -= went.sent.datagrams * header.len() as u64;
            if *on == HeaderOn::First && went.failed.is_none() {
                self.header = None;
            }
            (sent, rest) = (sent.and(went), later);
        }
        sent
    }
}
