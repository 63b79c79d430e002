//! Reads what a client sends before its route is known: a PROXY header, a TLS hello. No byte is withheld from the
//! upstream: whatever follows a header is sent first.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use super::client::Client;
use crate::model::{AcceptProxy, Outcome, Peer};
use crate::net::tls::Session;
use crate::net::{Deadline, Late, Socket};
use crate::proxy::record::{PrereadPlace, RecordGuard};
use crate::proxy::route::{Frontend, LiveRoute, Refusal, SniRouter};
use crate::wire::client_hello::{ClientHello, Progress, Sniffer};
use crate::wire::proxy::{self, Addresses, Header};

/// What was read from a client so far.
#[derive(Debug, Default)]
pub(super) struct Preamble {
    /// The PROXY header, if a proxy before us has sent one.
    pub header: Option<Header>,
    /// The TLS hello, with what the client asks for. `None`: none was read.
    pub hello: Option<ClientHello>,
    /// The client's own first bytes, which go to the upstream first.
    pub first: Vec<u8>,
    /// The client's TLS session, if the route terminates TLS.
    pub session: Option<Box<Session>>,
}

impl Preamble {
    /// Whether bytes for the upstream were read already.
    pub fn holds_bytes(&self) -> bool {
        !self.first.is_empty() || self.session.as_ref().is_some_and(|session| session.holds_bytes())
    }
}

/// Reads the PROXY header, if the sender is trusted to send one. `None`: this client needs no preamble.
pub(super) async fn read(client: &mut Client) -> Result<Option<Box<Preamble>>, Outcome> {
    let peer = client.guard.client();
    if !client.frontend.reads_first(&peer) {
        return Ok(None);
    }
    let mut preamble = Box::<Preamble>::default();
    if let Some(accept) = client.frontend.reads_header_of(&peer) {
        let Client { socket, permits, guard, .. } = client;
        let mut reader = Reader { socket: &socket.socket, place: permits.preread.as_deref_mut() };
        let header = Box::pin(header(&mut reader, accept, guard, &mut preamble.first)).await?;
        preamble.header = Some(header);
    }
    Ok(Some(preamble))
}

/// The client that the PROXY header names, if there is a header that names one.
pub(super) fn named(preamble: Option<&Preamble>) -> Option<Peer> {
    match &preamble?.header.as_ref()?.addresses {
        Addresses::Ip(client, _) => Some(Peer::from_ip(*client)),
        Addresses::Unix(path, _) => {
            let path = std::str::from_utf8(path).ok().filter(|path| !path.is_empty());
            Some(Peer::Unix(path.map(Into::into)))
        }
        Addresses::Own | Addresses::Unknown => None,
    }
}

/// The route that serves a client. If several share the address, the client's hello is read and chooses one.
pub(super) async fn route(
    client: &mut Client,
    preamble: Option<&mut Preamble>,
) -> Result<Arc<LiveRoute>, Outcome> {
    match (&*client.frontend, preamble) {
        (Frontend::Sni(router), Some(preamble)) => {
            let time = client.frontend.policy().timeouts.sniff;
            let mut reader =
                Reader { socket: &client.socket.socket, place: client.permits.preread.as_deref_mut() };
            let chosen = async {
                choose(router, &mut reader, preamble, pin!(Deadline::after(time)), &mut client.guard).await
            };
            let chosen = Box::pin(chosen).await;
            if chosen.as_ref().is_err_and(|outcome| *outcome == Outcome::NoRoute) {
                client.frontend.first().state.refused(Refusal::NoRoute, &client.guard.client());
            }
            chosen
        }
        (frontend, _) => Ok(frontend.first().clone()),
    }
}

