//! The TLS handshake with a client, on routes that terminate TLS.

use std::io;
use std::mem::take;
use std::pin::pin;
use std::time::Duration;

use super::client::Client;
use super::preamble::{Preamble, Reader, hello};
use crate::model::{Outcome, ProxyVersion};
use crate::net::Deadline;
use crate::net::tls::{self, Session, TlsError};
use crate::proxy::record::RecordGuard;
use crate::proxy::route::LiveRoute;

/// How long a refused client has to read the alert before its socket closes.
const PARTING: Duration = Duration::from_secs(1);

/// Does the TLS handshake with a client, if the route has a certificate.
pub(super) async fn accept(
    client: &mut Client,
    live: &LiveRoute,
    preamble: Option<&mut Preamble>,
) -> Result<(), Outcome> {
    let (Some(_), Some(preamble)) = (&live.route.policy.tls.clients, preamble) else {
        return Ok(());
    };
    match Box::pin(handshake(client, live, preamble)).await {
        Ok(session) => preamble.session = Some(session),
        Err(outcome) => {
            if outcome == Outcome::BadTls {
                // A reset could overtake the alert that says what is wrong.
                Box::pin(client.socket.socket.part(PARTING)).await;
                client.socket.needs_no_reset();
            }
            return Err(outcome);
        }
    }
    Ok(())
}

async fn handshake(
    client: &mut Client,
    live: &LiveRoute,
    preamble: &mut Preamble,
) -> Result<Box<Session>, Outcome> {
    // Its files were read before the route started.
    let acceptor = live.acceptor.as_ref().ok_or(Outcome::Internal)?.load_full();
    let policy = &live.route.policy;
    let mut limit = pin!(Deadline::after(policy.timeouts.sniff));
    let mut reader = Reader { socket: &client.socket.socket, place: client.permits.preread.as_deref_mut() };
    if preamble.hello.is_none() && policy.proxy_protocol.send == Some(ProxyVersion::V2) {
        // The PROXY header to the upstream repeats what the client asks for.
        preamble.hello = hello(&mut reader, &mut preamble.first, limit.as_mut()).await?;
    }
    let first = take(&mut preamble.first);
    let Reader { socket, place } = reader;
    let accepted = limit.bound(tls::accept(socket, &acceptor, first, place)).await;
    let accepted = accepted.unwrap_or(Err(TlsError::Late));
    accepted.map(Box::new).map_err(|error| failed(&error, &mut client.guard))
}

/// The outcome of a connection whose TLS handshake failed.
fn failed(error: &TlsError, guard: &mut RecordGuard) -> Outcome {
    match error {
        // A load balancer's health check looks like this.
        TlsError::Silent => Outcome::ClientClosed,
        TlsError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => Outcome::ClientReset,
        TlsError::Io(_) => Outcome::ClientLost,
        error => {
            guard.note(&format!("the client: {error}"));
            Outcome::BadTls
        }
    }
}
