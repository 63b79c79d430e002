//! What an upstream receives before the relay begins: a PROXY header, and the bytes that the client has sent already.

use std::io;
use std::time::Duration;

use super::preamble::Preamble;
use crate::model::{Outcome, Peer, ProxyVersion};
use crate::net::{Late, Socket, StreamRef, within};
use crate::proxy::record::RecordGuard;
use crate::proxy::route::LiveRoute;
use crate::wire::client_hello::ClientHello;
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// The PROXY header that names the client to the upstream, and `to`, where it has connected to. Empty: the route sends none.
pub(super) fn of(
    to: impl FnOnce() -> Option<Peer>,
    live: &LiveRoute,
    preamble: Option<&Preamble>,
    guard: &RecordGuard,
) -> Vec<u8> {
    let Some(version) = live.route.policy.proxy_protocol.send else { return Vec::new() };
    let header = preamble.and_then(|preamble| preamble.header.as_ref());
    let addresses = addresses(&guard.client(), to, header);
    if version == ProxyVersion::V1 {
        return proxy::write_v1(&addresses);
    }
    let mut notes = header.map(|header| header.notes.clone()).unwrap_or_default();
    if let Some(hello) = preamble.and_then(|preamble| preamble.hello.as_ref()) {
        note_hello(&mut notes, hello, &live.route.selector.alpn);
    }
    if let Some(session) = preamble.and_then(|preamble| preamble.session.as_ref()) {
        notes.ssl = Some(session.described().note());
        notes.alpn = session.protocol().map(<[u8]>::to_vec);
    }
    notes.unique_id.get_or_insert_with(|| guard.unique_id().into_bytes());
    proxy::write_v2(&Header { addresses, notes }, false)
}

/// Adds to `read` what the client has sent meanwhile, to go with the header: one segment, and one wake-up of the upstream,
/// less. Waits for nothing: the client may want to hear the upstream first.
pub(super) async fn take_along(client: &Socket, read: &mut Vec<u8>) -> Result<(), Outcome> {
    match client.recv_arrived(read).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Outcome::ClientReset),
        Err(_) => Err(Outcome::ClientLost),
    }
}

/// Sends a connected upstream what precedes the relay: the PROXY header, and the bytes read from the client already.
pub(super) async fn send(
    client: &Socket,
    mut upstream: StreamRef<'_>,
    bytes: &[u8],
    at_most: Duration,
) -> Result<(), Outcome> {
    if bytes.is_empty() {
        return Ok(());
    }
    // The kernel's send buffer takes this at once, unless it was made very small.
    let sent = within(at_most, upstream.send_all(bytes));
    let sent = tokio::select! {
        biased;
        sent = sent => sent,
        () = client.failed() => return Err(Outcome::ClientReset),
    };
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Outcome::UpstreamReset),
        Err(Late) => Err(Outcome::UpstreamLost),
    }
}

/// Notes what the client asks for. Its protocol only if it is certain: which of several the server will take is not
/// known here.
fn note_hello(notes: &mut Notes, hello: &ClientHello, served: &[String]) {
    notes.authority = hello.server_name.clone().map(String::into_bytes).or(notes.authority.take());
    let of_route =
        hello.alpn.iter().find(|offered| served.iter().any(|served| served.as_bytes() == *offered));
    let only = hello.alpn.first().filter(|_| hello.alpn.len() == 1);
    notes.alpn = of_route.or(only).cloned().or(notes.alpn.take());
}

/// The two ends of a connection, as the PROXY header gives them to the upstream.
fn addresses(client: &Peer, to: impl FnOnce() -> Option<Peer>, header: Option<&Header>) -> Addresses {
    if let Some(Header { addresses, .. }) = header {
        match addresses {
            // The header names no client, so name the peer that connected to us.
            Addresses::Own | Addresses::Unknown => {}
            addresses => return addresses.clone(),
        }
    }
    let path = |peer: &Peer| match peer {
        Peer::Unix(Some(path)) => path.as_os_str().as_encoded_bytes().to_vec(),
        _ => Vec::new(),
    };
    match (client, to()) {
        (Peer::Ip(client), Some(Peer::Ip(server))) => Addresses::between(*client, server),
        (Peer::Unix(_), Some(local @ Peer::Unix(_))) => Addresses::Unix(path(client), path(&local)),
        _ => Addresses::Unknown,
    }
}
