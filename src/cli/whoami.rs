//! `portway whoami`: a diagnostic backend that says who it thinks the client is.
//!
//! One TCP port answers two kinds of client, told apart by the first line of a connection:
//! * `METHOD target HTTP/1.x` gets a small text page; the connection ends after it.
//! * Any other line comes back as `NAME[PEER]: line`, and so does each line after it. A line over 8 KiB comes back in
//!   pieces of that size, each as a line of its own; what comes before a FIN without a line end is a line too.
//!
//! A PROXY header (version 1 or 2) before all that is read, and shown: `NAME[CLIENT through PEER]: line`, and a line of the
//! page.
//!
//! UDP on the same port: each datagram comes back as `NAME[PEER]: payload`, or as it was if both do not fit into one
//! datagram. A Unix socket has the stream part only.
//!
//! It also runs inside another process, with [`Whoami::bind`] and [`Whoami::run`].

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::model::{ListenAddr, units};
use crate::net::Deadline;
use crate::server::orphans::Orphans;
use crate::tasks::Scope;

mod accept;
mod bind;
mod datagram;
mod header;
mod options;
mod talk;

pub use bind::BindError;
pub use options::Options;

/// How long open connections have to end by themselves after a stop signal.
const GRACE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  portway whoami --listen 127.0.0.1:9000
  curl http://127.0.0.1:9000/                      a page: request and addresses
  echo hi | portway probe 127.0.0.1:9000           whoami[127.0.0.1:51234]: hi
  echo hi | portway probe --udp 127.0.0.1:9000     the same by UDP

It prints `listening on ADDR (tcp, udp)` once it can be reached, and ends at SIGINT or SIGTERM with code 0.";

/// A diagnostic backend: says over TCP, HTTP and UDP who it thinks the client is
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// PORT (every address), 127.0.0.1:PORT, [::1]:PORT or unix:/path; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000", value_parser = bind::parse)]
    listen: ListenAddr,

    /// Echo every byte and datagram as it is, HTTP too: no prefix, no page
    #[arg(long, conflicts_with = "name")]
    raw: bool,

    /// Wait before each answer: page, line or datagram; with --raw once, before the first byte
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = delay)]
    delay: Duration,

    /// Put into every answer, to show which backend it came from
    #[arg(long, value_name = "TEXT", default_value = "whoami", value_parser = name)]
    name: String,
}

/// Runs the command. Ends at SIGINT or SIGTERM with code 0; code 1 if it cannot listen.
pub fn run(args: Args) -> ExitCode {
    let options = Options { listen: args.listen, raw: args.raw, delay: args.delay, name: args.name };
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BindError::from)
        .and_then(|runtime| runtime.block_on(serve(options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is gone, the exit code is all that can be said.
            writeln!(io::stderr().lock(), "error: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> Result<(), BindError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut orphans = Orphans::listen()?;
    let whoami = Whoami::bind(options)?;
    let mut stdout = io::stdout().lock();
    // Nobody needs to read it.
    writeln!(stdout, "listening on {whoami}").and_then(|()| stdout.flush()).ok();
    drop(stdout);

    let (accepting, talking) = (Scope::new(), Scope::new());
    whoami.run(&accepting, &talking);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        never = orphans.reap() => match never {},
    }
    accepting.kill();
    accepting.finished().await;
    talking.drain(Deadline::after(GRACE)).await;
    Ok(())
}

fn delay(text: &str) -> Result<Duration, String> {
    units::duration(text, Duration::ZERO).map_err(|error| format!("{error}: {}", error.help))
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(format!("a name has 1 to {NAME_MAX} bytes and no control characters"));
    }
    Ok(text.to_owned())
}

/// Longest name, in bytes: it goes into every answer.
const NAME_MAX: usize = 64;

/// A backend that is bound and not yet answering.
#[derive(Debug)]
pub struct Whoami {
    sockets: bind::Sockets,
    options: Arc<Options>,
}

impl Whoami {
    /// Binds its sockets. Must be called within a tokio runtime. Fails as the kernel does, and says what to do.
    pub fn bind(options: Options) -> Result<Whoami, BindError> {
        Ok(Whoami { sockets: bind::open(&options.listen)?, options: Arc::new(options) })
    }

    /// Where it listens, with the real port.
    pub fn addr(&self) -> &ListenAddr {
        &self.sockets.addr
    }

    /// Answers from now on. Tasks of `accepting` take connections and datagrams until that scope is killed; open
    /// connections, and answers that wait, are tasks of `talking`.
    pub fn run(self, accepting: &Scope, talking: &Scope) {
        if let Some(udp) = self.sockets.udp {
            accepting.spawn(datagram::answer(udp, Arc::clone(&self.options), talking.clone()));
        }
        accepting.spawn(accept::accept(self.sockets.stream, self.options, talking.clone()));
    }
}

impl std::fmt::Display for Whoami {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.addr() {
            ListenAddr::Any(port) => write!(f, "0.0.0.0:{port} and [::]:{port} (tcp, udp)"),
            ListenAddr::Ip(addr) => write!(f, "{addr} (tcp, udp)"),
            ListenAddr::Unix(path) => write!(f, "unix:{} (stream)", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn two_of_them_run_in_one_process_until_their_scope_is_drained() {
        let (accepting, talking) = (Scope::new(), Scope::new());
        for name in ["one", "two"] {
            let whoami = Whoami::bind(Options::named(name, bind::parse("127.0.0.1:0").unwrap())).unwrap();
            let addr = whoami.addr().to_string();
            whoami.run(&accepting, &talking);
            let mut client = BufReader::new(TcpStream::connect(&addr).await.unwrap());
            client.write_all(b"hello\n").await.unwrap();
            let mut answer = String::new();
            client.read_line(&mut answer).await.unwrap();
            assert_eq!(answer, format!("{name}[{}]: hello\n", client.get_ref().local_addr().unwrap()));
        }
        accepting.kill();
        accepting.finished().await;
        assert_eq!(talking.drain(Deadline::after(Duration::from_secs(60))).await, 0);
    }
}
