//! TLS that ends at Portway, with real clients: curl, `openssl s_client`, and rustls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::*;
use super::pki::Authority;
use crate::harness::header;
use crate::harness::instance::*;

/// A route at which TLS ends, and who signed its certificate.
fn scene(more: &str, tls: &str, upstream: &str) -> (Place, Port, Authority) {
    let (authority, port) = (Authority::new(), Port::reserve());
    let place = Place::with(&format!(
        "{HEAD}[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = \"{upstream}\"\n\
         tls = {{ cert = \"app.pem\", key = \"app.key\"{tls} }}\n{more}",
        port.local()
    ));
    authority.pair("localhost").write(&place.folder(), "app");
    std::fs::write(place.folder().join("ca.pem"), authority.pem()).unwrap();
    (place, port, authority)
}

/// What `openssl s_client` says, which sends a line and waits for it to come back.
fn s_client(port: &Port, folder: &Path, options: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &port.local(), "-CAfile", "ca.pem", "-servername", "localhost"])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    drop(input.write_all(b"hello there\n"));
    let mut output = child.stdout.take().unwrap();
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    let sessions = |said: &[u8]| String::from_utf8_lossy(said).matches("hello there").count();
    loop {
        let n = output.read(&mut part).unwrap();
        said.extend_from_slice(&part[..n]);
        if n == 0 || sessions(&said) > 0 {
            break;
        }
    }
    drop(input);
    drop(output.read_to_end(&mut said));
    drop(child.stderr.take().unwrap().read_to_end(&mut said));
    child.wait().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn openssl_is_served_both_versions_resumes_and_shows_its_certificate() {
    if !can("openssl", has("openssl")) {
        return;
    }
    let backend = Backend::named("app");
    let (place, port, authority) = scene("alpn = [\"h2\", \"http/1.1\"]\n", "", &backend.addr.to_string());
    let portway = Portway::run(&place.file());
    let folder = place.folder();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let first = s_client(&port, &folder, &[version, "-sess_out", "session", "-alpn", "http/1.1,h2"]);
        assert!(first.contains(&format!("New, {name}")), "{first}");
        assert!(first.contains("Verify return code: 0 (ok)"), "{first}");
        assert!(first.contains("ALPN protocol: h2"), "{first}");
        let again = s_client(&port, &folder, &[version, "-sess_in", "session"]);
        assert!(again.contains(&format!("Reused, {name}")), "{again}");
        assert!(again.contains("No ALPN negotiated") && again.contains("hello there"), "{again}");
    }
    let old = s_client(&port, &folder, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(old.contains("alert handshake failure") || old.contains("alert protocol version"), "{old}");
    let other = s_client(&port, &folder, &["-alpn", "spdy/3"]);
    assert!(other.contains("SSL alert number 120"), "{other}");
    portway.stop();

    // With certificates of clients.
    let (place, port, server) = scene("", ", client_ca = \"clients.pem\"", &backend.addr.to_string());
    std::fs::write(place.folder().join("clients.pem"), authority.pem()).unwrap();
    authority.pair("device 7").write(&place.folder(), "device");
    server.pair("stranger").write(&place.folder(), "stranger");
    let portway = Portway::run(&place.file());
    for version in ["-tls1_2", "-tls1_3"] {
        let known = s_client(&port, &place.folder(), &[version, "-cert", "device.pem", "-key", "device.key"]);
        assert!(known.contains("hello there"), "{known}");
        let stranger = ["-cert", "stranger.pem", "-key", "stranger.key"];
        let stranger = s_client(&port, &place.folder(), &[&[version][..], &stranger].concat());
        assert!(stranger.contains("alert unknown ca") && !stranger.contains("hello there"), "{stranger}");
        let nobody = s_client(&port, &place.folder(), &[version]);
        let alert = ["alert certificate required", "alert handshake failure", "alert bad certificate"];
        assert!(alert.iter().any(|alert| nobody.contains(alert)), "{nobody}");
        assert!(!nobody.contains("hello there"), "{nobody}");
    }
    portway.stop();
}

