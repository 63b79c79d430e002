//! Inherited sockets: the process that starts Portway may pass listening sockets to it (sd_listen_fds(3)), and so does an
//! older Portway that it takes over from.
//!
//! A socket serves the listener with the same address. [`Inherited`] keeps every socket of systemd as long as the process
//! lives and hands out duplicates. systemd holds such a socket open as well, so nobody else can bind its address; and an
//! edit that removes a listener and one that adds it again find the same socket. What an older Portway has passed is kept
//! until its listeners serve, and then it is like any other socket.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use listenfd::ListenFd;
use socket2::{SockRef, Type};

use super::StreamListener;
use super::datagram::DatagramSocket;
use super::socket_file::SocketFile;
use crate::model::{ListenAddr, SocketOptions};

/// Every inherited socket of this process, and the descriptors that it cannot use.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<InheritedSocket>,
    unusable: Vec<String>,
}

/// One inherited socket: a listening stream socket, or a UDP socket.
#[derive(Debug)]
pub struct InheritedSocket {
    socket: Passed,
    /// The address that the socket is bound to.
    pub addr: ListenAddr,
    /// Its name (`FileDescriptorName=`). Empty if it has none.
    pub name: String,
    /// Who has passed it.
    pub giver: Giver,
}

/// Who has passed a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// systemd, which holds it as well.
    ServiceManager,
    /// The process that this one takes over from, which holds it until it has ended.
    Predecessor,
}

#[derive(Debug)]
enum Passed {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
}

impl fmt::Display for InheritedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.addr, if self.is_datagram() { "/udp" } else { "" })?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " ({})", self.name) }
    }
}

impl Inherited {
    /// Takes over the descriptors that `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` describe. Removes the first two
    /// variables from the environment, so call this before the first thread starts.
    pub fn from_env() -> Inherited {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..passed.len() {
            // systemd's placeholders for a descriptor that the unit does not name.
            let name = names.next().filter(|name| !matches!(*name, "unknown" | "stored" | "connection"));
            let name = name.unwrap_or_default().to_owned();
            match take(&mut passed, index) {
                Ok((socket, addr)) => {
                    let giver = Giver::ServiceManager;
                    inherited.sockets.push(InheritedSocket { socket, addr, name, giver });
                }
                Err(error) => inherited.unusable.push(format!("{} {name}: {error}", 3 + index)),
            }
        }
        inherited
    }

    /// Takes over one more descriptor. Fails if it is neither a listening stream socket nor a UDP socket.
    pub fn adopt(&mut self, fd: OwnedFd, name: String, giver: Giver) -> io::Result<()> {
        let (socket, addr) = typed(fd)?;
        self.sockets.push(InheritedSocket { socket, addr, name, giver });
        Ok(())
    }

    /// The sockets that this giver has passed.
    pub fn of(&self, giver: Giver) -> impl Iterator<Item = &InheritedSocket> {
        self.sockets.iter().filter(move |inlet| inlet.giver == giver)
    }

    /// Whether one of the sockets serves this listener. `datagram`: of UDP.
    pub fn has(&self, addr: &ListenAddr, datagram: bool) -> bool {
        self.find(addr, datagram).is_some()
    }

    /// A listener on a duplicate of the stream socket that the predecessor has passed for `addr`. `None` if it has not.
    pub fn handed(&self, addr: &ListenAddr, options: SocketOptions) -> Option<io::Result<StreamListener>> {
        let inlet = &self.sockets[self.find(addr, false)?];
        if inlet.giver == Giver::Predecessor { inlet.listen(options) } else { None }
    }

    /// Forgets what the predecessor has passed: its listeners serve, and have duplicates.
    pub fn forget_handed(&mut self) {
        self.sockets.retain(|inlet| inlet.giver != Giver::Predecessor);
    }

