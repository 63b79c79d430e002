//! QUIC through a route: what browsers speak, with its own handshake, sizes, batches and moves.

use std::hash::{DefaultHasher, Hasher};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Endpoint, RecvStream, SendStream, ServerConfig};
use tokio::time::timeout;

use super::peers::*;
use crate::harness::instance::*;

const BYTES: usize = 100_000_000;
const CHUNK: usize = 100_000;

/// Bytes that do not repeat within a chunk, nor from one to the next.
fn chunk(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let words = (0..CHUNK / 8).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    });
    words.collect()
}

/// Sends all bytes. Returns their hash.
async fn send(to: &mut SendStream) -> u64 {
    let mut hasher = DefaultHasher::new();
    for number in 0..BYTES / CHUNK {
        let chunk = chunk(number);
        hasher.write(&chunk);
        to.write_all(&chunk).await.unwrap();
    }
    to.finish().unwrap();
    hasher.finish()
}

/// Receives all bytes; at the middle of them `halfway` happens. Returns their hash.
async fn receive(from: &mut RecvStream, halfway: impl FnOnce()) -> u64 {
    let (mut hasher, mut got, mut halfway) = (DefaultHasher::new(), 0, Some(halfway));
    let mut buffer = vec![0; CHUNK];
    // The hasher sees the same pieces as the sender's: its result depends on them.
    while got < BYTES {
        from.read_exact(&mut buffer).await.unwrap();
        hasher.write(&buffer);
        got += CHUNK;
        if got >= BYTES / 2
            && let Some(halfway) = halfway.take()
        {
            halfway();
        }
    }
    hasher.finish()
}

fn server() -> (Endpoint, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(vec!["quic.test".to_owned()]).unwrap();
    let cert = CertificateDer::from(made.cert);
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![cert.clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    (Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap(), client)
}

/// A handshake, 100 MB with equal hashes, and a client that moves to another port in their midst, all while the file is
/// edited.
#[test]
fn a_hundred_megabytes_with_a_client_that_moves() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let (server, client_config) = server();
    let (port, upstream) = (free_port(), server.local_addr().unwrap());
    let text = |turn: usize| {
        one(port, &[upstream], &format!("idle_timeout = \"2s\"\nmax_sessions = {}", 100 + turn % 2))
    };
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());

    let served = runtime.spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        let (mut up, mut down) = connection.accept_bi().await.unwrap();
        let mut go = [0; 2];
        down.read_exact(&mut go).await.unwrap();
        let hash = send(&mut up).await;
        let came_from = connection.remote_address();
        up.stopped().await.unwrap();
        (hash, came_from, connection.remote_address())
    });
    let asked = runtime.spawn(async move {
        let mut client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        client.set_default_client_config(client_config);
        let target: SocketAddr = ([127, 0, 0, 1], port).into();
        let connection = client.connect(target, "quic.test").unwrap().await.unwrap();
        let (mut up, mut down) = connection.open_bi().await.unwrap();
        up.write_all(b"go").await.unwrap();
        let move_on = || client.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let hash = receive(&mut down, move_on).await;
        connection.close(0_u8.into(), b"done");
        timeout(PATIENCE, client.wait_idle()).await.unwrap();
        hash
    });
    let mut turn = 0;
    while !asked.is_finished() {
        turn += 1;
        place.save(&text(turn));
        pass(Duration::from_millis(50));
    }
    let hash = runtime.block_on(asked).unwrap();
    served.abort();
    assert!(turn >= 3, "{turn} edits");
    let mut expected = DefaultHasher::new();
    (0..BYTES / CHUNK).for_each(|number| expected.write(&chunk(number)));
    assert_eq!(hash, expected.finish());
    // The client has had two ports, and so two sessions; most bytes went down.
    let records = records(&mut portway, 2);
    let down: u64 = records.iter().map(|record| record["down"].as_u64().unwrap()).sum();
    assert!(records.len() == 2 && down > BYTES as u64, "{records:?}");
    assert!(records.iter().all(|record| record["down"].as_u64() > Some(BYTES as u64 / 4)), "{records:?}");
    portway.hang_up();
    portway.stop();
}
