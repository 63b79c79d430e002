//! The listening sockets that this process hands over, each once: those of systemd, of TCP, of Unix paths, of UDP, and last
//! the admin endpoint's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::admin_socket::AdminListener;
use super::handover::HandedSocket;
use super::running::Server;
use crate::net::StreamListener;
use crate::net::inherit::Giver;
use crate::proxy::udp::UdpListener;

/// A listening socket to hand over.
pub(super) struct ToHand {
    /// What is said of it.
    pub said: HandedSocket,
    holder: Holder,
}

/// Who holds the socket.
enum Holder {
    Stream(Arc<StreamListener>),
    Datagram(Arc<UdpListener>),
    Admin(Arc<AdminListener>),
    Systemd(OwnedFd),
}

impl ToHand {
    fn ours(holder: Holder) -> ToHand {
        ToHand { said: HandedSocket { name: String::new(), of_systemd: false }, holder }
    }
}

impl AsFd for ToHand {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.holder {
            Holder::Stream(socket) => socket.as_fd(),
            Holder::Datagram(listener) => listener.socket.as_fd(),
            Holder::Admin(admin) => admin.socket.as_fd(),
            Holder::Systemd(socket) => socket.as_fd(),
        }
    }
}

impl Server {
    /// Every listening socket. Fails if no descriptor is left.
    pub(super) fn to_hand(&self) -> io::Result<Vec<ToHand>> {
        let mut sockets = Vec::new();
        for inlet in self.inherited.of(Giver::ServiceManager) {
            let said = HandedSocket { name: inlet.name.clone(), of_systemd: true };
            let holder = Holder::Systemd(inlet.as_fd().try_clone_to_owned()?);
            sockets.push(ToHand { said, holder });
        }
        // One of systemd's goes over once, whoever uses it.
        let own = self.listeners.iter().filter(|(addr, _)| !self.inherited.has(addr, false));
        let own = own.filter_map(|(_, listener)| listener.socket());
        sockets.extend(own.map(|socket| ToHand::ours(Holder::Stream(socket))));
        let own = self.udp.open().filter(|listener| !self.inherited.has(&listener.addr, true));
        sockets.extend(own.map(|listener| ToHand::ours(Holder::Datagram(listener.clone()))));
        let admin = self.admin.borrow().clone();
        sockets.extend(admin.map(|admin| ToHand::ours(Holder::Admin(admin))));
        Ok(sockets)
    }

    /// Stops accepting, and reading what clients send. They wait in the queues.
    pub(super) async fn pause_listeners(&self) {
        self.listeners.values().for_each(|listener| listener.stop());
        self.udp.open().for_each(|listener| listener.pause());
        for listener in self.listeners.values() {
            listener.paused().await;
        }
    }

    /// Accepts again. Returns the first error of a listener that cannot.
    pub(super) fn resume_listeners(&self) -> io::Result<()> {
        self.udp.open().for_each(|listener| listener.resume());
        self.listeners.values().map(|listener| listener.resume()).fold(Ok(()), Result::and)
    }

    /// Owns the files of the Unix sockets from now on: the process that had them has stopped.
    pub(super) fn own_listeners(&mut self) {
        let sockets = self.listeners.values().filter_map(|listener| listener.socket());
        sockets.for_each(|socket| socket.leave_file(false));
        self.admin.borrow().iter().for_each(|admin| admin.socket.own_file());
        self.inherited.forget_handed();
    }

    /// Leaves every listening socket to the process that serves it now: queues and files stay. What is open goes on.
    pub(super) fn leave_listeners(&mut self) {
        self.leaving.kill();
        std::mem::take(&mut self.listeners).into_values().for_each(|listener| listener.leave());
        self.udp.drain(Duration::MAX);
        if let Some(admin) = self.admin.send_replace(None) {
            admin.socket.leave_file();
        }
        self.inherited = Default::default();
    }
}
