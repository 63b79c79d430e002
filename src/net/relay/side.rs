//! The two ends of a relay.

use crate::net::{Socket, StreamRef};

/// One of the two peers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer that connected to us.
    Client,
    /// The peer that we connected to.
    Upstream,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Client => Side::Upstream,
            Side::Upstream => Side::Client,
        }
    }
}

/// The sockets of both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sockets<'a> {
    pub client: &'a Socket,
    pub upstream: &'a Socket,
}

impl<'a> Sockets<'a> {
    pub fn of(self, side: Side) -> &'a Socket {
        match side {
            Side::Client => self.client,
            Side::Upstream => self.upstream,
        }
    }

    /// Whether either side has something that the relay could not know of yet ([`Socket::has_unseen`]).
    pub fn have_unseen(self) -> bool {
        self.client.has_unseen() || self.upstream.has_unseen()
    }
}

/// Both ends, each with its TLS session, if any.
#[derive(Debug)]
pub struct Streams<'a> {
    /// The connection that a listener accepted.
    pub client: StreamRef<'a>,
    /// The connection that we dialled.
    pub upstream: StreamRef<'a>,
}

impl<'a> Streams<'a> {
    pub(super) fn sockets(&self) -> Sockets<'a> {
        Sockets { client: self.client.socket, upstream: self.upstream.socket }
    }

    pub(super) fn has_tls(&self) -> bool {
        self.client.session.is_some() || self.upstream.session.is_some()
    }
}
