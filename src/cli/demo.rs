//! `portway demo`: two backends and a proxy in front of them, from a file that a person can edit.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio_util::sync::CancellationToken;

use super::whoami::{Options, Whoami};
use crate::model::ListenAddr;
use crate::server::run;
use crate::server::start::Source;
use crate::tasks::Scope;

/// Try it: two built-in backends and a proxy in front of them, from a file that you can edit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portway demo\nIt says what to type in another terminal. Ctrl-C ends it.")]
pub struct Args {}

/// Runs until a signal or a request stops it, and removes its file.
pub fn run(_: Args) -> ExitCode {
    match Demo::set_up() {
        Ok(demo) => {
            let code =
                super::run::exit(run::main(Source::File(demo.file.clone(), None), None, crate::admin::serve));
            demo.tear_down();
            code
        }
        Err(error) => {
            // If standard error is gone, the exit code is all that can be said.
            writeln!(io::stderr().lock(), "error: the demo cannot start: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    file: PathBuf,
    backends: Backends,
}

impl Demo {
    fn set_up() -> io::Result<Demo> {
        let backends = Backends::start(["one", "two"])?;
        let port = free_port()?;
        let udp = free_udp_port(port)?;
        let file = new_file(&text(port, udp, &backends))?;
        let demo = Demo { file, backends };
        let mut stdout = io::stdout().lock();
        stdout.write_all(demo.introduction(port, udp).as_bytes())?;
        stdout.flush()?;
        Ok(demo)
    }

    fn introduction(&self, port: u16, udp: u16) -> String {
        let [one, two] = &self.backends.addrs;
        let file = self.file.display();
        let program = program();
        format!(
            "\
Two backends:   one at {one}, two at {two}
The routes:     {file}
The proxy:      127.0.0.1:{port}, which forwards to one; by UDP 127.0.0.1:{udp}, which forwards to two

In another terminal:

  echo hello | {program} probe 127.0.0.1:{port}    # one answers; so it does in a browser, http://127.0.0.1:{port}/

  sed -i 's/{one}/{two}/' {file}    # edit the route: two answers the next connection
  echo hello | {program} probe 127.0.0.1:{port}

  echo hello | {program} probe --udp 127.0.0.1:{udp}    # by UDP: each client is a session of its own

  echo 'upstreem = 1' >> {file}    # a bad edit: read below what is wrong; nothing changes
  sed -i '$d' {file}    # mended

Or open the file in your editor. What Portway does and why stands below, and so does each connection when it has
ended. Ctrl-C ends it.

"
        )
    }

    fn tear_down(self) {
        self.backends.stop();
        // It is only the demo's file: no harm is done if somebody has removed it already.
        drop(std::fs::remove_file(&self.file));
    }
}

fn text(port: u16, udp: u16, backends: &Backends) -> String {
    let [one, two] = &backends.addrs;
    format!(
        "\
# The routes of the demo. Edit and save: the running proxy takes it over.

[[route]]
name     = \"hello\"
listen   = \"127.0.0.1:{port}\"
upstream = \"{one}\"    # \"{two}\" is the other backend; [\"{one}\", \"{two}\"] tries both in turn

[[route]]
name         = \"hello-udp\"
protocol     = \"udp\"
listen       = \"127.0.0.1:{udp}\"
upstream     = \"{two}\"
idle_timeout = \"10s\"
"
    )
}

/// Writes a new file: here, where it is easy to find; else among the temporary files.
fn new_file(text: &str) -> io::Result<PathBuf> {
    let named =
        |number| if number == 1 { "portway-demo.toml".into() } else { format!("portway-demo-{number}.toml") };
    let here = (1..10).map(|number| PathBuf::from(named(number)));
    let elsewhere = (1..100).map(|number| std::env::temp_dir().join(named(number)));
    let mut error = None;
    for path in here.chain(elsewhere) {
        match File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => return Ok(path),
            Err(failed) => error = Some(failed),
        }
    }
    Err(error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// How the reader can run this very program.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "portway".into());
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| path.strip_prefix(here).map(|rest| Path::new(".").join(rest)).ok());
    short.unwrap_or(path).display().to_string()
}

/// 8080 or one of the next, if free: a number that is easy to type. Else any.
fn free_port() -> io::Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let found = (8080..8090).find_map(|port| free(port).ok()).map_or_else(|| free(0), Ok)?;
    Ok(found.local_addr()?.port())
}

/// The same number for UDP, if free; else any.
fn free_udp_port(port: u16) -> io::Result<u16> {
    let free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
    Ok(free(port).or_else(|_| free(0))?.local_addr()?.port())
}

/// The backends, on a thread of their own: what the proxy does to its threads does not affect them.
struct Backends {
    addrs: [String; 2],
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Backends {
    fn start(names: [&'static str; 2]) -> io::Result<Backends> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (send, receive) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("demo-backends".into()).spawn(move || {
            runtime.block_on(async move {
                let scope = Scope::new();
                let anywhere = || ListenAddr::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
                let bound = names.map(|name| Whoami::bind(Options::named(name, anywhere())));
                let addrs = bound.map(|whoami| {
                    whoami.map(|whoami| {
                        let addr = whoami.addr().to_string();
                        whoami.run(&scope, &scope);
                        addr
                    })
                });
                if send.send(addrs).is_ok() {
                    stopped.cancelled().await;
                }
                scope.kill();
            });
        })?;
        let [one, two] = receive.recv().map_err(io::Error::other)?;
        let addrs = [one.map_err(io::Error::other)?, two.map_err(io::Error::other)?];
        Ok(Backends { addrs, stop, thread })
    }

    fn stop(self) {
        self.stop.cancel();
        // It can only fail if the thread has panicked, which was shown.
        drop(self.thread.join());
    }
}
