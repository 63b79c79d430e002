//! The services behind the proxy, and the names by which texts call them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::clients::pki::{Authority, Pair};
use crate::harness::instance::{LONG_QUEUE, PATIENCE, Port, pass};
use crate::harness::sender::BlackHole;

/// The signature of PROXY v2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Every service, started once for all cases.
pub struct Servers {
    /// `{web}` in a text, and so on.
    pub names: Vec<(&'static str, String)>,
    pub authority: Authority,
    /// Whose certificate clients do not know.
    pub stranger: Authority,
    /// The client of `{strict}`.
    pub member: Pair,
    _folder: tempfile::TempDir,
    _dead: [Port; 2],
    _hole: BlackHole,
}

impl Servers {
    pub fn start() -> Arc<Servers> {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        let dead = [Port::reserve(), Port::reserve()];
        let hole = BlackHole::new();
        let member = authority.pair("member.test");
        let tls = |name: &str, members: bool| serves_tls(&authority, name, members);
        let (app, shop, strict) = (tls("app.test", false), tls("shop.test", false), tls("app.test", true));
        let (socket, orphan) = (folder.path().join("app.sock"), folder.path().join("orphan.sock"));
        let unix = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            unix.incoming().flatten().for_each(|stream| drop(std::thread::spawn(move || web(stream, "unix"))))
        });
        drop(UnixListener::bind(&orphan).unwrap());
        let names = vec![
            ("web", serve(|stream| web(stream, "web"))),
            ("web2", serve(|stream| web(stream, "web"))),
            ("slow", serve(slow)),
            ("db", serve(db)),
            ("mail", serve(mail)),
            ("v1", serve(|stream| behind(stream, b"PROXY "))),
            ("v2", serve(|stream| behind(stream, V2))),
            ("app", serve(move |stream| over_tls(stream, &app))),
            ("shop", serve(move |stream| over_tls(stream, &shop))),
            ("strict", serve(move |stream| over_tls(stream, &strict))),
            ("dns", answers()),
            ("unix", format!("unix:{}", socket.display())),
            ("orphan", format!("unix:{}", orphan.display())),
            ("gone", format!("unix:{}", folder.path().join("gone.sock").display())),
            ("dead", dead[0].local()),
            ("dead2", dead[1].local()),
            ("nobody", hole.addr.to_string()),
        ];
        Arc::new(Servers { names, authority, stranger, member, _folder: folder, _dead: dead, _hole: hole })
    }

    /// Writes what a text may name into its folder.
    pub fn write_files(&self, to: &Path) {
        let Servers { authority, stranger, .. } = self;
        authority.pair("app.test").write(to, "app");
        authority.pair("shop.test").write(to, "shop");
        authority.pair_until("app.test", 2020).write(to, "expired");
        stranger.pair("app.test").write(to, "stranger");
        self.member.write(to, "member");
        let app = authority.pair("app.test");
        Pair { cert: app.cert, key: authority.pair("app.test").key }.write(to, "mixed");
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("other-ca.pem", stranger.pem()),
            ("crl.pem", authority.revokes(&[], 2099).0),
            ("other-crl.pem", stranger.revokes(&[], 2099).0),
            ("office.txt", "127.0.0.0/8\n".to_owned()),
            ("branch.txt", "10.20.0.0/16 # the branch\n".to_owned()),
        ] {
            std::fs::write(to.join(name), text).unwrap();
        }
    }
}

fn serve(one: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).listen(LONG_QUEUE).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let one = one.clone();
            // Who never says anything is not waited for longer than the tests are.
            drop(stream.set_read_timeout(Some(PATIENCE)));
            std::thread::spawn(move || one(stream));
        }
    });
    addr
}

/// As a web server: whatever is no request gets an answer as well. The client sees what goes wrong.
fn web(stream: impl Read + Write, name: &str) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).is_err() || line.is_empty() {
        return;
    }
    let answer = match line.starts_with(b"GET ") {
        true => format!("HTTP/1.0 200 OK\r\n\r\n{name}\n"),
        false => "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
    };
    drop(stream.get_mut().write_all(answer.as_bytes()));
    drop(stream.get_mut().flush());
}

/// One that takes its time.
fn slow(mut stream: TcpStream) {
    let mut line = [0; 512];
    if stream.read(&mut line).is_ok_and(|got| line[..got].starts_with(b"GET ")) {
        pass(Duration::from_millis(400));
        drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nweb\n"));
    }
}

/// One that hangs up on whoever speaks another protocol, as databases do.
fn db(mut stream: TcpStream) {
    let mut hello = [0; 8];
    let heard = stream.read(&mut hello).unwrap_or_default();
    if hello[..heard].starts_with(b"DB1") {
        drop(stream.write_all(b"ready\n"));
        drop(stream.read(&mut hello));
    }
    drop(stream.shutdown(Shutdown::Both));
}

/// One that speaks first.
fn mail(mut stream: TcpStream) {
    drop(stream.write_all(b"220 mail.test\r\n"));
    let mut line = [0; 64];
    if stream.read(&mut line).is_ok_and(|got| line[..got].starts_with(b"QUIT")) {
        drop(stream.write_all(b"221 bye\r\n"));
    } else {
        drop(stream.write_all(b"500 what?\r\n"));
    }
}

/// A web server that wants a PROXY header, and hangs up on whoever has none.
fn behind(mut stream: TcpStream, header: &[u8]) {
    let mut begin = vec![0; header.len()];
    if stream.read_exact(&mut begin).is_err() || begin != header {
        return drop(stream.shutdown(Shutdown::Both));
    }
    let rest = match header == V2 {
        true => {
            let mut fixed = [0; 4];
            let length = stream.read_exact(&mut fixed).map(|()| u16::from_be_bytes([fixed[2], fixed[3]]));
            let mut rest = vec![0; length.unwrap_or_default().into()];
            stream.read_exact(&mut rest).is_ok()
        }
        false => {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && byte != *b"\n" {}
            true
        }
    };
    if rest {
        web(stream, "behind");
    }
}

fn serves_tls(authority: &Authority, name: &str, members: bool) -> Arc<ServerConfig> {
    let pair = authority.pair(name);
    let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let builder = match members {
        false => ServerConfig::builder().with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn over_tls(stream: TcpStream, config: &Arc<ServerConfig>) {
    web(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream), "web");
}

fn answers() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut datagram = [0; 100];
        while let Ok((length, client)) = socket.recv_from(&mut datagram) {
            if datagram[..length].starts_with(b"question") {
                drop(socket.send_to(b"answer", client));
            }
        }
    });
    addr
}
