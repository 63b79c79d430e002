//! A connected socket with its TLS session, if any: reads and writes before a relay begins, and after it.

use std::io;

use super::Socket;
use super::tls::{OutBuf, Session, TlsError};

/// A connected socket and its TLS session, if any.
#[derive(Debug)]
pub struct Stream {
    /// Carries TLS records if there is a session, else plain bytes.
    pub socket: Socket,
    /// The TLS session. `None`: bytes pass as they are.
    pub session: Option<Box<Session>>,
}

impl Stream {
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

    /// Ends our direction: sends `close_notify` if there is a session, then FIN.
    pub async fn end(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            let mut sealed = OutBuf::default();
            session.seal_end(&mut sealed).map_err(failed)?;
            self.socket.send_all(sealed.filled()).await?;
        }
        self.socket.shutdown_write()
    }
}

fn failed(error: impl Into<TlsError>) -> io::Error {
    io::Error::other(error.into())
}
