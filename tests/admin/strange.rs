//! What the commands say where no Portway answers, or none in time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use socket2::SockRef;

use super::asker::{Printed, portway};
use crate::harness::PATIENCE;
use crate::harness::instance::{Place, Port};

/// How a program that is no Portway treats a client.
type Treat = fn(TcpStream);

/// What a command says to a program that treats each client like this, once its request has come.
fn asked(args: &[&str], treat: Treat) -> Printed {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            // A client that has gone sees nothing of it.
            drop(stream.read(&mut request));
            treat(stream);
        }
    });
    let nothing = Place::with("");
    portway(&nothing.file(), &[args, &["--admin", &addr]].concat())
}

#[test]
fn s13_each_way_to_get_no_answer_has_its_words() {
    let cases: [(Treat, &str); 5] = [
        (drop, "no running Portway answers at 127.0.0.1:PORT: connection closed before message completed"),
        (
            |stream| SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap(),
            "no running Portway answers at 127.0.0.1:PORT: connection error: Connection reset by peer",
        ),
        (
            |mut stream| stream.write_all(b"SSH-2.0-OpenSSH_10.0\r\n").unwrap(),
            "127.0.0.1:PORT answers, but not as Portway does: this is no HTTP",
        ),
        (
            |mut stream| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").unwrap(),
            "127.0.0.1:PORT answers, but not as Portway does: the answer was cut off",
        ),
        (
            |mut stream| stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").unwrap(),
            "127.0.0.1:PORT answers, but not as Portway does: HTTP status 404",
        ),
    ];
    for (treat, words) in cases {
        let printed = asked(&["status"], treat);
        let (before, after) = words.split_once("PORT").unwrap_or((words, ""));
        assert!(printed.err.contains(before) && printed.err.contains(after), "{words}: {printed:?}");
        assert_eq!((printed.code, printed.out.as_str()), (1, ""), "{printed:?}");
        let said = printed.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(said, 1, "{printed:?}");
    }
    let gone = Port::reserve();
    let printed = portway(&Place::with("").file(), &["status", "--admin", &gone.local()]);
    assert!(
        printed.err.contains("Connection refused") && printed.err.contains("is it running"),
        "{printed:?}"
    );
}

#[test]
fn s13_a_token_that_http_cannot_carry_is_said_before_anybody_is_asked() {
    for token in ["two\nlines", "a\r\nX: y", "nul\u{1}"] {
        let printed =
            portway(&Place::with("").file(), &["status", "--admin", "127.0.0.1:9", "--token", token]);
        assert_eq!(printed.code, 2, "{printed:?}");
        assert!(printed.err.contains("has a character that HTTP cannot carry"), "{printed:?}");
        assert!(
            printed.err.contains("--token, $PORTWAY_TOKEN") && !printed.err.contains("lines"),
            "{printed:?}"
        );
    }
}

/// A process that is stopped (SIGSTOP, a paused container) takes connections all the same.
#[test]
fn s6_a_command_does_not_wait_for_ever() {
    let begun = Instant::now();
    let printed = asked(&["status"], |stream| {
        let mut stream = stream;
        drop(stream.read_to_end(&mut Vec::new()));
    });
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.err.contains("has not answered within 10 seconds"), "{printed:?}");
    assert!(printed.err.contains("help: it may be paused or overloaded"), "{printed:?}");
}
