//! The admin endpoint's socket. An edit treats it like every other listening socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::tokens::Tokens;
use crate::config::Plan;
use crate::model::{AdminSettings, Fault, ListenAddr, Peer, Protocol, SocketAccess, SocketOptions};
use crate::net::{Acceptor, Inherited, Socket, StreamListener, bind, bind_fault};

/// TCP keepalive of the endpoint's connections: how long one is silent before the first probe.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The admin endpoint that the file configures.
#[derive(Debug)]
pub struct AdminListener {
    /// The `[admin]` section.
    pub settings: AdminSettings,
    /// The tokens that grant rights.
    pub tokens: Tokens,
    /// Its socket. An edit that keeps `listen` keeps the socket.
    pub socket: Arc<AdminSocket>,
}

/// The listening socket of the endpoint.
#[derive(Debug)]
pub struct AdminSocket {
    acceptor: Acceptor,
    /// Its drop removes the file of a Unix socket.
    listener: StreamListener,
}

impl AsFd for AdminSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AdminSocket {
    /// Registers the listener with the caller's runtime. Fails as epoll_ctl(2) does.
    fn new(listener: StreamListener) -> io::Result<Self> {
        Ok(AdminSocket { acceptor: listener.acceptor()?, listener })
    }

    /// Lets others connect to a Unix socket from now on.
    pub(super) fn allow(&self, access: &SocketAccess) -> io::Result<()> {
        self.listener.allow(access)
    }

    /// Leaves the file of a Unix socket to the process that has taken over.
    pub(super) fn leave_file(&self) {
        self.listener.leave_file(true);
    }

    /// Owns the file of a Unix socket from now on: the process that had it has stopped.
    pub(super) fn own_file(&self) {
        self.listener.leave_file(false);
    }

    /// Accepts the next connection.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        self.acceptor.accept().await?.here()
    }

    /// Opens the socket that a plan wants, or returns the open one if the address is the same. `None`: the plan has no
    /// endpoint to open. May fail; changes nothing.
    pub(super) fn prepare(
        open: Option<&AdminListener>,
        plan: &Plan,
        inherited: &Inherited,
    ) -> Result<Option<Arc<AdminSocket>>, (ListenAddr, Fault)> {
        let Some(Some(settings)) = &plan.admin else { return Ok(None) };
        let addr = &settings.listen;
        if let Some(open) = open.filter(|open| open.settings.listen == *addr) {
            return Ok(Some(open.socket.clone()));
        }
        let options = SocketOptions { keepalive: Some(KEEPALIVE), buffers: None };
        let handed = inherited.handed(addr, options).map(|handed| {
            let listener = handed?;
            listener.allow(&settings.access)?;
            Ok(listener)
        });
        let listener = handed.unwrap_or_else(|| bind(addr, false, &settings.access)?.listen(options));
        let opened = listener.and_then(AdminSocket::new);
        match opened {
            Ok(socket) => Ok(Some(Arc::new(socket))),
            Err(error) => Err((addr.clone(), bind_fault(addr, &error, Protocol::Tcp, None))),
        }
    }
}