async fn choose(
    router: &SniRouter,
    reader: &mut Reader<'_>,
    preamble: &mut Preamble,
    mut limit: Pin<&mut Deadline>,
    guard: &mut RecordGuard,
) -> Result<Arc<LiveRoute>, Outcome> {
    let mut sniffer = Sniffer::default();
    let (live, why) = loop {
        match sniffer.look(&preamble.first) {
            Progress::Hello(hello) => {
                let live = router.route(hello.server_name.as_deref(), &hello.alpn);
                preamble.hello = Some(hello);
                break (live, "the client asks for no server name");
            }
            Progress::Other => break (router.rest(), no_hello(&preamble.first)),
            Progress::More => {}
        }
        match reader.more(&mut preamble.first, limit.as_mut()).await {
            More::Bytes => {}
            More::Failed(outcome) => return Err(outcome),
            // The client has half-closed, and may still wait for an answer.
            More::End => break (router.rest(), "the client ended before it asked for a server"),
            More::Late => break (router.rest(), "the client did not begin TLS in time"),
        }
    };
    let Some(live) = live else {
        let name = preamble.hello.as_ref().and_then(|hello| hello.server_name.as_ref());
        match name {
            Some(name) => guard.note(&format!("the client asks for {name}")),
            None => guard.note(why),
        }
        return Err(Outcome::NoRoute);
    };
    guard.routed(live);
    Ok(live.clone())
}

/// Why bytes are no ClientHello.
fn no_hello(first: &[u8]) -> &'static str {
    // A record of a handshake, of TLS 1.0 or later (RFC 8446, 5.1).
    match first.starts_with(&[22, 3]) {
        true => "the client begins TLS with a malformed hello",
        false => "the client does not begin TLS",
    }
}

/// Reads the hello of a client that must begin TLS. `None`: it sends something else, ends, or is late.
pub(super) async fn hello(
    reader: &mut Reader<'_>,
    first: &mut Vec<u8>,
    mut limit: Pin<&mut Deadline>,
) -> Result<Option<ClientHello>, Outcome> {
    let mut sniffer = Sniffer::default();
    loop {
        match sniffer.look(first) {
            Progress::Hello(hello) => return Ok(Some(hello)),
            Progress::Other => return Ok(None),
            Progress::More => {}
        }
        match reader.more(first, limit.as_mut()).await {
            More::Bytes => {}
            More::Failed(outcome) => return Err(outcome),
            More::End | More::Late => return Ok(None),
        }
    }
}

/// Reads a PROXY header. Bytes that follow it stay in `first`.
async fn header(
    reader: &mut Reader<'_>,
    accept: &AcceptProxy,
    guard: &mut RecordGuard,
    first: &mut Vec<u8>,
) -> Result<Header, Outcome> {
    let mut limit = pin!(Deadline::after(accept.timeout));
    loop {
        match proxy::parse(first) {
            Ok(Some((header, length))) => {
                first.drain(..length);
                return Ok(header);
            }
            Ok(None) => {}
            Err(wrong) => {
                guard.note(&wrong.to_string());
                return Err(Outcome::BadHeader);
            }
        }
        match reader.more(first, limit.as_mut()).await {
            More::Bytes => {}
            More::Failed(outcome) => return Err(outcome),
            // A load balancer's health check looks like this.
            More::End if first.is_empty() => return Err(Outcome::ClientClosed),
            More::End => {
                guard.note("the client ended within its PROXY header");
                return Err(Outcome::BadHeader);
            }
            More::Late => {
                guard.note("no whole PROXY header came in time");
                return Err(Outcome::BadHeader);
            }
        }
    }
}

/// The result of one read.
enum More {
    Bytes,
    /// FIN.
    End,
    /// The deadline passed.
    Late,
    Failed(Outcome),
}

/// Reads from a client, and counts the memory that this takes.
pub(super) struct Reader<'c> {
    pub socket: &'c Socket,
    pub place: Option<&'c mut PrereadPlace>,
}

impl Reader<'_> {
    async fn more(&mut self, bytes: &mut Vec<u8>, limit: Pin<&mut Deadline>) -> More {
        let read = async {
            if let Some(place) = &mut self.place {
                place.reads(bytes.len()).await;
            }
            self.socket.recv_into(bytes).await
        };
        match limit.bound(read).await {
            Ok(Ok(0)) => More::End,
            Ok(Ok(_)) => More::Bytes,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                More::Failed(Outcome::ClientReset)
            }
            Ok(Err(_)) => More::Failed(Outcome::ClientLost),
            Err(Late) => More::Late,
        }
    }
}
