// Bytes to the admin endpoint of a proxy that runs in this process. Has a file of its own: it needs a socket.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use portway::server::run::main;
use portway::server::start::Source;

/// Calls that are not made: they end the process, or connect to wherever a text says (which has a target of its own).
const APART: [&str; 3] = ["/v1/drain", "/v1/upgrade", "/v1/plan"];
/// What no answer may hold.
const SECRET: &str = "nobody-shows-this-token";
/// How long an answer may take: the endpoint gives a head 5 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most that is read of the answers to one input.
const MOST: u64 = 16 << 20;

static SOCKET: LazyLock<PathBuf> = LazyLock::new(start);

/// Starts the proxy, which ends with this process.
fn start() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("portway-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, socket) = (folder.join("portway.toml"), folder.join("admin.sock"));
    let text = format!(
        "[admin]\nlisten = \"unix:{}\"\ntoken = \"{SECRET}\"\n[log]\nlevel = \"error\"\n\
         [[route]]\nname = \"web\"\nlisten = \"unix:{}\"\nupstream = [\"127.0.0.1:9\", \"127.0.0.2:9\"]\n",
        socket.display(),
        folder.join("web.sock").display()
    );
    std::fs::write(&file, text).unwrap();
    std::thread::spawn(move || main(Source::File(file, None), None, portway::admin::serve));
    let begun = std::time::Instant::now();
    while UnixStream::connect(&socket).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the proxy does not start");
        std::thread::yield_now();
    }
    socket
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Whatever comes, the endpoint answers in HTTP or closes, in time, and shows no token.
pub fn requests(bytes: &[u8]) {
    if APART.iter().any(|path| holds(bytes, path)) {
        return;
    }
    let mut client = UnixStream::connect(&*SOCKET).expect("the endpoint has gone");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    // It may have refused the beginning, and be gone.
    let _ = client.write_all(bytes).and_then(|()| client.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let read = client.take(MOST).read_to_end(&mut answer);
    let late = read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!late, "neither an answer nor an end within {PATIENCE:?}");
    let shown = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "no HTTP: {shown}");
    assert!(holds(bytes, SECRET) || !holds(&answer, SECRET), "a token is shown: {shown}");
}
