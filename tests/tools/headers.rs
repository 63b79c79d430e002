//! The PROXY header before what a client of `portway whoami` says.

use std::net::{TcpListener, TcpStream};

use super::whoami::assert_page;
use crate::harness::launch::Launch;
use crate::harness::tools::{Peer, Whoami};

/// O11: what a proxy tells of the client is shown, and is no line.
#[test]
fn o11_a_proxy_header_is_read_and_shown() {
    let whoami = Whoami::start(&[]);
    let v1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n".to_vec();
    // The signature, version 2 and PROXY, TCP over IPv4, 12 bytes of addresses.
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 7, 192, 0, 2, 1]);
    v2.extend([4711_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat());
    for (version, header) in [(1, v1), (2, v2)] {
        let mut client = whoami.connect();
        let peer = client.0.local_addr().unwrap();
        client.says([&*header, b"hello\nagain\n"].concat());
        let prefix = format!("whoami[203.0.113.7:4711 through {peer}]: ");
        client.hears(format!("{prefix}hello\n{prefix}again\n"));
        assert_eq!(client.ends().hears_all(), "");

        // In pieces, and before HTTP.
        let mut client = whoami.connect();
        client.0.set_nodelay(true).unwrap();
        for byte in &header {
            client.says([*byte]);
        }
        client.says("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let told = format!("proxy header: v{version}, 203.0.113.7:4711 to 192.0.2.1:443");
        let peer = format!("peer: {}", client.0.local_addr().unwrap());
        assert_page(&client.hears_all(), &["request: GET / HTTP/1.1", "host: h", &peer, &told]);

        let client = whoami.udp();
        if version == 2 {
            let datagram = [&*header, b"hello"].concat();
            client.send(&datagram).unwrap();
            let mut answer = [0; 200];
            let length = client.recv(&mut answer).unwrap();
            let expected =
                format!("whoami[203.0.113.7:4711 through {}]: hello", client.local_addr().unwrap());
            assert_eq!(String::from_utf8_lossy(&answer[..length]), expected);
        }
    }
    // A header that names nobody, and what only begins as a header.
    let mut client = whoami.connect();
    let peer = client.0.local_addr().unwrap();
    client
        .says("PROXY UNKNOWN\r\nhello\n")
        .hears(format!("whoami[{peer}, v1, UNKNOWN: no addresses]: hello\n"));
    for line in ["PROXY hello\n", "\r\n", "PRO\n"] {
        let mut client = whoami.connect();
        let prefix = client.prefix();
        client.says(line).hears(format!("{prefix}{line}"));
    }
}

/// O11: as Portway sends it.
#[test]
fn o11_the_header_that_portway_sends_is_shown() {
    let whoami = Whoami::start(&[]);
    for version in ["v1", "v2"] {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = front.local_addr().unwrap();
        let send = format!("proxy_protocol.send=\"{version}\"");
        let (upstream, listen) = (whoami.addr.to_string(), addr.to_string());
        let launch = Launch::forward(&listen, &upstream).args(&["--set", &send]).inherit(front);
        let _portway = launch.start().ready();
        let mut client = Peer(TcpStream::connect(addr).unwrap());
        let own = client.0.local_addr().unwrap();
        client.says("GET / HTTP/1.1\r\n\r\n");
        let page = client.hears_all();
        assert!(page.contains(&format!("proxy header: {version}, {own} to {addr}")), "{page}");
    }
}
