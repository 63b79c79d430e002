//! The TLS of one side: between the records on its socket and the plain bytes in them.

use std::mem::take;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};

use super::TlsError;
use crate::wire::certificate::Certificate;
use crate::wire::proxy::{ClientCertificate, Ssl};

/// A TLS connection without its socket.
pub struct Session {
    connection: Connection,
    /// Records that were read and are not opened yet: the last one is incomplete, or their turn has not come.
    pub(super) incoming: Vec<u8>,
    /// Whether `incoming` may hold complete records that nobody has opened.
    is_fresh: bool,
    /// Plain bytes that appeared while sealing, for the next [`Session::open`].
    early: Vec<u8>,
    /// Records that wait to be sent.
    outgoing: OutBuf,
    /// The peer has sent `close_notify`.
    has_ended: bool,
    /// Why the session failed. `None`: it has not.
    pub(super) fault: Option<TlsError>,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A buffer that keeps its size when it is emptied, so that it need not be zeroed again for the next bytes.
#[derive(Debug, Default)]
pub(in crate::net) struct OutBuf {
    bytes: Vec<u8>,
    filled: usize,
}

impl OutBuf {
    /// Space for at least `wanted` more bytes.
    pub fn room(&mut self, wanted: usize) -> &mut [u8] {
        if self.bytes.len() < self.filled + wanted {
            self.bytes.resize(self.filled + wanted, 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Counts the first `n` bytes of the space as filled.
    pub fn advance(&mut self, n: usize) {
        self.filled = (self.filled + n).min(self.bytes.len());
    }

    pub fn extend(&mut self, more: &[u8]) {
        if let Some(room) = self.room(more.len()).get_mut(..more.len()) {
            room.copy_from_slice(more);
        }
        self.advance(more.len());
    }

    pub fn clear(&mut self) {
        self.filled = 0;
    }

    pub fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

/// What a step puts into records.
#[derive(Clone, Copy)]
enum Seal<'d> {
    Nothing,
    Bytes(&'d [u8]),
    /// `close_notify`.
    End,
}

/// The result of one step.
enum Step {
    /// There is more to do.
    More,
    /// There were plain bytes: they were taken or, if there was no buffer for them, wait in the connection.
    Carried,
    /// The peer has sent `close_notify`.
    Ended,
    /// Every record is opened, and everything to seal is sealed.
    Done,
}

impl Session {
    pub(super) fn server(connection: UnbufferedServerConnection) -> Self {
        Session::new(Connection::Server(connection))
    }

    pub(super) fn client(connection: UnbufferedClientConnection) -> Self {
        Session::new(Connection::Client(connection))
    }

    fn new(connection: Connection) -> Self {
        Session {
            connection,
            incoming: Vec::new(),
            is_fresh: false,
            early: Vec::new(),
            outgoing: OutBuf::default(),
            has_ended: false,
            fault: None,
        }
    }

    /// What was negotiated: version, cipher, certificates, protocol.
    pub(super) fn agreed(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(connection) => connection,
            Connection::Client(connection) => connection,
        }
    }

    /// The session, as a PROXY header describes it to the upstream.
    pub fn described(&self) -> Ssl {
        let agreed = self.agreed();
        let version = match agreed.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let cipher = agreed.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let certificate = agreed.peer_certificates().and_then(|chain| chain.first());
        Ssl {
            version: version.to_owned(),
            cipher: cipher.map(openssl_name).unwrap_or_default(),
            certificate: certificate.map(|der| ClientCertificate {
                common_name: Certificate::read(der).and_then(|certificate| certificate.common_name),
                earlier: agreed.handshake_kind() == Some(HandshakeKind::Resumed),
            }),
        }
    }

    /// The negotiated ALPN protocol. `None` if there is none.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.agreed().alpn_protocol()
    }

    /// Why the session failed. `None` if it has not.
    pub fn fault(&self) -> Option<&TlsError> {
        self.fault.as_ref()
    }

    /// Whether bytes of the peer, or its end, are here already: then do not wait for the socket.
    pub fn holds_bytes(&self) -> bool {
        self.is_fresh || self.has_ended || !self.early.is_empty()
    }

    /// Takes the records that were made beside those of [`Session::seal`], such as the answer to a key update.
    pub(super) fn take_outgoing(&mut self) -> OutBuf {
        take(&mut self.outgoing)
    }

    /// Whether the peer has sent `close_notify`.
    pub(in crate::net) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Notes why the session failed. The first reason counts.
    pub(in crate::net) fn fails(&mut self, why: TlsError) {
        self.fault.get_or_insert(why);
    }

    /// Advances the handshake with these records, without taking plain bytes. If it fails, the outgoing records include
    /// the alert for the peer.
    pub(super) fn shake(&mut self) -> Result<(), Error> {
        let mut incoming = take(&mut self.incoming);
        self.is_fresh = false;
        let (mut at, mut ended) = (0, Ok(()));
        loop {
            let records = incoming.get_mut(at..).unwrap_or_default();
            let before = self.outgoing.filled().len();
            let (used, step) = self.connection.step(records, Seal::Nothing, &mut self.outgoing, None);
            at += used;
            let made = self.outgoing.filled().get(before..).unwrap_or_default();
            match step {
                // Looking at the same bytes again would make another alert.
                Ok(_) if ended.is_err() && is_alert(made) => break,
                Err(_) if ended.is_err() => break,
                Ok(Step::More) => {}
                // The rest belongs to the relay.
                Ok(step @ (Step::Carried | Step::Ended)) => {
                    self.has_ended = matches!(step, Step::Ended);
                    self.is_fresh = true;
                    break;
                }
                Ok(Step::Done) => break,
                Err(error) => ended = Err(error),
            }
        }
        incoming.drain(..at);
        // Of a long hello nothing is kept.
        if !incoming.is_empty() {
            self.incoming = incoming;
        }
        ended
    }

    /// Moves the kept bytes to the beginning of `before`, in front of what was just read.
    pub(in crate::net) fn put_back(&mut self, before: &mut [u8]) {
        let kept = take(&mut self.incoming);
        if let Some(room) = before.get_mut(..kept.len()) {
            room.copy_from_slice(&kept);
        }
        self.is_fresh = false;
    }

    /// Number of bytes in records that are kept until they can be opened.
    pub(in crate::net) fn kept(&self) -> usize {
        self.incoming.len()
    }

    /// Opens records: appends plain bytes to `carried`, and records to send in return to `out`. Keeps an incomplete
    /// last record.
    pub(in crate::net) fn open(
        &mut self,
        records: &mut [u8],
        carried: &mut OutBuf,
        out: &mut OutBuf,
    ) -> Result<(), Error> {
        carried.extend(&take(&mut self.early));
        let mut at = 0;
        let result = loop {
            let rest = records.get_mut(at..).unwrap_or_default();
            let (used, step) = self.connection.step(rest, Seal::Nothing, out, Some(carried));
            at += used;
            match step {
                Ok(Step::More | Step::Carried) => {}
                Ok(Step::Ended) => self.has_ended = true,
                Ok(Step::Done) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.incoming.extend_from_slice(records.get(at..).unwrap_or_default());
        result
    }

    /// Encrypts bytes into records, which it appends to `out`.
    pub(in crate::net) fn seal(&mut self, bytes: &[u8], out: &mut OutBuf) -> Result<(), Error> {
        self.put(Seal::Bytes(bytes), out)
    }

    /// Makes the last record: `close_notify`.
    pub(in crate::net) fn seal_end(&mut self, out: &mut OutBuf) -> Result<(), Error> {
        self.put(Seal::End, out)
    }

    fn put(&mut self, what: Seal<'_>, out: &mut OutBuf) -> Result<(), Error> {
        let before = take(&mut self.outgoing);
        out.extend(before.filled());
        // Pass the kept bytes in again: the connection remembers places in them.
        let mut incoming = take(&mut self.incoming);
        let (mut at, mut early) = (0, OutBuf::default());
        let result = loop {
            let rest = incoming.get_mut(at..).unwrap_or_default();
            let (used, step) = self.connection.step(rest, what, out, Some(&mut early));
            at += used;
            match step {
                Ok(Step::More | Step::Carried) => {}
                Ok(Step::Ended) => self.has_ended = true,
                Ok(Step::Done) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        incoming.drain(..at);
        self.incoming = incoming;
        self.early.extend_from_slice(early.filled());
        result
    }
}

impl Connection {
    fn step(
        &mut self,
        records: &mut [u8],
        seal: Seal<'_>,
        out: &mut OutBuf,
        carried: Option<&mut OutBuf>,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Connection::Server(connection) => {
                step(connection.process_tls_records(records), seal, out, carried)
            }
            Connection::Client(connection) => {
                step(connection.process_tls_records(records), seal, out, carried)
            }
        }
    }
}

/// Does what the connection asks for. Also returns how many bytes of the records are used up.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    seal: Seal<'_>,
    out: &mut OutBuf,
    carried: Option<&mut OutBuf>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let Some(carried) = carried else { return (discard, Ok(Step::Carried)) };
            let mut done = Ok(Step::Carried);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        carried.extend(record.payload);
                    }
                    Err(error) => done = Err(error),
                }
            }
            done
        }
        Ok(ConnectionState::EncodeTlsData(mut records)) => {
            let encoded = match records.encode(out.room(0)) {
                Err(EncodeError::InsufficientSize(size)) => records.encode(out.room(size.required_size)),
                encoded => encoded,
            };
            encoded.map(|n| out.advance(n)).map(|()| Step::More).map_err(|error| general(&error))
        }
        // It is in `out`, and will be sent.
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(Step::More)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let mut put = |room: &mut [u8]| match seal {
                Seal::Nothing => Ok(0),
                Seal::Bytes(bytes) => traffic.encrypt(bytes, room),
                Seal::End => traffic.queue_close_notify(room),
            };
            let sealed = match put(out.room(0)) {
                Err(EncryptError::InsufficientSize(size)) => put(out.room(size.required_size)),
                sealed => sealed,
            };
            sealed.map(|n| out.advance(n)).map(|()| Step::Done).map_err(|error| general(&error))
        }
        Ok(_) => Ok(Step::Done),
    };
    (discard, step)
}

/// Whether a record that was just made is an alert. An encrypted alert shows by its length (RFC 8446, section 5.2: two
/// bytes, the type and a tag): no other record is that short.
fn is_alert(record: &[u8]) -> bool {
    match record.first() {
        Some(21) => true,
        Some(23) => record.len() <= 5 + 2 + 1 + 16,
        _ => false,
    }
}

/// OpenSSL's name of a cipher, which readers of a PROXY header expect.
fn openssl_name(name: &str) -> String {
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => {
            let name = name.trim_start_matches("TLS_").replace("_WITH_", "-").replace('_', "-");
            let name = name.replace("AES-", "AES");
            name.strip_suffix("POLY1305-SHA256").map_or(name.clone(), |start| format!("{start}POLY1305"))
        }
    }
}

fn general(error: &dyn std::fmt::Display) -> Error {
    Error::General(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::openssl_name;

    #[test]
    fn ciphers_are_called_as_openssl_calls_them() {
        for (ours, theirs) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(openssl_name(ours), theirs);
        }
    }
}
