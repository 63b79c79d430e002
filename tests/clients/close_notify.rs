//! TLS that ends with FIN alone, without `close_notify`: each end goes on as it came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::daemon::*;
use super::pki::{self, Authority, Client};
use super::terminate::line_with;
use crate::harness::instance::*;

const PAGE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nthe page\n";

/// A server's end with TLS.
type Server = StreamOwned<ServerConnection, TcpStream>;

/// A proxy with one route, an authority, and the server behind it.
struct World {
    place: Place,
    port: Port,
    authority: Authority,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    portway: Portway,
}

/// On which sides of the route there is TLS.
#[derive(Clone, Copy)]
struct Sides {
    client: bool,
    upstream: bool,
}

impl World {
    fn new(sides: Sides) -> World {
        let (authority, port) = (Authority::new(), Port::reserve());
        let pair = authority.pair("localhost");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let mut tls = Vec::new();
        if sides.client {
            tls.push("cert = \"app.pem\", key = \"app.key\"");
        }
        if sides.upstream {
            tls.push("upstream = { ca = \"ca.pem\", server_name = \"localhost\" }");
        }
        let place = Place::with("");
        let text = format!(
            "[log]\nformat = \"json\"\naccess = \"{}\"\n[[route]]\nname = \"app\"\nlisten = \"{}\"\n\
             upstream = \"{}\"\ntls = {{ {} }}\n",
            place.root().join("access.log").display(),
            port.local(),
            listener.local_addr().unwrap(),
            tls.join(", ")
        );
        place.save(&text);
        pair.write(&place.folder(), "app");
        std::fs::write(place.folder().join("ca.pem"), authority.pem()).unwrap();
        let portway = Portway::run(&place.file());
        World { place, port, authority, listener, config: Arc::new(config), portway }
    }

    fn plain_client(&self) -> TcpStream {
        let client = TcpStream::connect(self.port.local()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn tls_client(&self) -> Client {
        pki::begin(self.port.number, &self.authority.trust(), "localhost").unwrap()
    }

    fn plain_server(&self) -> TcpStream {
        let (server, _) = self.listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server
    }

    /// The client begins before it is accepted: the handshake with Portway is done without it.
    fn tls_server(&self) -> Server {
        accept(&self.listener, &self.config)
    }

    /// The line of the access log with this outcome, which must have this detail.
    fn ends(self, outcome: &str, detail: &str) {
        let line = line_with(&self.access(), outcome);
        assert!(line.contains(detail), "{line}");
        self.portway.stop();
    }

    fn access(&self) -> PathBuf {
        self.place.root().join("access.log")
    }
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) -> Server {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
}

/// What comes until the end, which must be a FIN: a reset is an error.
fn all(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("an end without an error");
    bytes
}

/// What comes until the end, which must be a FIN without `close_notify`: rustls says so.
fn all_of_truncated(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = from.read_to_end(&mut bytes).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::UnexpectedEof));
    bytes
}

/// Serves one request as HTTP/1.0 servers do: the end of the page is the end of the connection. `tail`: raw bytes of a
/// record that does not come whole.
fn serve(server: &mut Server, tail: &[u8]) {
    let mut request = [0; 4];
    server.read_exact(&mut request).unwrap();
    server.write_all(PAGE).unwrap();
    server.sock.write_all(tail).unwrap();
    server.sock.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn r12_of_the_upstream_is_a_fin_for_a_plain_client() {
    for tail in [&b""[..], &[23, 3, 3, 1, 0, 7, 7]] {
        let world = World::new(Sides { client: false, upstream: true });
        let mut client = world.plain_client();
        client.write_all(b"GET\n").unwrap();
        let mut server = world.tls_server();
        serve(&mut server, tail);
        assert_eq!(all(&mut client), PAGE);
        // The other direction is still open, and ends as it does without a proxy.
        client.write_all(b"more").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all(&mut server), b"");
        drop((client, server));
        world.ends("upstream-closed", "TLS of the upstream: no close_notify");
    }
}

