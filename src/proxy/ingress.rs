//! What is read of a client before it is known who it is and where it is led. Nothing of it is kept from the upstream: what
//! follows a header is sent first.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::accept::Client;
use super::record::Ledger;
use super::{Door, Lead, Shared, connection};
use crate::model::{AcceptProxy, Outcome, Peer};
use crate::net::Socket;
use crate::wire::proxy::{self, Addresses, Header};

/// What is known of a client from what it has sent.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What a proxy before us has said of it.
    pub header: Option<Header>,
    /// Its own first bytes: the upstream's, once there is one.
    pub first: Vec<u8>,
}

/// A connection that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub ledger: Ledger,
    pub heard: Heard,
}

/// Reads what must be read, and hands the client on to whom it is led to.
pub(super) async fn serve(mut client: Client, door: Arc<Door>, lead: Arc<Lead>, shared: Arc<Shared>) {
    let mut ledger = Ledger::open(&shared, &lead.route, &door.addr, client.stay.peer.clone());
    let mut heard = Heard::default();
    match listen(&mut client, &lead, &mut ledger, &mut heard).await {
        Ok(()) => {
            client.begun = Some(Box::new(Begun { ledger, heard }));
            let life = connection::serve(client, door, lead.clone(), shared);
            lead.connections.spawn(life);
        }
        Err(outcome) => ledger.ended(outcome),
    }
}

/// The header, then the client's right to come in.
async fn listen(
    client: &mut Client,
    lead: &Lead,
    ledger: &mut Ledger,
    heard: &mut Heard,
) -> Result<(), Outcome> {
    let socket = &client.socket.socket;
    if let Some(accept) = lead.reads_header_of(&client.stay.peer) {
        let header = header(socket, accept, ledger, &mut heard.first).await?;
        if let Some(peer) = told(&header) {
            client.stay.peer = peer;
            ledger.is_for(&client.stay.peer);
        }
        // A proxy that connects for itself is trusted: it wants to know whether we live.
        let own = header.addresses == Addresses::Own;
        heard.header = Some(header);
        if !own && !lead.admits(&client.stay.peer) {
            ledger.keep_quiet();
            return Err(Outcome::Denied);
        }
        if let Err(refusal) = client.stay.pass.enter(&lead.route.policy.clients, &client.stay.peer) {
            lead.gate.refused(refusal, &client.stay.peer);
            ledger.keep_quiet();
            return Err(Outcome::Limited);
        }
    }
    Ok(())
}

/// Who the client is, where the header says so.
fn told(header: &Header) -> Option<Peer> {
    match &header.addresses {
        Addresses::Ip(client, _) => Some(Peer::from_ip(*client)),
        Addresses::Unix(path, _) => {
            let path = std::str::from_utf8(path).ok().filter(|path| !path.is_empty());
            Some(Peer::Unix(path.map(Into::into)))
        }
        Addresses::Own | Addresses::Unknown => None,
    }
}

/// Reads a header; what came after it stays in `first`.
async fn header(
    socket: &Socket,
    accept: &AcceptProxy,
    ledger: &mut Ledger,
    first: &mut Vec<u8>,
) -> Result<Header, Outcome> {
    let deadline = Instant::now() + accept.timeout;
    loop {
        match proxy::parse(first) {
            Ok(Some((header, length))) => {
                first.drain(..length);
                return Ok(header);
            }
            Ok(None) => {}
            Err(wrong) => {
                ledger.note(&wrong.to_string());
                return Err(Outcome::BadHeader);
            }
        }
        match more(socket, first, deadline).await {
            More::Bytes => {}
            More::Failed(outcome) => return Err(outcome),
            // So a balancer looks whether we live.
            More::End if first.is_empty() => return Err(Outcome::ClientClosed),
            More::End => {
                ledger.note("the client ended within its PROXY header");
                return Err(Outcome::BadHeader);
            }
            More::Late => {
                ledger.note("no whole PROXY header came in time");
                return Err(Outcome::BadHeader);
            }
        }
    }
}

/// What one read has brought.
enum More {
    Bytes,
    /// FIN.
    End,
    /// The deadline.
    Late,
    Failed(Outcome),
}

async fn more(socket: &Socket, bytes: &mut Vec<u8>, deadline: Instant) -> More {
    match timeout_at(deadline, socket.recv_into(bytes)).await {
        Ok(Ok(0)) => More::End,
        Ok(Ok(_)) => More::Bytes,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            More::Failed(Outcome::ClientReset)
        }
        Ok(Err(_)) => More::Failed(Outcome::ClientLost),
        Err(_) => More::Late,
    }
}

/// Between whom a connection is, as the next proxy or the upstream is to hear it.
pub(super) fn addresses(client: &Peer, socket: &Socket, header: Option<&Header>) -> Addresses {
    if let Some(Header { addresses, .. }) = header {
        match addresses {
            // What nobody said, we say: who connects to us.
            Addresses::Own | Addresses::Unknown => {}
            addresses => return addresses.clone(),
        }
    }
    let path = |peer: &Peer| match peer {
        Peer::Unix(Some(path)) => path.as_os_str().as_encoded_bytes().to_vec(),
        _ => Vec::new(),
    };
    match (client, socket.local()) {
        (Peer::Ip(client), Some(Peer::Ip(server))) => Addresses::between(*client, server),
        (Peer::Unix(_), Some(local @ Peer::Unix(_))) => Addresses::Unix(path(client), path(&local)),
        _ => Addresses::Unknown,
    }
}
