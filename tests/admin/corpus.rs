//! The corpus of the fuzz target `requests`, to a proxy of its own: each is answered in HTTP or closed, and the next one too.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::asker::{socket, start};
use crate::harness::PATIENCE;
use std::io::{ErrorKind, Read, Write};

#[test]
fn the_corpus_of_requests_is_answered_or_refused() {
    let routes = "[[route]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nupstream = [\"127.0.0.1:9\", \"127.0.0.2:9\"]\n";
    let routes = routes.replace(":0\"", &format!(":{}\"", crate::harness::instance::Port::reserve().number));
    let (place, portway, asker) = start(&routes);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/requests");
    let mut answered = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let mut client = UnixStream::connect(socket(&place)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have refused the beginning.
        drop(
            client.write_all(&std::fs::read(&path).unwrap()).and_then(|()| client.shutdown(Shutdown::Write)),
        );
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer);
        let late =
            read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!late && (answer.is_empty() || answer.starts_with(b"HTTP/1.")));
        answered += u32::from(!answer.is_empty());
    }
    // Those of other protocols are closed without a word.
    assert!(answered >= 25, "only {answered} were answered");
    assert_eq!(asker.ask("GET", "/healthz", "").body, "ok\n");
    portway.stop();
}
