//! TLS handshakes on a socket.

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;

use super::{Session, TlsAcceptor, TlsConnector, TlsError};
use crate::net::Socket;

/// Bounds the memory of handshakes.
pub trait BeforeRead: Send {
    /// Awaited before each read. `bytes` are in records that are not complete yet.
    fn before_read(&mut self, bytes: usize) -> impl Future<Output = ()> + Send;
}

/// That of servers, whom the file names.
struct Unbounded;

impl BeforeRead for Unbounded {
    async fn before_read(&mut self, _: usize) {}
}

/// Completes the TLS handshake with a client. `first`: bytes of the client that were read already. The caller
/// must bound the time.
pub async fn accept(
    socket: &Socket,
    acceptor: &TlsAcceptor,
    first: Vec<u8>,
    reads: impl BeforeRead,
) -> Result<Session, TlsError> {
    let connection = UnbufferedServerConnection::new(acceptor.config().clone());
    let session = Session::server(connection?);
    shake(socket, session, first, reads).await
}

/// Completes the TLS handshake with a server, whose certificate must be valid for `name`. The caller must bound the
/// time.
pub async fn connect(socket: &Socket, connector: &TlsConnector, name: &str) -> Result<Session, TlsError> {
    // A dot at the end is for the resolver; no certificate has it.
    let name = name.strip_suffix('.').unwrap_or(name).to_owned();
    let name = ServerName::try_from(name.clone()).map_err(|_| TlsError::NoName(name))?;
    let connection = UnbufferedClientConnection::new(connector.config().clone(), name);
    let session = Session::client(connection?);
    shake(socket, session, Vec::new(), Unbounded).await
}

async fn shake(
    socket: &Socket,
    mut session: Session,
    first: Vec<u8>,
    mut reads: impl BeforeRead,
) -> Result<Session, TlsError> {
    let mut heard: Vec<u8> = first.iter().take(TlsError::SHOWN).copied().collect();
    session.incoming = first;
    loop {
        let shaken = session.shake();
        let out = session.take_outgoing();
        // If the handshake failed, this is the alert for the peer.
        let sent = socket.send_all(out.filled()).await;
        shaken.map_err(|error| TlsError::of_handshake(error, &heard))?;
        sent.map_err(TlsError::Io)?;
        if !session.agreed().is_handshaking() {
            return Ok(session);
        }
        let records = &mut session.incoming;
        if records.is_empty() {
            records.reserve_exact(SPARE);
        }
        let kept = records.len();
        reads.before_read(kept).await;
        if socket.recv_into(records).await.map_err(TlsError::Io)? == 0 {
            return Err(if heard.is_empty() { TlsError::Silent } else { TlsError::Ended });
        }
        heard.extend(records.iter().skip(kept).take(TlsError::SHOWN - heard.len()));
    }
}

/// Bytes to make space for before the first read: about the first message of a client, or that of a server with its
/// certificates.
const SPARE: usize = 4096;
