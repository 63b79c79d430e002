//! What an upstream gets before the relay begins: who the client is, and the bytes that it has sent already.

use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::Lead;
use super::ingress::Heard;
use super::record::Ledger;
use crate::model::{Outcome, Peer, ProxyVersion};
use crate::net::Socket;
use crate::wire::client_hello::ClientHello;
use crate::wire::proxy::{self, Addresses, Header, Notes};

/// Says to a connected upstream who the client is, and sends what was read of it already.
pub(super) async fn greet(
    (client, upstream): (&Socket, &Socket),
    lead: &Lead,
    heard: Option<Box<Heard>>,
    ledger: &Ledger,
) -> Result<(), Outcome> {
    let Heard { header, hello, first } = heard.map(|heard| *heard).unwrap_or_default();
    let mut bytes = match lead.route.policy.clients.proxy_protocol.send {
        None => Vec::new(),
        Some(version) => {
            let addresses = addresses(&ledger.client(), client, header.as_ref());
            let mut notes = header.map(|header| header.notes).unwrap_or_default();
            if let Some(hello) = hello {
                note_hello(&mut notes, hello, &lead.route.selector.alpn);
            }
            notes.unique_id.get_or_insert_with(|| ledger.unique_id().into_bytes());
            match version {
                ProxyVersion::V1 => proxy::write_v1(&addresses),
                ProxyVersion::V2 => proxy::write_v2(&Header { addresses, notes }, false),
            }
        }
    };
    bytes.extend_from_slice(&first);
    // The kernel's buffer takes it at once, unless somebody has made that very small.
    let sent = timeout(lead.route.policy.connect_timeout, upstream.send_all(&bytes));
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
fn note_hello(notes: &mut Notes, hello: ClientHello, served: &[String]) {
    notes.authority = hello.server_name.map(String::into_bytes).or(notes.authority.take());
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