#[test]
fn r12_of_the_upstream_is_a_fin_without_close_notify_for_a_client_with_tls() {
    let world = World::new(Sides { client: true, upstream: true });
    let mut client = world.tls_client();
    client.write_all(b"GET\n").unwrap();
    let mut server = world.tls_server();
    serve(&mut server, b"");
    assert_eq!(all_of_truncated(&mut client), PAGE);
    client.write_all(b"more").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    // The client has said its end: so does Portway for it.
    assert_eq!(all(&mut server), b"");
    drop((client, server));
    world.ends("upstream-closed", "TLS of the upstream: no close_notify");
}

#[test]
fn r12_of_the_client_is_a_fin_for_a_plain_upstream() {
    let world = World::new(Sides { client: true, upstream: false });
    let mut client = world.tls_client();
    client.write_all(b"half of a message").unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let mut server = world.plain_server();
    assert_eq!(all(&mut server), b"half of a message");
    server.write_all(PAGE).unwrap();
    drop(server);
    // A plain FIN is all that a server without TLS can say: for the client it is an announced end.
    assert_eq!(all(&mut client), PAGE);
    drop(client);
    world.ends("client-closed", "TLS of the client: no close_notify");
}

#[test]
fn r12_of_the_client_is_a_fin_without_close_notify_for_an_upstream_with_tls() {
    let world = World::new(Sides { client: true, upstream: true });
    let mut client = world.tls_client();
    client.write_all(b"half of a message").unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let mut server = world.tls_server();
    assert_eq!(all_of_truncated(&mut server), b"half of a message");
    server.write_all(PAGE).unwrap();
    server.conn.send_close_notify();
    server.flush().unwrap();
    server.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all(&mut client), PAGE);
    drop((client, server));
    world.ends("client-closed", "TLS of the client: no close_notify");
}

/// A check of an upstream reads through the same end.
#[test]
fn r12_a_check_takes_the_answer_before_such_an_end() {
    let world = World::new(Sides { client: false, upstream: true });
    let text = std::fs::read_to_string(world.place.file()).unwrap();
    let mut world = world;
    world
        .place
        .save(&format!("{text}health = {{ send = \"GET\\n\", expect = \"404\", interval = \"1h\" }}\n"));
    let mut server = world.tls_server();
    serve(&mut server, b"");
    let down = world.portway.phase("upstream is down: its check fails");
    assert!(down["error"].as_str().unwrap().contains("it answered \"HTTP/1.0 200 OK"), "{down}");
    drop(server);
    world.portway.stop();
}

/// The same server behind HAProxy, and curl, which fails at a reset (56).
#[test]
fn r12_curl_has_the_page_as_through_haproxy() {
    if !can("curl and haproxy", has("curl") && has("haproxy")) {
        return;
    }
    let world = World::new(Sides { client: false, upstream: true });
    let [beside] = ports();
    let server = world.listener.local_addr().unwrap();
    let sections =
        format!("listen app\n mode tcp\n bind {}\n server s {server} ssl verify none\n", beside.local());
    // Its own check that it listens comes to the server as a connection that is silent.
    let daemon = haproxy(&world.place.folder(), &sections, &[&beside]);
    let asked = |port: &Port| {
        let curl = Command::new("curl")
            .args(["--silent", "--show-error", "--http1.0", "--max-time", "30"])
            .arg(format!("http://{}/", port.local()))
            .output()
            .unwrap();
        (curl.status.code(), String::from_utf8_lossy(&[curl.stdout, curl.stderr].concat()).into_owned())
    };
    std::thread::scope(|all| {
        let (listener, config) = (&world.listener, &world.config);
        let served = all.spawn(move || {
            let mut left = 2;
            while left > 0 {
                let mut server = accept(listener, config);
                let mut request = [0; 4];
                if server.read_exact(&mut request).is_ok() {
                    drop(server.read(&mut [0; 1024]));
                    server.write_all(PAGE).unwrap();
                    server.sock.shutdown(Shutdown::Write).unwrap();
                    left -= 1;
                }
            }
        });
        let wanted = (Some(0), "the page\n".to_owned());
        assert_eq!(asked(&world.port), wanted, "through Portway");
        assert_eq!(asked(&beside), wanted, "through HAProxy");
        served.join().unwrap();
    });
    drop(daemon);
    world.portway.stop();
}
