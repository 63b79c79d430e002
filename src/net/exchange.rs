//! What is read from a socket and written to it outside of a relay: before one begins.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Socket;
use crate::model::Peer;

impl Socket {
    /// Our own end's address, where it has one.
    pub fn local(&self) -> Option<Peer> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().ok().map(Peer::from_ip),
            Socket::Unix(stream) => {
                let addr = stream.local_addr().ok()?;
                Some(Peer::Unix(addr.as_pathname().map(Path::to_path_buf)))
            }
        }
    }

    /// Reads once, to the end of `bytes`. 0: FIN. Dropping the future loses nothing.
    pub async fn recv_into(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        // Small at first: what a hostile client makes us keep is what it has sent.
        bytes.reserve(512);
        let mut socket = self;
        socket.read_buf(bytes).await
    }

    /// Sends FIN, and waits for the peer's, for so long: closing with unread input would reset what it was sent.
    pub async fn part(&self, patience: Duration) {
        let end = async {
            let mut socket = self;
            let mut part = [0; 1024];
            // Not for ever: a peer may send all the time.
            for _ in 0..64 {
                if !matches!(socket.read(&mut part).await, Ok(1..)) {
                    return;
                }
            }
        };
        if self.shutdown_write().is_ok() {
            // Over: it has had its time.
            drop(timeout(patience, end).await);
        }
    }

    /// Writes all of it.
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self;
        socket.write_all(bytes).await
    }
}
