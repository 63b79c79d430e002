//! The admin endpoint's socket. An edit treats it like every other listening socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::bind_fault::bind_fault;
use crate::config::Plan;
use crate::model::{AdminSettings, Fault, ListenAddr, Peer, Protocol, SocketAccess};
use crate::net::{Acceptor, Socket, StreamListener, bind};

/// TCP keepalive of the endpoint's connections: how long one is silent before the first probe.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The admin endpoint that the file configures.
#[derive(Debug)]
pub struct AdminListener {
    /// The `[admin]` section: the address, and the tokens that grant rights.
    pub settings: AdminSettings,
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

impl AdminSocket {
    /// Registers the listener with the caller's runtime. Fails as epoll_ctl(2) does.
    fn new(listener: StreamListener) -> io::Result<Self> {
        Ok(AdminSocket { acceptor: listener.acceptor()?, listener })
    }

    /// Lets others connect to a Unix socket from now on.
    pub(super) fn allow(&self, access: &SocketAccess) -> io::Result<()> {
        self.listener.allow(access)
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
    ) -> Result<Option<Arc<AdminSocket>>, (ListenAddr, Fault)> {
        let Some(Some(settings)) = &plan.admin else { return Ok(None) };
        let addr = &settings.listen;
        if let Some(open) = open.filter(|open| open.settings.listen == *addr) {
            return Ok(Some(open.socket.clone()));
        }
        let opened = bind(addr, false, &settings.access)
            .and_then(|bound| AdminSocket::new(bound.listen(Some(KEEPALIVE))?));
        match opened {
            Ok(socket) => Ok(Some(Arc::new(socket))),
            Err(error) => Err((addr.clone(), bind_fault(addr, &error, Protocol::Tcp, None))),
        }
    }
}
