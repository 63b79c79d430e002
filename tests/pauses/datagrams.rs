//! The silence of UDP sessions.

use super::paused;
use crate::harness::instance::*;
use crate::udp::peers::*;

#[test]
fn r7_a_session_goes_on_whose_client_or_upstream_has_spoken_during_a_pause() {
    let (port, server) = (free_port(), Server::echo());
    let place = Place::with(&one(port, &[server.addr], "idle_timeout = \"3s\""));
    let mut portway = Portway::run(&place.file());
    let clients: Vec<Client> = (0..300).map(|_| Client::of(port)).collect();
    let (asking, answered) = clients.split_at(clients.len() / 2);
    for (n, client) in clients.iter().enumerate() {
        client.send(format!("before {n}").as_bytes());
    }
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(client.hear(), format!("before {n}").as_bytes());
    }
    let source = |n: usize| server.sources_of(format!("before {n}").as_bytes())[0];
    paused(portway.pid(), || {
        for (n, client) in asking.iter().enumerate() {
            client.send(format!("during {n}").as_bytes());
        }
        for n in asking.len()..clients.len() {
            server.socket.send_to(b"by itself", source(n)).unwrap();
        }
    });
    for (n, client) in asking.iter().enumerate() {
        assert_eq!(client.hear(), format!("during {n}").as_bytes());
        assert_eq!(server.sources_of(format!("during {n}").as_bytes()), [source(n)], "another session");
    }
    for client in answered {
        assert_eq!(client.hear(), b"by itself");
    }
    // Then silence ends all of them.
    let ended = records(&mut portway, clients.len());
    assert!(ended.iter().all(|record| record["outcome"] == "idle"));
    portway.stop();
}
