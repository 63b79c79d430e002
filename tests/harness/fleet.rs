//! Three nodes behind a router, and clients before it: each in a network of its own. Needs root.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use super::netns::Netns;
use super::{PATIENCE, proc};

/// The address that clients know. Each node has it on its loopback.
pub const SERVICE: &str = "192.0.2.10:8080";

/// A client that is made up: 10.128.0.1 and on.
pub fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 1).to_bits() + number)
}

/// A connection of a client to [`SERVICE`]: for a thread in the network of the clients.
pub fn connect(from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SERVICE.parse::<SocketAddr>().unwrap().into())?;
    Ok(socket.into())
}

/// The networks. Node 1 is 10.1.1.2, and so on.
pub struct FleetNet {
    pub clients: Netns,
    pub router: Netns,
    pub nodes: Vec<Netns>,
}

impl FleetNet {
    /// The router shares clients out by their address alone, and knows no node yet.
    pub fn new() -> FleetNet {
        let (clients, router) = Netns::pair();
        clients.ip("route add local 10.128.0.0/16 dev lo");
        clients.ip("route add default via 10.99.0.2");
        router.ip("route add 10.128.0.0/16 via 10.99.0.1");
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv4/fib_multipath_hash_policy", "3");
        router.sysctl("ipv4/fib_multipath_hash_fields", "1");
        let nodes = (1..=3).map(|number| {
            let node = Netns::new();
            router.cable(&format!("node{number}"), &node);
            router.ip(&format!("address add 10.1.{number}.1/24 dev node{number}"));
            node.ip(&format!("address add 10.1.{number}.2/24 dev wire"));
            node.ip("address add 192.0.2.10/32 dev lo");
            node.ip(&format!("route add default via 10.1.{number}.1"));
            node
        });
        FleetNet { nodes: nodes.collect(), clients, router }
    }
}

/// A program that ends with the test.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        proc::Process(self.0.id()).signal(Signal::TERM);
        drop(self.0.wait());
    }
}

/// A file of `deploy/fleet` in which each of these words stands, and is replaced.
pub fn shipped(name: &str, changes: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fleet").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no `{from}`");
        text = text.replace(from, to);
    }
    text
}
