//! What an upstream gets before the relay begins: who the client is, and the bytes that it has sent already.

use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::Lead;
use super::ingress::Heard;
use super::record::Ledger;
use crate::model::{Outcome, Peer, ProxyVersion};
use crate::net::{Leg, Socket};
use crate::wire::client_hello::ClientHello;
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// What says to an upstream who the client is, where the route sends that.
pub(super) fn header(client: &Socket, lead: &Lead, heard: Option<&Heard>, ledger: &Ledger) -> Vec<u8> {
    let Some(version) = lead.route.policy.clients.proxy_protocol.send else { return Vec::new() };
    let header = heard.and_then(|heard| heard.header.as_ref());
    let addresses = addresses(&ledger.client(), client, header);
    if version == ProxyVersion::V1 {
        return proxy::write_v1(&addresses);
    }
    let mut notes = header.map(|header| header.notes.clone()).unwrap_or_default();
    if let Some(hello) = heard.and_then(|heard| heard.hello.as_ref()) {
        note_hello(&mut notes, hello, &lead.route.selector.alpn);
    }
    if let Some(session) = heard.and_then(|heard| heard.session.as_ref()) {
        notes.ssl = Some(session.described().note());
        notes.alpn = session.protocol().map(<[u8]>::to_vec);
    }
    notes.unique_id.get_or_insert_with(|| ledger.unique_id().into_bytes());
    proxy::write_v2(&Header { addresses, notes }, false)
}

/// Sends to a connected upstream what it gets before the relay begins: a header, and what was read of the client already.
pub(super) async fn greet(
    (client, mut upstream): (&Socket, Leg<'_>),
    lead: &Lead,
    (mut header, first): (Vec<u8>, &[u8]),
    ledger: &Ledger,
) -> Result<(), Outcome> {
    header.extend_from_slice(first);
    if header.is_empty() {
        return Ok(());
    }
    // The kernel's buffer takes it at once, unless somebody has made that very small.
    let sent = timeout(lead.route.policy.connect_timeout, upstream.send_all(&header));
    let sent = tokio::select! {
        biased;
        sent = sent => sent,
        () = client.failed() => return Err(Outcome::ClientReset),
    };
    match sent {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Outcome::UpstreamReset),
        Err(_) => return Err(Outcome::UpstreamLost),
    }
    ledger.traffic().up.fetch_add(first.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// What the client asks for. Its protocol, where that is sure: which of several the server takes, is not known here.
fn note_hello(notes: &mut Notes, hello: &ClientHello, served: &[String]) {
    notes.authority = hello.server_name.clone().map(String::into_bytes).or(notes.authority.take());
    let of_route =
        hello.alpn.iter().find(|offered| served.iter().any(|served| served.as_bytes() == *offered));
    let only = hello.alpn.first().filter(|_| hello.alpn.len() == 1);
    notes.alpn = of_route.or(only).cloned().or(notes.alpn.take());
}

/// Between whom a connection is, as the next proxy or the upstream is to hear it.
fn addresses(client: &Peer, socket: &Socket, header: Option<&Header>) -> Addresses {
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
