//! TLS for the ends of a connection: rustls with its buffers, where Portway drives it without.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use socket2::Socket;

use super::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// An authority, and a certificate of it for `localhost`.
pub struct Pems {
    /// The authority's certificate.
    pub ca: String,
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Pems {
    /// New ones, for these names.
    pub fn made(names: &[&str]) -> Pems {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        Pems { ca: authority.pem(), cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Writes them into a folder.
    pub fn write(&self, folder: &Path) -> [PathBuf; 3] {
        [("ca.pem", &self.ca), ("cert.pem", &self.cert), ("key.pem", &self.key)].map(|(name, text)| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
    }
}

/// Those of this process.
pub static PEMS: LazyLock<Pems> = LazyLock::new(|| Pems::made(&["localhost"]));

static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let cert = CertificateDer::from_pem_slice(PEMS.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(PEMS.key.as_bytes()).unwrap();
    Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap())
});

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(PEMS.ca.as_bytes()).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
});

/// The TLS of one end, which its twins share.
#[derive(Clone)]
pub struct Tls(Arc<Mutex<State>>);

struct State {
    connection: Connection,
    /// How the socket's bytes ended: with a FIN, or with an error.
    ended: Option<Option<ErrorKind>>,
    /// What a write has met: the kernel says it once, and reads see an end after it.
    failed: Option<ErrorKind>,
}

/// One call at a time, which never waits.
struct Now<'a>(&'a Socket);

impl Read for Now<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (_, n) = rustix::net::recv(self.0, buf, rustix::net::RecvFlags::DONTWAIT)?;
        Ok(n)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        use rustix::net::SendFlags;
        Ok(rustix::net::send(self.0, buf, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    /// Of a client, which is served TLS at once.
    pub fn client(socket: &Socket) -> io::Result<Tls> {
        let connection = ClientConnection::new(CLIENT.clone(), "localhost".try_into().unwrap()).unwrap();
        Tls::shaken(Connection::Client(connection), socket)
    }

    /// Of a server, whose client begins TLS at once.
    pub fn server(socket: &Socket) -> io::Result<Tls> {
        Tls::shaken(Connection::Server(ServerConnection::new(SERVER.clone()).unwrap()), socket)
    }

    fn shaken(connection: Connection, socket: &Socket) -> io::Result<Tls> {
        let tls = Tls(Arc::new(Mutex::new(State { connection, ended: None, failed: None })));
        loop {
            tls.with(|state| state.pump(socket));
            let (shaking, ended) = tls.with(|state| (state.connection.is_handshaking(), state.ended));
            match ended {
                Some(how) if shaking => return Err(how.unwrap_or(ErrorKind::UnexpectedEof).into()),
                _ if !shaking => return Ok(tls),
                _ => tls.wait(socket, false),
            }
        }
    }

    fn with<R>(&self, what: impl FnOnce(&mut State) -> R) -> R {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the socket can go on.
    fn wait(&self, socket: &Socket, to_write: bool) {
        let writes = to_write || self.with(|state| state.connection.wants_write());
        let flags = if to_write { PollFlags::OUT } else { PollFlags::IN };
        let flags = if writes { flags | PollFlags::OUT } else { flags };
        let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), flags)];
        let ready = poll(&mut fds, Some(&Timespec::try_from(PATIENCE).unwrap())).unwrap();
        assert_eq!(ready, 1, "nothing happens within {PATIENCE:?}");
    }

    /// Writes once.
    pub fn write(&self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let wrote = self.with(|state| {
                state.flush(socket)?;
                match state.connection.wants_write() {
                    true => Ok(None),
                    false => {
                        let n = state.connection.writer().write(bytes)?;
                        state.flush(socket)?;
                        Ok(Some(n))
                    }
                }
            });
            match wrote {
                Ok(Some(n)) => {
                    while blocks(socket) && self.with(|state| state.connection.wants_write()) {
                        self.wait(socket, true);
                        self.with(|state| state.flush(socket))?;
                    }
                    return Ok(n);
                }
                Ok(None) if blocks(socket) => self.wait(socket, true),
                Ok(None) => return Err(ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once. 0: `close_notify`.
    pub fn read(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.with(|state| {
                state.pump(socket);
                match state.connection.reader().read(buf) {
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        Err(state.failed.map_or(error, Into::into))
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => match state.ended {
                        Some(Some(kind)) => Err(kind.into()),
                        Some(None) => panic!("truncated: FIN without close_notify"),
                        None => Err(error),
                    },
                    read => read,
                }
            });
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock && blocks(socket) => {
                    self.wait(socket, false);
                }
                read => return read,
            }
        }
    }

    /// Sends `close_notify` and FIN after all that was written; where that has to wait, on a thread of its own.
    pub fn fin(&self, socket: &Socket) {
        self.with(|state| state.connection.send_close_notify());
        let (tls, socket) = (self.clone(), socket.try_clone().unwrap());
        let finish = move || {
            loop {
                if tls.with(|state| state.flush(&socket)).is_err() {
                    return;
                }
                if !tls.with(|state| state.connection.wants_write()) {
                    let _ = socket.shutdown(std::net::Shutdown::Write);
                    return;
                }
                tls.wait(&socket, true);
            }
        };
        if self.with(|state| state.connection.wants_write()) {
            std::thread::spawn(finish);
        } else {
            finish();
        }
    }

    /// Whether no byte has come, and no end.
    pub fn has_nothing(&self, socket: &Socket) -> bool {
        self.with(|state| {
            state.pump(socket);
            let read = state.connection.process_new_packets().unwrap();
            read.plaintext_bytes_to_read() == 0 && !read.peer_has_closed() && state.ended.is_none()
        })
    }

    /// Whether all that was written has gone to the kernel.
    pub fn is_flushed(&self, socket: &Socket) -> bool {
        self.with(|state| {
            let _ = state.flush(socket);
            !state.connection.wants_write()
        })
    }
}

impl State {
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Now(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.failed.get_or_insert(error.kind());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Sends what waits, and takes in what has come.
    fn pump(&mut self, socket: &Socket) {
        // What fails here fails when it is read, too.
        let _ = self.flush(socket);
        while self.ended.is_none() && self.connection.wants_read() {
            match self.connection.read_tls(&mut Now(socket)) {
                Ok(0) => self.ended = Some(self.failed),
                Ok(_) => drop(self.connection.process_new_packets().unwrap()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => self.ended = Some(Some(error.kind())),
            }
        }
        let _ = self.flush(socket);
    }
}

/// Whether calls of this socket are to wait.
fn blocks(socket: &Socket) -> bool {
    !rustix::fs::fcntl_getfl(socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK)
}
