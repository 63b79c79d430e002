//! TLS that begins at Portway: what is verified, what is said when it fails, and who is tried then.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::pki::{Authority, Pair};
use super::terminate::line_with;
use crate::harness::instance::{Flow, Place, Port, Portway, reached};

/// A server with this certificate, which says its name to each client, and wants a certificate of `clients`. Its address.
fn server(name: &'static str, pair: &Pair, clients: Option<&Authority>) -> String {
    let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
    };
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || serve(name, stream, config));
        }
    });
    addr
}

fn serve(name: &str, stream: TcpStream, config: Arc<ServerConfig>) {
    use std::io::{Read, Write};
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    // The test sees at the other end whatever goes wrong here.
    drop(stream.write_all(format!("{name}\n").as_bytes()));
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    stream.conn.send_close_notify();
    drop(stream.flush());
}

/// A server that speaks another protocol.
fn plain() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        use std::io::Write;
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(b"SSH-2.0-server\r\n"));
        }
    });
    addr
}

fn route(port: &Port, upstream: &str, more: &str) -> String {
    let listen = port.local();
    format!("[[route]]\nname = \"{listen}\"\nlisten = \"{listen}\"\nupstream = {upstream}\n{more}")
}

#[test]
fn only_the_right_server_is_reached_and_each_failure_says_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = server("good", &authority.pair("db.internal"), None);
    let mutual = server("mutual", &authority.pair("db.internal"), Some(&stranger));
    let cases = [
        (server("x", &authority.pair_until("db.internal", 2020), None), "its certificate expired "),
        (
            server("x", &stranger.pair("db.internal"), None),
            "its certificate comes from an authority that is not trusted",
        ),
        (
            server("x", &authority.pair("other.internal"), None),
            "its certificate is for other.internal, not for db.internal",
        ),
        (
            server("x", &authority.itself(), None),
            "its certificate is an authority's own, and none of a server",
        ),
        (plain(), "it does not speak TLS: it sent \\\"SSH-2.0-server"),
    ];
    let ports: Vec<Port> = (0..cases.len() + 3).map(|_| Port::reserve()).collect();
    let tls = "tls = { upstream = { ca = \"ca.pem\", server_name = \"db.internal\" } }\nconnect_timeout = \"40s\"\n";
    let mut text = String::new();
    for ((upstream, _), port) in cases.iter().zip(&ports) {
        text.push_str(&route(port, &format!("\"{upstream}\""), tls));
    }
    let [fine, over, shown] = &ports[cases.len()..] else { unreachable!() };
    text.push_str(&route(fine, &format!("\"{good}\""), tls));
    let both = format!("[\"{}\", \"{good}\"]\nbalance = \"first\"", cases[1].0);
    text.push_str(&route(over, &both, &format!("{tls}health = {{ interval = \"5s\", timeout = \"5s\" }}\n")));
    let tls = "tls = { upstream = { ca = \"ca.pem\", server_name = \"db.internal\", cert = \"me.pem\", key = \"me.key\" } }\nconnect_timeout = \"40s\"\n";
    text.push_str(&route(shown, &format!("\"{mutual}\""), tls));
    let place = Place::with("");
    let access = place.root().join("access.log");
    place.save(&format!("[log]\nformat = \"json\"\naccess = \"{}\"\n{text}", access.display()));
    std::fs::write(place.folder().join("ca.pem"), authority.pem()).unwrap();
    stranger.pair("portway").write(&place.folder(), "me");
    let mut portway = Portway::run(&place.file());

    for ((upstream, wanted), port) in cases.iter().zip(&ports) {
        assert!(Flow::try_open(port.number).is_err());
        let line = line_with(&access, &format!("\"route\":\"{}\"", port.local()));
        assert!(line.contains("connect-failed"), "{line}");
        assert!(line.contains(&format!("{upstream}: TLS: {wanted}")), "{wanted}: {line}");
    }
    let mut flow = Flow::open(fine.number);
    assert_eq!(flow.reached, "good");
    flow.ping().unwrap();
    drop(flow);
    assert_eq!(reached(over.number), "good", "the next one was not tried");
    let down = portway.phase("upstream is down: its check fails");
    assert!(down["error"].as_str().unwrap().contains("TLS: its certificate comes from"), "{down}");
    let mut flow = Flow::open(shown.number);
    assert_eq!(flow.reached, "mutual");
    flow.ping().unwrap();
    drop(flow);
    portway.stop();
}

/// `upstream = true`: the system's authorities, and the name as the file has it.
#[test]
fn the_systems_authorities_are_trusted_and_the_name_of_the_upstream_is_the_servers() {
    let authority = Authority::new();
    let (good, other) = (
        server("good", &authority.pair("localhost"), None),
        server("other", &authority.pair("db.internal"), None),
    );
    let ports = [Port::reserve(), Port::reserve()];
    let place = Place::with("");
    let access = place.root().join("access.log");
    let mut text = format!("[log]\nformat = \"json\"\naccess = \"{}\"\n", access.display());
    for (port, upstream) in ports.iter().zip([&good, &other]) {
        let upstream = upstream.replace("127.0.0.1", "localhost");
        text.push_str(&route(port, &format!("\"{upstream}\""), "tls = { upstream = true }\n"));
    }
    place.save(&text);
    let roots = place.folder().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let portway = Portway::start(
        std::process::Command::new(crate::harness::instance::PORTWAY)
            .args(["run", "--config"])
            .arg(place.file())
            .env("SSL_CERT_FILE", &roots)
            .env_remove("SSL_CERT_DIR"),
    );
    assert_eq!(reached(ports[0].number), "good");
    assert!(Flow::try_open(ports[1].number).is_err());
    let line = line_with(&access, &format!("\"route\":\"{}\"", ports[1].local()));
    assert!(line.contains("its certificate is for db.internal, not for localhost"), "{line}");
    portway.stop();
}
