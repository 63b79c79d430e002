//! What is read from a socket and written to it outside of a relay: before one begins.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

    /// Writes all of it.
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self;
        socket.write_all(bytes).await
    }
}
