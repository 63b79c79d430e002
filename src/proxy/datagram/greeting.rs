//! What a session's upstream hears of its client: a PROXY header before its datagrams.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::model::{Headed, ProxyProtocol};
use crate::net::datagram::{DatagramSocket, Sent, Train};
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// A header, and which datagrams are to have it.
#[derive(Debug)]
pub(super) struct Greeting {
    header: Vec<u8>,
    headed: Headed,
}

impl Greeting {
    /// None where nothing is to be said. `ends`: the client, and where it has written to.
    pub(super) fn new(
        proxy_protocol: &ProxyProtocol,
        (client, server): (SocketAddr, SocketAddr),
        unique_id: impl FnOnce() -> String,
    ) -> Option<Greeting> {
        // Of UDP there is version 2 only.
        proxy_protocol.send?;
        let notes = Notes { unique_id: Some(unique_id().into_bytes()), ..Notes::default() };
        let header = Header { addresses: Addresses::between(client, server), notes };
        Some(Greeting { header: proxy::write_v2(&header, true), headed: proxy_protocol.datagrams })
    }
}

/// The way of a session to its upstream.
#[derive(Debug)]
pub(super) struct Connected {
    pub socket: OwnedFd,
    pub addr: SocketAddr,
    /// What is to be said before the next datagram.
    pub greeting: Option<Greeting>,
}

impl Connected {
    /// Sends datagrams of the client, each with the header that it must have; that is not counted as sent. With it a
    /// datagram may be too long to be one: then it has failed, as any that is. `buffer` is room for the headers.
    pub(super) fn send(&mut self, door: &DatagramSocket, train: &Train<'_>, buffer: &mut Vec<u8>) -> Sent {
        let (mut sent, mut rest) = (Sent::default(), Some(*train));
        while let Some(train) = rest {
            let Some(Greeting { header, headed }) = &self.greeting else {
                return sent.and(door.send_through(&self.socket, &train, self.addr));
            };
            let together = *headed == Headed::Each && train.has_room(header.len());
            let (now, later) = if together { (train, None) } else { train.split_first() };
            let mut went = door.send_through(&self.socket, &now.headed(header, buffer), self.addr);
            went.sent.1 -= went.sent.0 * header.len() as u64;
            if *headed == Headed::First && went.failed.is_none() {
                self.greeting = None;
            }
            (sent, rest) = (sent.and(went), later);
        }
        sent
    }
}
