//! A client's or an upstream's socket that is closed with a reset unless its connection came to a clean end.

use std::sync::Arc;

use crate::net::Socket;

/// Resets when it is dropped, whatever ends its task: nobody may take a cut connection for a finished one.
#[derive(Debug)]
pub(super) struct ResetOnDrop {
    /// The socket. Others look at it, but for a moment only.
    pub socket: Arc<Socket>,
    clean: bool,
}

impl ResetOnDrop {
    /// Of a connection that has just begun.
    pub fn new(socket: Socket) -> Self {
        ResetOnDrop { socket: Arc::new(socket), clean: false }
    }

    /// Its drop closes it as the kernel sees fit: both sides have had their FIN.
    pub fn ended_cleanly(&mut self) {
        self.clean = true;
    }
}

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if !self.clean {
            self.socket.reset_on_close();
        }
    }
}
