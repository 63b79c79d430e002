//! The admin endpoint's socket: an edit treats it as it treats the others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::bind_fault::bind_fault;
use crate::config::Plan;
use crate::model::{AdminSettings, Fault, ListenAddr, Protocol};
use crate::net::{Acceptor, Socket, StreamListener, bind};

/// Of its connections.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The admin endpoint of the file.
#[derive(Debug)]
pub struct AdminListener {
    /// Who may do what there.
    pub settings: AdminSettings,
    /// Its socket, which an edit that leaves `listen` alone does not touch.
    pub socket: Arc<AdminSocket>,
}

/// The listening socket of the endpoint.
#[derive(Debug)]
pub struct AdminSocket {
    acceptor: Acceptor,
    /// Removes the file of a Unix socket at the end.
    _listener: StreamListener,
}

impl AdminSocket {
    /// The runtime of the caller waits for its connections. Fails as epoll_ctl(2) does.
    fn new(listener: StreamListener) -> io::Result<Self> {
        Ok(AdminSocket { acceptor: listener.acceptor()?, _listener: listener })
    }

    /// Takes the next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        Ok(self.acceptor.accept().await?.here()?.0)
    }

    /// Opens the socket that a plan wants, where it is another than the one that is open. May fail; changes nothing.
    pub(super) fn prepare(
        open: Option<&AdminListener>,
        plan: &Plan,
    ) -> Result<Option<Arc<AdminSocket>>, (ListenAddr, Fault)> {
        let Some(Some(settings)) = &plan.admin else { return Ok(None) };
        let addr = &settings.listen;
        if let Some(open) = open.filter(|open| open.settings.listen == *addr) {
            return Ok(Some(open.socket.clone()));
        }
        let opened = bind(addr, false).and_then(|bound| {
            // Before anybody can connect.
            bound.keep_private()?;
            AdminSocket::new(bound.listen(Some(KEEPALIVE))?)
        });
        match opened {
            Ok(socket) => Ok(Some(Arc::new(socket))),
            Err(error) => Err((addr.clone(), bind_fault(addr, &error, Protocol::Tcp, None))),
        }
    }
}