    /// Number of usable sockets.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is no usable socket.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Descriptors that are neither listening stream sockets nor UDP sockets: number, name and reason.
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// The stream sockets that serve none of these listeners.
    pub fn unused<'a>(
        &'a self,
        listeners: impl Iterator<Item = &'a ListenAddr>,
    ) -> impl Iterator<Item = &'a InheritedSocket> {
        self.unused_of(false, listeners)
    }

    /// The UDP sockets that serve none of these listeners.
    pub fn unused_datagrams<'a>(
        &'a self,
        listeners: impl Iterator<Item = &'a ListenAddr>,
    ) -> impl Iterator<Item = &'a InheritedSocket> {
        self.unused_of(true, listeners)
    }

    fn unused_of<'a>(
        &'a self,
        datagram: bool,
        listeners: impl Iterator<Item = &'a ListenAddr>,
    ) -> impl Iterator<Item = &'a InheritedSocket> {
        // Most processes inherit no socket, and may have thousands of listeners.
        let listeners = (!self.sockets.is_empty()).then_some(listeners).into_iter().flatten();
        let used: Vec<usize> = listeners.filter_map(|addr| self.find(addr, datagram)).collect();
        let all = self.sockets.iter().enumerate();
        let all = all.filter(move |(_, inlet)| {
            inlet.is_datagram() == datagram && inlet.giver == Giver::ServiceManager
        });
        all.filter(move |(index, _)| !used.contains(index)).map(|(_, inlet)| inlet)
    }

    /// A UDP listener on a duplicate of the inherited socket for `addr`. `None` if there is no such socket. Fails if
    /// the descriptor cannot be duplicated.
    pub fn datagrams(&self, addr: &ListenAddr) -> Option<io::Result<DatagramSocket>> {
        let inlet = self.sockets.get(self.find(addr, true)?)?;
        let Passed::Udp(socket) = &inlet.socket else { return None };
        Some(socket.try_clone().and_then(match inlet.giver {
            Giver::ServiceManager => DatagramSocket::over,
            Giver::Predecessor => DatagramSocket::taken_over,
        }))
    }

    /// A UDP socket of systemd whose address overlaps with `addr`: a bind would fail.
    pub fn datagram_in_the_way(&self, addr: &ListenAddr) -> Option<&InheritedSocket> {
        self.of(Giver::ServiceManager).find(|inlet| inlet.is_datagram() && inlet.addr.overlaps(addr))
    }

    /// A listener on a duplicate of the inherited stream socket for `addr`. `None` if there is no such socket. Fails if
    /// the descriptor cannot be duplicated.
    pub fn listen(&self, addr: &ListenAddr, options: SocketOptions) -> Option<io::Result<StreamListener>> {
        self.sockets[self.find(addr, false)?].listen(options)
    }

    /// A stream socket of systemd whose address overlaps with `addr`: a bind would find the address in use.
    pub fn in_the_way(&self, addr: &ListenAddr) -> Option<&InheritedSocket> {
        self.of(Giver::ServiceManager).find(|inlet| !inlet.is_datagram() && inlet.addr.overlaps(addr))
    }

    /// Finds the socket with the same address. Failing that, a wildcard matches what the unit means by it: systemd's
    /// `ListenStream=8080` and `[::]:8080` are one dual-stack socket, and without IPv6, `0.0.0.0:8080` is every
    /// interface.
    fn find(&self, addr: &ListenAddr, datagram: bool) -> Option<usize> {
        let also = match addr {
            ListenAddr::Any(port) => Some(ListenAddr::Ip(([0, 0, 0, 0], *port).into())),
            ListenAddr::Ip(SocketAddr::V6(ip)) if ip.ip().is_unspecified() => {
                Some(ListenAddr::Any(ip.port()))
            }
            _ => None,
        };
        let fits = |inlet: &InheritedSocket| inlet.is_datagram() == datagram;
        let at = |addr: &ListenAddr| self.sockets.iter().position(|inlet| inlet.addr == *addr && fits(inlet));
        at(addr).or_else(|| at(&also?))
    }
}

impl InheritedSocket {
    /// Whether it is a UDP socket.
    pub fn is_datagram(&self) -> bool {
        matches!(self.socket, Passed::Udp(_))
    }

    /// A listener on a duplicate of the socket. `None` for a UDP socket.
    fn listen(&self, options: SocketOptions) -> Option<io::Result<StreamListener>> {
        let listener = self.duplicate()?;
        Some(listener.and_then(|listener| listener.set_options(options).map(|()| listener)))
    }

    /// The file of a Unix socket that is to be ours, which still is the predecessor's. `None`: it is not to be ours.
    fn file(&self) -> Option<io::Result<SocketFile>> {
        let ListenAddr::Unix(path) = &self.addr else { return None };
        let file = (self.giver == Giver::Predecessor).then(|| SocketFile::at(path))?;
        Some(file.inspect(|file| file.leave(true)))
    }

    fn duplicate(&self) -> Option<io::Result<StreamListener>> {
        Some(match &self.socket {
            Passed::Tcp(socket) => socket.try_clone().and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(StreamListener::Tcp(Arc::new(socket.into())))
            }),
            Passed::Unix(socket) => socket.try_clone().and_then(|socket| {
                socket.set_nonblocking(true)?;
                // The file belongs to whoever created the socket.
                let file = self.file().transpose()?;
                Ok(StreamListener::Unix(Arc::new(socket.into()), file.map(Box::new)))
            }),
            Passed::Udp(_) => return None,
        })
    }
}

impl AsFd for InheritedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Passed::Tcp(socket) => socket.as_fd(),
            Passed::Unix(socket) => socket.as_fd(),
            Passed::Udp(socket) => socket.as_fd(),
        }
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<(Passed, ListenAddr)> {
    if let Ok(Some(socket)) = passed.take_unix_listener(index) {
        return typed(socket.into());
    }
    if let Ok(Some(socket)) = passed.take_udp_socket(index) {
        return typed(socket.into());
    }
    let socket = passed.take_tcp_listener(index)?.ok_or(io::ErrorKind::NotFound)?;
    typed(socket.into())
}

