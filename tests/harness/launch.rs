//! Starts the program as an init system would, and watches it from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use super::{PATIENCE, PORTWAY, lacks, lacks_root, until};

/// A program to be started.
#[derive(Default)]
pub struct Launch {
    sockets: Vec<OwnedFd>,
    outside: Vec<String>,
    prelude: String,
    inside: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Launch {
    pub fn forward(listen: &str, upstream: &str) -> Launch {
        Launch::default().args(&["forward", listen, upstream])
    }

    /// One route on a socket of port 0 that the program inherits. Its address is the second value.
    pub fn on_free_port(upstream: &str) -> (Launch, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        // std's queue is short.
        rustix::net::listen(&socket, 4096).unwrap();
        let addr = socket.local_addr().unwrap();
        (Launch::forward(&addr.to_string(), upstream).inherit(socket), addr)
    }

    pub fn args(mut self, args: &[&str]) -> Launch {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Passes a socket on by the protocol of sd_listen_fds(3). At most two.
    pub fn inherit(mut self, socket: impl Into<OwnedFd>) -> Launch {
        self.sockets.push(socket.into());
        self
    }

    /// Runs under another program that keeps the process id, for example `prlimit --nofile=64`.
    pub fn under(mut self, program: &[&str]) -> Launch {
        self.inside.extend(program.iter().map(ToString::to_string));
        self
    }

    /// Runs in namespaces of its own (`-m`, `-n`), after some shell commands.
    pub fn unshared(mut self, flags: &str, prelude: &str) -> Launch {
        self.outside = vec!["unshare".into(), flags.into()];
        self.prelude = prelude.into();
        self
    }

    pub fn start(self) -> Portway {
        let mut portway = self.start_with_stderr(Stdio::piped());
        let stderr = portway.child.stderr.take().unwrap();
        portway.lines.follow(stderr);
        portway
    }

    pub fn start_with_stderr(self, stderr: Stdio) -> Portway {
        let count = self.sockets.len();
        // Sockets travel as standard input and output, and move to 3 and 4.
        let moves = ["", "exec 3<&0 0</dev/null;", "exec 3<&0 4<&1 0</dev/null 1>/dev/null;"][count];
        let exec = if count == 0 {
            "exec \"$@\"".to_owned()
        } else {
            format!("LISTEN_FDS={count} LISTEN_PID=$$ exec \"$@\"")
        };
        let script = format!("{}\n{moves} {exec}", self.prelude);
        let mut words = self.outside;
        words.extend(["sh".into(), "-ec".into(), script, "sh".into()]);
        words.extend(self.inside);
        words.push(PORTWAY.into());
        words.extend(self.args);
        let mut sockets = self.sockets.into_iter().map(Stdio::from);
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDNAMES")
            .envs(self.env)
            .stdin(sockets.next().unwrap_or_else(Stdio::null))
            .stdout(sockets.next().unwrap_or_else(Stdio::null))
            .stderr(stderr)
            .spawn()
            .unwrap();
        Portway { child, lines: Lines::default() }
    }
}

/// A running program, killed when the test ends.
pub struct Portway {
    pub child: Child,
    /// What it wrote to standard error.
    pub lines: Lines,
}

impl Portway {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn ready(self) -> Portway {
        self.lines.wait_for(" ready ");
        self
    }

    pub fn signal(&self, signal: Signal) {
        super::proc::Process(self.child.id()).signal(signal);
    }

    pub fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        until("the program ends", || {
            started.elapsed() > PATIENCE || self.child.try_wait().unwrap().is_some()
        });
        let status = self.child.try_wait().unwrap().expect("the program ends");
        self.lines.wait_for_end();
        status
    }

    /// Processor time so far.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Portway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lines, as they come.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Seen>,
    news: Condvar,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    more_may_come: bool,
}

impl Lines {
    pub fn follow(&self, source: impl Read + Send + 'static) {
        let shared = self.shared.clone();
        shared.state.lock().unwrap().more_may_come = true;
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                shared.state.lock().unwrap().lines.push(line);
                shared.news.notify_all();
            }
            shared.state.lock().unwrap().more_may_come = false;
            shared.news.notify_all();
        });
    }

    pub fn all(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().lines.clone()
    }

    pub fn count(&self, needle: &str) -> usize {
        self.all().iter().filter(|line| line.contains(needle)).count()
    }

    /// The first line with this text in it.
    pub fn wait_for(&self, needle: &str) -> String {
        self.wait_while(|seen| !seen.lines.iter().any(|line| line.contains(needle)));
        let all = self.all();
        let found = all.iter().find(|line| line.contains(needle));
        found.unwrap_or_else(|| panic!("no `{needle}` in:\n{}", all.join("\n"))).clone()
    }

    pub fn wait_for_end(&self) {
        self.wait_while(|_| true);
    }

    fn wait_while(&self, go_on: impl Fn(&Seen) -> bool) {
        let seen = self.shared.state.lock().unwrap();
        let wait =
            self.shared.news.wait_timeout_while(seen, PATIENCE, |seen| seen.more_may_come && go_on(seen));
        drop(wait.unwrap());
    }
}

/// An upstream that sends back what it gets.
pub fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                drop(std::io::copy(&mut reader, &mut &stream));
            });
        }
    });
    addr
}

/// A client; an answer that takes too long fails the test.
pub fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// Sends a byte and waits for it to come back.
pub fn ping(client: &mut TcpStream) -> Duration {
    let started = Instant::now();
    client.write_all(b"!").unwrap();
    let mut answer = [0];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"!");
    started.elapsed()
}

/// One whole connection: a ping, and the end.
pub fn visit(addr: SocketAddr) {
    let mut client = connect(addr);
    ping(&mut client);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// A free port of a loopback address that nobody else uses: for tests that must bind by themselves.
pub fn own_address(test: u8) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 1 + test, high, low.clamp(1, 254));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}
