//! Reads and writes on a socket outside of a relay: before one begins.

use std::cell::RefCell;
use std::future::{poll_fn, ready as at_once};
use std::io;
use std::path::Path;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::Socket;
use super::deadline::within;
use crate::model::Peer;

/// The most bytes that [`Socket::recv_into`] appends.
pub const MOST_READ: usize = 16 * 1024;
/// By so many bytes a buffer grows that has fewer, if it must grow again.
const STEPS: [usize; 2] = [512, 4096];
/// By so many bytes a longer one grows. The allocator maps it (M_MMAP_THRESHOLD): only the pages that are written use memory,
/// and all go back to the system at once. Buffers that grow in the heap leave holes between them: those of a crowd with long
/// TLS hellos took 2.5 to 4 times what they held.
const MAPPED: usize = 128 * 1024;

thread_local! {
    /// Bytes are read here first. So who waits for a client holds no memory for what the client may send, and most hellos are
    /// read by one call.
    static ARRIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST_READ].into_boxed_slice());
}

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

    /// The user who has connected to a Unix socket of ours (SO_PEERCRED). `None`: it is no Unix socket.
    pub fn peer_user(&self) -> Option<u32> {
        match self {
            Socket::Tcp(_) => None,
            Socket::Unix(stream) => stream.peer_cred().ok().map(|cred| cred.uid()),
        }
    }

    /// Reads once and appends to `bytes`, at most [`MOST_READ`]. Returns 0 on FIN. Cancel-safe: dropping the future loses no bytes.
    pub async fn recv_into(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|cx| {
            ARRIVED.with_borrow_mut(|arrived| {
                let mut arrived = ReadBuf::new(arrived);
                let n = ready!(self.poll_recv(cx, &mut arrived))?;
                grow(bytes, n);
                bytes.extend_from_slice(arrived.filled());
                Poll::Ready(Ok(n))
            })
        })
        .await
    }

    /// Like [`Socket::recv_into`], but takes only what has arrived. 0: nothing, or an end, which stays to be read.
    pub async fn recv_arrived(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        tokio::select! {
            biased;
            read = self.recv_into(bytes) => read,
            () = at_once(()) => Ok(0),
        }
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

/// Makes room for so many bytes more. Exact at first, and never doubled: a hostile client makes us keep little more than it has
/// sent.
fn grow(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() >= more {
        return;
    }
    let step = match bytes.capacity() {
        0 => more,
        held => *STEPS.iter().find(|step| held < **step).unwrap_or(&MAPPED),
    };
    bytes.reserve_exact(step.max(more));
}
