//! What is read of a client before it is known who it is and where it is led. Nothing of it is kept from the upstream: what
//! follows a header is sent first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::accept::Client;
use super::record::Ledger;
use super::{Fork, Lead, connection};
use crate::model::{AcceptProxy, Outcome, Peer, ProxyVersion};
use crate::net::Socket;
use crate::net::tls::{self, Session, TlsError};
use crate::wire::client_hello::{ClientHello, Progress, Sniffer};
use crate::wire::proxy::{self, Addresses, Header};

/// How long a client has to read why it was refused.
const PARTING: Duration = Duration::from_secs(1);

/// What is known of a client from what it has sent.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What a proxy before us has said of it.
    pub header: Option<Header>,
    /// What it asks for.
    pub hello: Option<ClientHello>,
    /// Its own first bytes: the upstream's, once there is one.
    pub first: Vec<u8>,
    /// Its TLS, where that ends here.
    pub session: Option<Box<Session>>,
}

impl Heard {
    /// Whether the upstream is to get something that was heard already.
    pub fn holds_bytes(&self) -> bool {
        !self.first.is_empty() || self.session.as_ref().is_some_and(|session| session.holds_bytes())
    }
}

/// Reads what must be read, and hands the client on to whom it is led to. Until then it belongs to the route of `front`.
pub(super) async fn serve(mut client: Client, front: Arc<Lead>) {
    let mut heard = Heard::default();
    match listen(&mut client, &front, &mut heard).await {
        Ok(lead) => {
            client.heard = Some(Box::new(heard));
            let open = client.ledger.opened();
            open.runs_as(lead.connections.spawn(connection::serve(client, lead.clone())));
        }
        Err(outcome) => {
            client.ledger.ended(outcome);
            if outcome == Outcome::BadTls {
                // A reset could overtake the alert that says what is wrong.
                client.socket.socket.part(PARTING).await;
                client.socket.close();
            }
        }
    }
}

/// The header, then the route, then the client's right to come in.
async fn listen(client: &mut Client, front: &Arc<Lead>, heard: &mut Heard) -> Result<Arc<Lead>, Outcome> {
    let (socket, stay, ledger) = (&client.socket.socket, &mut *client.stay, &mut client.ledger);
    let mut peer = ledger.client();
    if let Some(accept) = front.reads_header_of(&peer) {
        let header = header(socket, accept, ledger, &mut heard.first).await?;
        if let Some(told) = told(&header) {
            peer = told;
            ledger.is_for(&peer);
        }
        heard.header = Some(header);
    }
    let lead = match &front.fork {
        None => front.clone(),
        Some(fork) => {
            let timeout = front.route.policy.clients.sniff_timeout;
            route(socket, fork, timeout, ledger, heard).await?
        }
    };
    // A proxy that connects for itself is trusted: it wants to know whether we live.
    let own = heard.header.as_ref().is_some_and(|header| header.addresses == Addresses::Own);
    if !own && !lead.admits(&peer) {
        ledger.keep_quiet();
        return Err(Outcome::Denied);
    }
    let limits = &lead.route.policy.clients;
    let entered = match &mut stay.pass {
        // It was known who it is when it came.
        Some(_) if heard.header.is_none() => Ok(()),
        Some(pass) => pass.enter(limits, &peer),
        none => lead.gate.enter(limits, Some(&peer)).map(|pass| *none = Some(pass)),
    };
    if let Err(refusal) = entered {
        lead.gate.refused(refusal, &peer);
        ledger.keep_quiet();
        return Err(Outcome::Limited);
    }
    if limits.tls.clients.is_some() {
        // Its files were read before the route came to run.
        let acceptor = lead.acceptor.as_ref().ok_or(Outcome::Internal)?.load_full();
        let deadline = Instant::now() + limits.sniff_timeout;
        if heard.hello.is_none() && limits.proxy_protocol.send == Some(ProxyVersion::V2) {
            // The upstream is to hear of it.
            heard.hello = hello(socket, &mut heard.first, deadline).await?;
        }
        let first = std::mem::take(&mut heard.first);
        let accepted = timeout_at(deadline, tls::accept(socket, &acceptor, first)).await;
        let session = accepted.unwrap_or(Err(TlsError::Late)).map_err(|error| refused(&error, ledger))?;
        heard.session = Some(Box::new(session));
    }
    Ok(lead)
}

/// What a client asks for that must begin TLS. `None`: it does not.
async fn hello(
    socket: &Socket,
    first: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Option<ClientHello>, Outcome> {
    let mut sniffer = Sniffer::default();
    loop {
        match sniffer.look(first) {
            Progress::Hello(hello) => return Ok(Some(hello)),
            Progress::Other => return Ok(None),
            Progress::More => {}
        }
        match more(socket, first, deadline).await {
            More::Bytes => {}
            More::Failed(outcome) => return Err(outcome),
            More::End | More::Late => return Ok(None),
        }
    }
}

/// How a connection ends whose TLS did not begin.
fn refused(error: &TlsError, ledger: &mut Ledger) -> Outcome {
    match error {
        // So a balancer looks whether we live.
        TlsError::Silent => Outcome::ClientClosed,
        TlsError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Outcome::ClientReset,
        TlsError::Io(_) => Outcome::ClientLost,
        error => {
            ledger.note(&format!("the client: {error}"));
            Outcome::BadTls
        }
    }
}

/// Reads until it is known to which route the client is led.
async fn route(
    socket: &Socket,
    fork: &Fork,
    timeout: Duration,
    ledger: &mut Ledger,
    heard: &mut Heard,
) -> Result<Arc<Lead>, Outcome> {
    let (mut sniffer, deadline) = (Sniffer::default(), Instant::now() + timeout);
    let (index, why) = loop {
        match sniffer.look(&heard.first) {
            Progress::Hello(hello) => {
                let index = fork.names.route(hello.server_name.as_deref(), &hello.alpn);
                let why = match &hello.server_name {
                    Some(name) => format!("the client asks for {name}"),
                    None => "the client asks for no server name".to_owned(),
                };
                heard.hello = Some(hello);
                break (index, why);
            }
            Progress::Other => break (fork.names.rest(), "the client does not begin TLS".to_owned()),
            Progress::More => {}
        }
        match more(socket, &mut heard.first, deadline).await {
            More::Bytes => {}
            More::Failed(outcome) => return Err(outcome),
            // It may still wait for an answer.
            More::End => {
                break (fork.names.rest(), "the client ended before it asked for a server".to_owned());
            }
            More::Late => break (fork.names.rest(), "the client did not begin TLS in time".to_owned()),
        }
    };
    match index.and_then(|index| fork.leads.get(index)) {
        Some(lead) => {
            ledger.led_to(lead.account());
            Ok(lead.clone())
        }
        None => {
            ledger.note(&why);
            Err(Outcome::NoRoute)
        }
    }
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
