//! The one door by which tests get ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

/// A port that nobody has, of TCP or of UDP, below those that the kernel gives. No other test gets it, in this program or in
/// another that runs now, as long as there is the name of the kernel behind it.
pub fn take() -> (u16, UnixListener) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 15_000) as u16;
    loop {
        let port = 11_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let name = Name::from_abstract_name(format!("portway-test-port-{port}")).unwrap();
        let Ok(name) = UnixListener::bind_addr(&name) else { continue };
        if UdpSocket::bind(("0.0.0.0", port)).is_ok()
            && UdpSocket::bind(("::", port)).is_ok()
            && TcpListener::bind(("0.0.0.0", port)).is_ok()
        {
            return (port, name);
        }
    }
}

/// One of UDP, which no socket can hold as [`Port`] holds one of TCP: a second socket would get some of the
/// datagrams. It is this program's until it ends.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let (port, name) = take();
    TAKEN.lock().unwrap().push(name);
    port
}

/// A port that no other test gets: bound but not listening, so that Portway can bind it too (both with SO_REUSEADDR,
/// which Linux allows while only one of them listens).
pub struct Port {
    pub number: u16,
    _held: (Socket, UnixListener),
}

impl Port {
    pub fn reserve() -> Port {
        Port::on(Ipv4Addr::LOCALHOST.into())
    }

    /// On every interface, IPv4 and IPv6.
    pub fn everywhere() -> Port {
        Port::on(Ipv6Addr::UNSPECIFIED.into())
    }

    fn on(ip: IpAddr) -> Port {
        let held = Socket::new(Domain::for_address((ip, 0).into()), Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        if ip.is_ipv6() {
            held.set_only_v6(false).unwrap();
        }
        loop {
            let (number, name) = take();
            // Programs that know nothing of this door may be faster.
            if held.bind(&SocketAddr::from((ip, number)).into()).is_ok() {
                return Port { number, _held: (held, name) };
            }
        }
    }

    /// The `listen` text of the loopback address.
    pub fn local(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
