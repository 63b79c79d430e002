//! A connected socket with its TLS session, if any: reads and writes before a relay begins, and after it.

use std::io;
use std::time::Duration;

use super::Socket;
use super::deadline::within;
use super::tls::{OutBuf, Session, TlsError};

/// A connected socket and its TLS session, if any.
#[derive(Debug)]
pub struct Stream {
    /// Carries TLS records if there is a session, else plain bytes.
    pub socket: Socket,
    /// The TLS session. `None`: bytes pass as they are.
    pub session: Option<Box<Session>>,
}

/// How long a connection that served no client waits for the end of its peer. A peer on the same continent that ends when
/// we do needs a part of it; more would keep descriptors from the next checks.
pub const PARTING: Duration = Duration::from_millis(250);

impl Stream {
    /// Ends as a client does that is done: `close_notify` if there is a session, FIN, then whatever the peer still says,
    /// up to `at_most`. To close at once would be a reset if anything is unread, a greeting or a session ticket.
    pub async fn part(mut self, at_most: Duration) {
        // An error here means that the connection has ended already.
        if within(at_most, self.as_ref().say_end()).await.is_ok_and(|said| said.is_ok()) {
            self.socket.part(at_most).await;
        }
    }

    /// Borrows both parts, for reading and writing.
    pub fn as_ref(&mut self) -> StreamRef<'_> {
        StreamRef { socket: &self.socket, session: self.session.as_deref_mut() }
    }
}

/// A borrowed [`Stream`]. Its socket and its session may have different owners.
#[derive(Debug)]
pub struct StreamRef<'a> {
    /// Carries TLS records if there is a session, else plain bytes.
    pub socket: &'a Socket,
    /// The TLS session. `None`: bytes pass as they are.
    pub session: Option<&'a mut Session>,
}

impl StreamRef<'_> {
    /// Writes all of `bytes`, encrypted if there is a session.
    pub async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(session) = &mut self.session else { return self.socket.send_all(bytes).await };
        let mut sealed = OutBuf::default();
        session.seal(bytes, &mut sealed).map_err(failed)?;
        self.socket.send_all(sealed.filled()).await
    }

    /// Reads until there are bytes and appends them to `bytes`. Returns 0 at the end, with `close_notify` or without.
    pub async fn recv_into(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.recv_into(bytes).await };
        loop {
            let mut records = Vec::new();
            let fresh = session.holds_bytes();
            records.resize(session.kept(), 0);
            if !fresh && self.socket.recv_into(&mut records).await? == 0 {
                session.fails(TlsError::NoCloseNotify);
                return Ok(0);
            }
            session.put_back(&mut records);
            let (mut carried, mut answers) = (OutBuf::default(), OutBuf::default());
            let opened = session.open(&mut records, &mut carried, &mut answers);
            self.socket.send_all(answers.filled()).await?;
            bytes.extend_from_slice(carried.filled());
            opened.map_err(failed)?;
            let n = carried.filled().len();
            if n > 0 || session.has_ended() {
                return Ok(n);
            }
        }
    }

    /// Sends `close_notify`, if there is a session.
    async fn say_end(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let mut sealed = OutBuf::default();
        session.seal_end(&mut sealed).map_err(failed)?;
        self.socket.send_all(sealed.filled()).await
    }
}

fn failed(error: impl Into<TlsError>) -> io::Error {
    io::Error::other(error.into())
}
