//! The socket of a client or an upstream. It is closed with a reset unless its connection ended cleanly.

use std::sync::Arc;

use crate::net::Socket;

/// Resets the socket on drop, however its task ends, so that no peer mistakes a cut connection for a finished one.
#[derive(Debug)]
pub(super) struct ResetOnDrop {
    /// The socket. Readers of the open table clone it too, but only for a moment.
    pub socket: Arc<Socket>,
    clean: bool,
}

impl ResetOnDrop {
    /// Wraps the socket of a new connection. It is reset on drop until [`ResetOnDrop::needs_no_reset`] is called.
    pub fn new(socket: Socket) -> Self {
        ResetOnDrop { socket: Arc::new(socket), clean: false }
    }

    /// From now on a drop closes the socket without a reset: both sides have sent FIN.
    pub fn needs_no_reset(&mut self) {
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
