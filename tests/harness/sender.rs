//! Clients that come from an address of their own.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::instance::{Flow, PATIENCE};

/// An address that does not answer: a queue that is full, for which the kernel drops what does not fit. An address that nobody
/// has would not do: some networks answer for each.
pub struct BlackHole {
    pub addr: SocketAddr,
    _queue: (Socket, Vec<TcpStream>),
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
            queued.push(stream);
        }
        BlackHole { addr, _queue: (socket, queued) }
    }
}

/// A client from an address of this host, connected to `to`.
pub fn from(address: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let ip: IpAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket.connect(&to.into())?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A flow of a client from an address of 127/8.
pub fn flow_from(address: &str, port: u16) -> std::io::Result<Flow> {
    Flow::greeted(from(address, ([127, 0, 0, 1], port).into())?)
}

/// Whether the connection is reset before a byte comes, for whatever it has sent.
pub fn is_reset(mut client: TcpStream) -> bool {
    client.read_exact(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Whether a client of this address is turned away.
pub fn turned_away(address: &str, port: u16) -> bool {
    from(address, ([127, 0, 0, 1], port).into())
        .map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, is_reset)
}
