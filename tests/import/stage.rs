//! The backends of a file: each says where it would be.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};

use super::visit::serve;

/// Backends by the address that the file has for them, each with TCP and UDP on one port.
#[derive(Default)]
pub struct Stage {
    ports: BTreeMap<String, u16>,
}

impl Stage {
    /// The port of the backend for this address.
    pub fn port(&mut self, address: &str) -> u16 {
        *self.ports.entry(address.to_owned()).or_insert_with(|| start(address))
    }

    /// That of one which is there already.
    pub fn known(&self, address: &str) -> u16 {
        self.ports[address]
    }
}

/// Starts one on both protocols.
fn start(name: &str) -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        // Somebody else may have that port of UDP.
        if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
            serve(name, tcp, udp);
            return port;
        }
    }
}
