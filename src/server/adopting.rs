//! What another process hands over goes on in this one.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::warn;

use super::handover::SESSIONS;
use super::running::Server;
use crate::net::carrier::Message;
use crate::proxy::listener::ListenSocket;
use crate::proxy::udp::UdpListener;
use crate::proxy::{connection, udp};
use crate::state::moved::{MovedSession, decode};

/// Takes connections and sessions in.
pub(super) struct Adopting<'s> {
    server: &'s Server,
    listeners: HashMap<String, &'s Arc<ListenSocket>>,
    udp: HashMap<String, &'s Arc<UdpListener>>,
    /// UDP listeners read what clients send once their sessions are there.
    waits: bool,
}

impl<'s> Adopting<'s> {
    /// UDP listeners of this server are paused.
    pub fn begin(server: &'s Server) -> Adopting<'s> {
        let listeners = server.listeners.iter().map(|(addr, listener)| (addr.to_string(), listener));
        let udp = server.udp.open().map(|listener| (listener.addr.to_string(), listener));
        Adopting { server, listeners: listeners.collect(), udp: udp.collect(), waits: true }
    }

    /// Goes on with those that it can. Returns for each whether it does.
    pub fn take(&mut self, message: Message) -> Vec<bool> {
        let taken = if message.kind == SESSIONS {
            self.sessions(message)
        } else {
            self.end_waiting();
            self.connections(message)
        };
        taken.unwrap_or_else(|| {
            warn!("what the old process hands over cannot be read: it goes on there");
            Vec::new()
        })
    }

    fn connections(&self, message: Message) -> Option<Vec<bool>> {
        let (connections, mut fds) = (decode(&message.bytes).ok()?, message.fds.into_iter());
        let taken = connections.iter().map(|moved| {
            let own: Vec<_> = fds.by_ref().take(moved.descriptors()).collect();
            let listener = self.listeners.get(&moved.listener).map(|socket| socket.shared_listener());
            listener.is_some_and(|listener| connection::resume(moved, own, &listener, &self.server.shared))
        });
        Some(taken.collect())
    }

    fn sessions(&self, message: Message) -> Option<Vec<bool>> {
        let sessions: Vec<MovedSession> = serde_json::from_slice(&message.bytes).ok()?;
        let taken = sessions.iter().zip(message.fds).map(|(moved, socket)| {
            let listener = self.udp.get(&moved.listener);
            listener.is_some_and(|listener| udp::resume(moved, socket, listener, &self.server.shared))
        });
        Some(taken.collect())
    }

    fn end_waiting(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.udp.values().for_each(|listener| listener.resume());
        }
    }
}

impl Drop for Adopting<'_> {
    fn drop(&mut self) {
        self.end_waiting();
    }
}
