//! `[limits] memory`: while it is short nobody is cut, and newcomers wait until somebody leaves.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::instance::Place;
use crate::harness::launch::{Launch, PATIENCE, PORTWAY, echo, ping, until};
use crate::harness::raise_descriptor_limit;

/// A client from an address of its own.
fn client(address: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{address}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let client: TcpStream = socket.into();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Each connection of this way to relay has two buffers of 16 KiB from its first byte.
fn text(listen: SocketAddr, upstream: SocketAddr, memory: &str, admin: &str) -> String {
    format!(
        "[limits]\nmemory = \"{memory}\"\n[admin]\nlisten = \"unix:{admin}\"\n[log]\naccess = \"off\"\n\
         [[route]]\nname = \"r\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\nrelay = \"copy\"\n"
    )
}

#[test]
fn while_memory_is_short_those_who_are_in_go_on_and_one_leaves_for_one_to_come() {
    raise_descriptor_limit();
    let (listen, upstream) = (crate::harness::launch::own_address(9), echo());
    let place = Place::with("");
    let admin = place.root().join("admin.sock").display().to_string();
    std::fs::write(place.file(), text(listen, upstream, "24 MiB", &admin)).unwrap();
    let file = place.file().display().to_string();
    let portway = Launch::default().args(&["run", &file]).start().ready();
    let mut open = Vec::new();
    // Each from an address of its own: nobody has more than the others.
    while portway.lines.count("memory is short") == 0 {
        assert!(open.len() < 4000, "memory is never short");
        let number = open.len();
        let mut next = client(&format!("127.30.{}.{}", number / 250, 1 + number % 250), listen);
        // It may be the first that has to wait.
        next.set_read_timeout(Some(std::time::Duration::from_millis(1500))).unwrap();
        next.write_all(b"!").unwrap();
        match next.read(&mut [0]) {
            Ok(1) => open.push(next),
            _ => break,
        }
    }
    portway.lines.wait_for("memory is short");
    assert!(open.len() > 64, "only {} were admitted", open.len());
    let status = |wanted: &str| {
        let said =
            Command::new(PORTWAY).args(["status", "--json", "--admin", &format!("unix:{admin}")]).output();
        String::from_utf8(said.unwrap().stdout).unwrap().contains(wanted)
    };
    assert!(status("\"most\": 25165824") || status("\"most\":25165824"));
    let mut waiting = client("127.31.0.1", listen);
    waiting.write_all(b"!").unwrap();
    waiting.set_nonblocking(true).unwrap();
    for old in &mut open {
        old.set_read_timeout(Some(PATIENCE)).unwrap();
        ping(old);
    }
    assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it waits");
    drop(open.pop());
    drop(open.pop());
    let mut served = || matches!(waiting.read(&mut [0]), Ok(1));
    until("one has left, and the next is served", &mut served);
    std::fs::write(place.file(), text(listen, upstream, "off", &admin)).unwrap();
    portway.signal(Signal::HUP);
    portway.lines.wait_for("memory is free again");
    ping(&mut client("127.31.0.2", listen));
    assert_eq!(portway.lines.count("memory is short"), 1, "{:#?}", portway.lines.all());
}

#[test]
fn a_bound_that_is_too_small_still_admits_some() {
    let (listen, upstream) = (crate::harness::launch::own_address(10), echo());
    let place = Place::with("");
    let admin = place.root().join("admin.sock").display().to_string();
    std::fs::write(place.file(), text(listen, upstream, "16 MiB", &admin)).unwrap();
    let file = place.file().display().to_string();
    let portway = Launch::default().args(&["run", &file]).start().ready();
    let open: Vec<TcpStream> = (0..64).map(|_| client("127.0.0.1", listen)).collect();
    for mut client in open {
        ping(&mut client);
    }
    drop(portway);
}
