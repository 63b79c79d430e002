//! What is meant to differ after an import: how a server's reset arrives.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::programs;
use crate::clients::daemon::Daemon;
use crate::harness::instance::*;

/// Resets whoever has said something.
fn resetting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // A client that only looks whether the program is there says nothing.
            if client.read(&mut [0; 16]).is_ok_and(|length| length > 0) {
                socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    });
    port
}

/// Whether the client is reset; else it sees a FIN.
fn is_reset(port: u16) -> bool {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"hello").unwrap();
    match client.read(&mut [0; 16]) {
        Ok(0) => false,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
        other => panic!("{other:?}"),
    }
}

type Start = fn(&Path, &str, &[&Port]) -> Daemon;
type Text = fn(u16, u16) -> String;

#[test]
fn a_servers_reset_arrives_as_one_and_behind_the_others_as_a_fin() {
    let server = resetting();
    let port = Port::reserve();
    let text = format!("{HEAD}[[route]]\nlisten = \"{}\"\nupstream = \"127.0.0.1:{server}\"\n", port.local());
    let place = Place::with(&text);
    let portway = Portway::run(&place.file());
    assert!(is_reset(port.number));
    portway.stop();
    let others: [(&str, Start, Text); 3] = [
        ("nginx", programs::nginx, |listen, to| {
            format!("stream {{ server {{ listen 127.0.0.1:{listen}; proxy_pass 127.0.0.1:{to}; }} }}\n")
        }),
        ("haproxy", programs::haproxy, |listen, to| {
            format!("listen app\n mode tcp\n bind 127.0.0.1:{listen}\n server s 127.0.0.1:{to}\n")
        }),
        ("rinetd", programs::rinetd, |listen, to| format!("allow *\n127.0.0.1 {listen} 127.0.0.1 {to}\n")),
    ];
    for (program, start, text) in others {
        if lacks(&[program]) {
            continue;
        }
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let _running = start(dir.path(), &text(port.number, server), &[&port]);
        assert!(!is_reset(port.number), "{program}");
    }
}
