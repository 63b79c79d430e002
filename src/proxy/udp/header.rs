//! What a session's upstream hears of its client: a PROXY header before its datagrams.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::model::{HeaderOn, ProxyProtocol};
use crate::net::datagram::{DatagramSocket, Segments, Sent};
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// A header, and which datagrams are to have it.
#[derive(Debug)]
pub(super) struct ProxyHeader {
    header: Vec<u8>,
    on: HeaderOn,
}

impl ProxyHeader {
    /// Says who `client` is and where it has written to (`server`). `None`: the route sends no header.
    pub(super) fn new(
        proxy_protocol: &ProxyProtocol,
        client: SocketAddr,
        server: SocketAddr,
        unique_id: impl FnOnce() -> String,
    ) -> Option<ProxyHeader> {
        // Of UDP there is version 2 only.
        proxy_protocol.send?;
        let notes = Notes { unique_id: Some(unique_id().into_bytes()), ..Notes::default() };
        let header = Header { addresses: Addresses::between(client, server), notes };
        Some(ProxyHeader { header: proxy::write_v2(&header, true), on: proxy_protocol.datagrams })
    }
}

/// The way of a session to its upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    pub socket: OwnedFd,
    pub addr: SocketAddr,
    /// What is to be said before the next datagram.
    pub header: Option<ProxyHeader>,
}

impl Upstream {
    /// Sends datagrams of the client, each with the header that it must have; that is not counted as sent. With it a
    /// datagram may be too long to be one: then it has failed, as any that is. `buffer` is room for the headers.
    pub(super) fn send(
        &mut self,
        listener: &DatagramSocket,
        segments: &Segments<'_>,
        buffer: &mut Vec<u8>,
    ) -> Sent {
        let (mut sent, mut rest) = (Sent::default(), Some(*segments));
        while let Some(segments) = rest {
            let Some(ProxyHeader { header, on }) = &self.header else {
                return sent.and(listener.send_through(&self.socket, &segments, self.addr));
            };
            let together = *on == HeaderOn::Each && segments.has_room(header.len());
            let (now, later) = if together { (segments, None) } else { segments.split_first() };
            let mut went = listener.send_through(&self.socket, &now.headed(header, buffer), self.addr);
            went.sent.bytes -= went.sent.datagrams * header.len() as u64;
            if *on == HeaderOn::First && went.failed.is_none() {
                self.header = None;
            }
            (sent, rest) = (sent.and(went), later);
        }
        sent
    }
}
