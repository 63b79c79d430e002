//! A client's or an upstream's socket that is closed with a reset unless its connection came to a clean end.

use std::sync::Arc;

use crate::net::Socket;

/// Whatever ends its task: nobody may take a cut connection for a finished one.
#[derive(Debug)]
pub struct Severed {
    /// The socket. Others may look at it, but for a moment only.
    pub socket: Arc<Socket>,
    clean: bool,
}

impl Severed {
    /// Of a connection that has just begun.
    pub(super) fn unless_told(socket: Socket) -> Self {
        Severed { socket: Arc::new(socket), clean: false }
    }

    /// Both sides have had their FIN.
    pub(super) fn close(mut self) {
        self.clean = true;
    }
}

impl Drop for Severed {
    fn drop(&mut self) {
        if !self.clean {
            self.socket.reset_on_close();
        }
    }
}
