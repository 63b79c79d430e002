//! TLS that the proxy ends: handshakes, one byte each way on each connection, and bulk. TLS 1.3; whose certificate it is is
//! not looked at.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned,
};
use serde_json::json;

use super::{Job, done, ready};
use crate::stats::Latencies;
use crate::sys::{self, Sources};
use crate::wire::{self, ECHO, Header, NAME, Pattern};

/// Time without one byte after which a connection is taken for stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Bytes that go through before the measurement of bulk.
const WARM: u64 = 4 << 20;

/// A client's end of TLS.
pub(super) type Session = StreamOwned<ClientConnection, TcpStream>;

/// `connections` in all, `slots` at once, `warm` before them; `resume`: all but the first of each slot resume a session.
pub fn handshakes(job: &Job) -> Result<()> {
    let (total, slots, warm) = (job.count("connections")?, job.count("slots")?, job.count("warm")?);
    let resume = job.number("resume")? == 1;
    let sources = Arc::new(Mutex::new(Sources::new(job.run)));
    let (next, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(slots + 1)));
    let mut workers = Vec::new();
    for _ in 0..slots {
        let (sources, next, start) = (sources.clone(), next.clone(), start.clone());
        let (config, target) = (config(resume)?, job.target);
        workers.push(thread::spawn(move || -> Result<Vec<Duration>> {
            let visit = |kind| {
                let stream = sources.lock().unwrap_or_else(PoisonError::into_inner).connect(target)?;
                visit(stream, &config, kind)
            };
            let (first, others) =
                (HandshakeKind::Full, if resume { HandshakeKind::Resumed } else { HandshakeKind::Full });
            let warmed = (0..warm.div_ceil(slots))
                .try_for_each(|at| visit(if at == 0 { first } else { others }).map(drop));
            start.wait();
            start.wait();
            warmed?;
            let mut times = Vec::with_capacity(total);
            while next.fetch_add(1, Ordering::Relaxed) < total {
                times.push(visit(others)?);
            }
            Ok(times)
        }));
    }
    start.wait();
    ready()?;
    let began = Instant::now();
    start.wait();
    let mut latencies = Latencies::with_capacity(total);
    for worker in workers {
        let times = worker.join().map_err(|_| anyhow!("a thread of the load panicked"))??;
        times.into_iter().for_each(|time| latencies.add(time));
    }
    let seconds = began.elapsed().as_secs_f64();
    ensure!(latencies.len() == total, "{} of {total} connections were answered", latencies.len());
    done(&latencies.json(json!({ "connections": total, "seconds": seconds })))
}

/// `connections`, `bytes` in all: the backend sends.
pub fn bulk(job: &Job) -> Result<()> {
    let connections = job.number("connections")?;
    let share = job.number("bytes")? / connections;
    let (pattern, config) = (Arc::new(Pattern::new()), config(false)?);
    let mut sources = Sources::new(job.run);
    let mut connect = || session(sources.connect(job.target)?, &config);
    receive(connect()?, &pattern, Header { kind: wire::DOWN, size: WARM, seed: 1 })?;

    let start = Arc::new(Barrier::new(usize::try_from(connections)? + 1));
    let mut workers = Vec::new();
    for id in 0..connections {
        let (session, pattern, start) = (connect()?, Arc::clone(&pattern), Arc::clone(&start));
        let header = Header { kind: wire::DOWN, size: share, seed: (id + 1) * 1_000_003 };
        workers.push(thread::spawn(move || {
            start.wait();
            receive(session, &pattern, header)
        }));
    }
    ready()?;
    start.wait();
    let began = Instant::now();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a bulk thread panicked"))??;
    }
    let seconds = began.elapsed().as_secs_f64();
    done(&json!({ "bytes": share * connections, "seconds": seconds }))
}

/// One connection, from its first packet to its end. Returns the time to the byte back.
fn visit(stream: TcpStream, config: &Arc<ClientConfig>, kind: HandshakeKind) -> Result<Duration> {
    let began = Instant::now();
    let mut session = session(stream, config)?;
    session.write_all(&[ECHO]).context("sending")?;
    let mut byte = [0];
    session.read_exact(&mut byte).context("waiting for the byte back")?;
    let took = began.elapsed();
    ensure!(byte == [ECHO], "a wrong byte came back");
    let was = session.conn.handshake_kind();
    ensure!(was == Some(kind), "the handshake was {was:?}, and not {kind:?}");
    end(session)?;
    Ok(took)
}

fn receive(mut session: Session, pattern: &Pattern, header: Header) -> Result<()> {
    session.write_all(&header.bytes()).context("sending the header")?;
    let got = wire::receive_pattern(&mut session, pattern, (header.seed, header.size), |_| false)?;
    ensure!(got == header.size, "{got} of {} bytes came", header.size);
    end(session)
}

/// Ends both ways in order, and sees nothing but the end of the other.
fn end(mut session: Session) -> Result<()> {
    session.conn.send_close_notify();
    session.flush().context("sending close_notify")?;
    session.sock.shutdown(Shutdown::Write).context("sending FIN")?;
    match session.read(&mut [0; 16]) {
        Ok(0) => Ok(()),
        // HAProxy ends without close_notify when it was told so.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        other => Err(anyhow!("{other:?} where the end was due")),
    }
}

/// A session over a connected socket, whose reads and writes block for some seconds at most.
pub(super) fn session(stream: TcpStream, config: &Arc<ClientConfig>) -> Result<Session> {
    sys::blocking(&stream, STUCK)?;
    let connection = ClientConnection::new(config.clone(), ServerName::try_from(NAME)?)?;
    Ok(StreamOwned::new(connection, stream))
}

/// The client's settings.
pub(super) fn config(resume: bool) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// Takes any certificate: what the load spends is not measured, and is as little as may be.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