/// What a descriptor is, and where.
fn typed(fd: OwnedFd) -> io::Result<(Passed, ListenAddr)> {
    let at = SockRef::from(&fd).local_addr()?;
    let ip = at.as_socket();
    if SockRef::from(&fd).r#type()? == Type::DGRAM {
        let ip = ip.ok_or_else(|| io::Error::other("it is neither TCP nor UDP nor a Unix stream socket"))?;
        let addr = address(&fd, ip)?;
        return Ok((Passed::Udp(fd.into()), addr));
    }
    must_listen(&fd)?;
    if let Some(ip) = ip {
        let addr = address(&fd, ip)?;
        return Ok((Passed::Tcp(fd.into()), addr));
    }
    let path = at.as_pathname().map(Path::to_path_buf);
    let path = path.ok_or_else(|| io::Error::other("a Unix socket without a path"))?;
    Ok((Passed::Unix(fd.into()), ListenAddr::Unix(path)))
}

fn address(socket: &impl AsFd, addr: SocketAddr) -> io::Result<ListenAddr> {
    let dual = addr.is_ipv6() && addr.ip().is_unspecified() && !SockRef::from(socket).only_v6()?;
    Ok(if dual { ListenAddr::Any(addr.port()) } else { ListenAddr::Ip(addr) })
}

/// Rejects a connected socket: `Accept=yes` passes one connection per process, which cannot be accepted from.
fn must_listen(socket: &impl AsFd) -> io::Result<()> {
    if SockRef::from(socket).is_listener()? {
        Ok(())
    } else {
        Err(io::Error::other("it does not listen (Accept= must be no)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(addrs: &[&str]) -> Inherited {
        let inlet = |text: &&str| InheritedSocket {
            socket: Passed::Tcp(TcpListener::bind("127.0.0.1:0").unwrap()),
            addr: addr(text),
            name: String::new(),
            giver: Giver::ServiceManager,
        };
        Inherited { sockets: addrs.iter().map(inlet).collect(), unusable: vec![] }
    }

    fn addr(text: &str) -> ListenAddr {
        text.parse::<crate::model::ListenSpec>().unwrap().addrs().next().unwrap().1
    }

    #[test]
    fn a_socket_serves_the_address_that_it_has() {
        let found = |passed: &Inherited, text: &str| {
            passed.find(&addr(text), false).map(|index| passed.sockets[index].addr.to_string())
        };
        let all = passed(&["0.0.0.0:80", "80", "127.0.0.1:81", "[::]:82", "0.0.0.0:83"]);
        let cases = [
            ("80", Some("80")),
            ("0.0.0.0:80", Some("0.0.0.0:80")),
            ("[::]:80", Some("80")),
            ("127.0.0.1:80", None),
            ("127.0.0.1:81", Some("127.0.0.1:81")),
            ("81", None),
            ("[::]:82", Some("[::]:82")),
            ("82", None),
            ("83", Some("0.0.0.0:83")),
            ("[::]:83", None),
        ];
        for (wanted, expected) in cases {
            assert_eq!(found(&all, wanted).as_deref(), expected, "for {wanted}");
        }
    }

    #[test]
    fn what_no_listener_uses_is_known() {
        let all = passed(&["80", "127.0.0.1:81"]);
        let unused = |listeners: &[&str]| {
            let listeners: Vec<ListenAddr> = listeners.iter().map(|text| addr(text)).collect();
            all.unused(listeners.iter()).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(unused(&["80", "127.0.0.1:81"]), [""; 0]);
        assert_eq!(unused(&["[::]:80"]), ["127.0.0.1:81"]);
        assert_eq!(unused(&["127.0.0.1:80"]), ["80", "127.0.0.1:81"]);
        assert_eq!(all.in_the_way(&addr("0.0.0.0:80")).unwrap().addr, addr("80"));
    }

    #[tokio::test]
    async fn each_listener_has_the_same_queue() {
        let all = passed(&["127.0.0.1:81"]);
        let real = match &all.sockets[0].socket {
            Passed::Tcp(socket) => socket.local_addr().unwrap(),
            Passed::Unix(_) | Passed::Udp(_) => unreachable!(),
        };
        let first = all.listen(&addr("127.0.0.1:81"), SocketOptions::default()).unwrap().unwrap();
        drop(first);
        // Nobody accepts, yet a client can connect.
        let _client = tokio::net::TcpStream::connect(real).await.unwrap();
        let second = all.listen(&addr("127.0.0.1:81"), SocketOptions::default()).unwrap().unwrap();
        second.acceptor().unwrap().accept().await.unwrap();
    }
}
