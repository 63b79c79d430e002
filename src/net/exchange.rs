//! Reads and writes on a socket outside of a relay: before one begins.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Socket;
use super::deadline::within;
use crate::model::Peer;

impl Socket {
    /// The address of our own end. `None` if the kernel does not report one.
    pub fn local(&self) -> Option<Peer> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().ok().map(Peer::from_ip),
            Socket::Unix(stream) => {
                let addr = stream.local_addr().ok()?;
                Some(Peer::Unix(addr.as_pathname().map(Path::to_path_buf)))
            }
        }
    }

    /// Reads once and appends to `bytes`. Returns 0 on FIN. Cancel-safe: dropping the future loses no bytes.
    pub async fn recv_into(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        // Small at first: a hostile client makes us keep little more than it has sent.
        bytes.reserve(512);
        let mut socket = self;
        socket.read_buf(bytes).await
    }

    /// Sends FIN and waits up to `patience` for the peer's FIN. Closing with unread input would send a reset, and the
    /// peer could lose what it was sent.
    pub async fn part(&self, patience: Duration) {
        let end = async {
            let mut socket = self;
            let mut part = [0; 1024];
            // Bounded: a peer may never stop sending.
            for _ in 0..64 {
                if !matches!(socket.read(&mut part).await, Ok(1..)) {
                    return;
                }
            }
        };
        if self.shutdown_write().is_ok() {
            // On a timeout the peer has had its time.
            drop(within(patience, end).await);
        }
    }

    /// Writes all of `bytes`.
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self;
        socket.write_all(bytes).await
    }
}