#[test]
fn curl_is_served_beside_a_name_that_passes_through() {
    if !can("curl and nginx", has("curl") && has("nginx") && has("openssl")) {
        return;
    }
    let [behind, passed] = ports();
    let (place, port, _) = scene("", "", &behind.local());
    let text = std::fs::read_to_string(place.file()).unwrap();
    place.save(&format!(
        "{text}[[route]]\nname = \"passed\"\nlisten = \"{}\"\nupstream = \"{}\"\nsni = \"passed.example\"\n",
        port.local(),
        passed.local()
    ));
    let other = Authority::new();
    other.pair("passed.example").write(&place.folder(), "passed");
    std::fs::write(place.folder().join("other.pem"), other.pem()).unwrap();
    let conf = format!(
        "http {{ access_log off; server {{ listen {}; location / {{ return 200 \"ended here\"; }} }}\n\
         server {{ listen {} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate passed.pem; ssl_certificate_key passed.key; \
         location / {{ return 200 \"passed through\"; }} }} }}\n",
        behind.local(),
        passed.local()
    );
    let nginx = nginx(&place.folder(), &conf, &[&behind, &passed]);
    let portway = Portway::run(&place.file());
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        for (name, ca, wanted) in
            [("localhost", "ca.pem", "ended here"), ("passed.example", "other.pem", "passed through")]
        {
            let curl = Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "20", "--cacert", ca])
                .args(["--resolve", &format!("{name}:{}:127.0.0.1", port.number)])
                .args(version)
                .arg(format!("https://{name}:{}/", port.number))
                .current_dir(place.folder())
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&[curl.stdout, curl.stderr].concat()).into_owned();
            assert_eq!(words, wanted, "{name} {version:?}");
        }
    }
    drop(nginx);
    portway.stop();
}

#[test]
fn the_upstream_hears_of_the_clients_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let more = "proxy_protocol = { accept = true, trusted = \"127.0.0.0/8\", untrusted = \"plain\", send = \"v2\" }\n";
    let (place, port, server) = scene(more, ", client_ca = \"clients.pem\"", &upstream);
    let clients = Authority::new();
    std::fs::write(place.folder().join("clients.pem"), clients.pem()).unwrap();
    let portway = Portway::run(&place.file());
    let device = server.trust_as(&clients.pair("device 7"));
    for earlier in [false, true] {
        // A header, and TLS behind it.
        let mut stream = TcpStream::connect(port.local()).unwrap();
        stream.write_all(b"PROXY TCP4 198.51.100.7 192.0.2.1 1111 443\r\n").unwrap();
        let mut connection =
            rustls::ClientConnection::new(device.clone(), "localhost".try_into().unwrap()).unwrap();
        connection.complete_io(&mut stream).unwrap();
        let mut client = rustls::StreamOwned::new(connection, stream);
        client.write_all(b"hello").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let (header, length) = loop {
            let mut part = [0; 512];
            let n = server.read(&mut part).unwrap();
            bytes.extend_from_slice(&part[..n]);
            if let Some(parsed) = header::read(&bytes) {
                break parsed;
            }
        };
        bytes.drain(..length);
        let mut rest = vec![0; 5 - bytes.len()];
        server.read_exact(&mut rest).unwrap();
        assert_eq!([bytes, rest].concat(), b"hello");
        assert_eq!(header.notes[&header::AUTHORITY], b"localhost");
        let (flags, more) = header.notes[&header::SSL].split_first().unwrap();
        // TLS, a certificate of this connection, and one of the session; and that it was verified.
        assert_eq!((*flags, &more[..4]), (if earlier { 0b101 } else { 0b111 }, [0; 4].as_slice()));
        let wanted: [(u8, &[u8]); 3] =
            [(0x21, b"TLSv1.3"), (0x22, b"device 7"), (0x23, b"TLS_AES_256_GCM_SHA384")];
        let wanted = wanted.map(|(kind, value)| (kind, value.to_vec())).into();
        assert_eq!(header::notes_of(&more[4..]), wanted);
        // The client reads its ticket with this.
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
    }
    portway.stop();
}

#[test]
fn who_does_not_begin_tls_is_told_so_or_ends_in_time() {
    let backend = Backend::named("app");
    let (place, port, _) = scene("sniff_timeout = \"1s\"\n", "", &backend.addr.to_string());
    let access = place.root().join("access.log");
    let text = std::fs::read_to_string(place.file()).unwrap();
    place.save(&text.replace("access = \"off\"", &format!("access = \"{}\"", access.display())));
    let portway = Portway::run(&place.file());
    let mut client = TcpStream::connect(port.local()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut alert = Vec::new();
    client.read_to_end(&mut alert).unwrap();
    // Alert, fatal.
    assert_eq!((alert[0], alert[5]), (21, 2), "{alert:?}");
    drop(client);
    let line = line_with(&access, "bad-tls");
    assert!(line.contains("the client: it does not speak TLS: it sent"), "{line}");
    let (mut client, begun) = (TcpStream::connect(port.local()).unwrap(), Instant::now());
    client.write_all(&[22, 3, 1]).unwrap();
    drop(client.read(&mut [0; 1]));
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    let line = line_with(&access, "did not end in time");
    assert!(line.contains("bad-tls"), "{line}");
    portway.stop();
}

/// The line of the access log that has this in it, once it is there.
pub fn line_with(access: &Path, wanted: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(access).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains(wanted)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no line with {wanted} in {text}");
        pass(Duration::from_millis(5));
    }
}
