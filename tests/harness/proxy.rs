//! The program under test, as a process; and the gate that every test passes at its end: nothing may be left.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use socket2::Socket;
use tempfile::TempDir;

use super::proc::{CLOSE_WAIT, FIN_WAIT2, Process};
use super::tls::{PEMS, Tls};
use super::upstream::{Addr, Family};
use super::{Netns, Peer, comes_true, pass, until};

/// How long a proxy without connections may take to stop.
const STOP: Duration = Duration::from_secs(5);

/// A running `portway forward`.
pub struct Proxy {
    child: Child,
    /// As the kernel shows it.
    pub process: Process,
    /// Where it listens.
    pub addr: Addr,
    ready: BTreeMap<String, usize>,
    log: Arc<Mutex<Vec<String>>>,
    tls: bool,
    stopped: bool,
    _reserved: Option<Socket>,
    _dir: TempDir,
}

/// What to start.
pub struct Plan<'a> {
    listen: Family,
    address: Option<String>,
    unix: Option<PathBuf>,
    upstreams: Vec<String>,
    options: Vec<String>,
    netns: Option<&'a Netns>,
    under: Vec<String>,
    /// The client's TLS ends there; that of the server begins there.
    tls: (bool, bool),
}

impl<'a> Plan<'a> {
    /// With options of `portway forward`: the policy keys, with `--` before them.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().flat_map(|option| option.split(' ')).map(str::to_owned));
        self
    }

    /// Listening on another family's loopback address than IPv4's.
    pub fn listening_on(mut self, family: Family) -> Self {
        self.listen = family;
        self
    }

    /// Listening on an address as a person writes it, with `PORT` for a port that is free.
    pub fn listening_at(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    /// Listening at a Unix socket's path.
    pub fn listening_at_unix(mut self, path: &Path) -> Self {
        self.unix = Some(path.to_owned());
        self
    }

    /// In a network namespace, with its `/etc/hosts`.
    pub fn inside(mut self, netns: &'a Netns) -> Self {
        self.netns = Some(netns);
        self
    }

    /// Under a program that keeps its process id, for example `strace -D`.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With clients that speak TLS.
    pub fn ending_tls(mut self) -> Self {
        self.tls.0 = true;
        self
    }

    /// With a server that speaks TLS.
    pub fn beginning_tls(mut self) -> Self {
        self.tls.1 = true;
        self
    }

    /// Where it is to listen, and the socket that holds the port.
    fn reserve(&self, dir: &TempDir) -> (Option<Socket>, Addr) {
        match (&self.unix, self.netns) {
            (Some(path), _) => (None, Addr::Unix(path.clone())),
            (None, Some(netns)) => netns.enter(|| reserve(self.listen, dir)),
            (None, None) if matches!(self.address.as_deref(), Some("PORT" | "[::]:PORT")) => {
                reserve_everywhere()
            }
            (None, None) => reserve(self.listen, dir),
        }
    }

    /// Starts it, and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Proxy {
        let dir = tempfile::tempdir().unwrap();
        let (reserved, addr) = self.reserve(&dir);
        let listen = match &self.address {
            Some(text) => text.replace("PORT", &port(&addr).to_string()),
            None => addr.to_string(),
        };
        let mut words = self.under.iter().map(String::as_str).chain([super::PORTWAY]);
        let program = words.next().unwrap();
        let mut command = match self.netns {
            Some(netns) => netns.command(program),
            None => Command::new(program),
        };
        command
            .args(words)
            .args(["forward", "--log-format", "json", "--access-log", "stderr"])
            .args(&self.options)
            .args(tls_options(self.tls, &dir))
            .arg(listen)
            .args(&self.upstreams);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = collect(&mut child);
        let process = Process(child.id());
        let mut proxy = Proxy {
            child,
            process,
            addr,
            ready: BTreeMap::new(),
            log,
            tls: self.tls.0,
            stopped: false,
            _reserved: reserved,
            _dir: dir,
        };
        until("the proxy listens and handles signals", || {
            if let Ok(Some(status)) = proxy.child.try_wait() {
                panic!("the proxy ended at its start: {status}");
            }
            let says_so = proxy.log().iter().any(|line| line.contains(r#""message":"ready""#));
            says_so && process.catches(libc::SIGTERM) && process.catches(libc::SIGINT)
        });
        if self.tls.0 || self.tls.1 {
            // Its files are followed a moment later, by a thread with descriptors of its own.
            comes_true(Duration::from_secs(5), || process.has_thread("notify-rs"));
        }
        proxy.ready = process.fds();
        let is_name = |text: &String| text.starts_with(char::is_alphabetic) && !text.starts_with("unix:");
        if self.upstreams.iter().any(is_name) {
            // A name is looked up at the start, and then now and then: what that opens is not its own.
            for _ in 0..20 {
                pass(Duration::from_millis(10));
                let now = process.fds();
                proxy.ready.retain(|kind, _| now.contains_key(kind));
                for (kind, count) in &mut proxy.ready {
                    *count = (*count).min(now[kind]);
                }
            }
        }
        proxy
    }
}

fn tls_options((ends, begins): (bool, bool), dir: &TempDir) -> Vec<String> {
    let mut options = Vec::new();
    if ends || begins {
        let [ca, cert, key] = PEMS.write(dir.path()).map(|path| path.display().to_string());
        if ends {
            options.extend([format!("--set=tls.cert={cert}"), format!("--set=tls.key={key}")]);
        }
        if begins {
            let name = "--set=tls.upstream.server_name=localhost".to_owned();
            options.extend([format!("--set=tls.upstream.ca={ca}"), name]);
        }
    }
    options
}

fn port(addr: &Addr) -> u16 {
    match addr {
        Addr::Ip(addr) => addr.port(),
        Addr::Unix(_) => 0,
    }
}

/// A free address. The socket that is bound to it does not listen, and holds the port against every program that asks
/// for any port; Linux lets another socket bind beside it, because both say SO_REUSEADDR and only one listens.
fn reserve(family: Family, dir: &TempDir) -> (Option<Socket>, Addr) {
    let wanted = family.loopback(dir);
    let Addr::Ip(_) = wanted else { return (None, wanted) };
    let socket = wanted.socket();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&wanted.raw()).unwrap();
    let addr = Addr::Ip(socket.local_addr().unwrap().as_socket().unwrap());
    (Some(socket), addr)
}

/// A port that is free on every address of both families; its address of IPv4's loopback.
fn reserve_everywhere() -> (Option<Socket>, Addr) {
    let socket = Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_only_v6(false).unwrap();
    let any: std::net::SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, 0).into();
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (Some(socket), Addr::Ip((std::net::Ipv4Addr::LOCALHOST, port).into()))
}

/// Keeps what the program says: to be shown when a test fails, and so that it never waits for a reader.
fn collect(child: &mut Child) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (lines, to) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
    thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            to.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    log
}

impl Proxy {
    /// In front of one upstream.
    pub fn in_front_of<'a>(upstream: &Addr) -> Plan<'a> {
        Proxy::leading_to(&[&upstream.to_string()])
    }

    /// Leading to several upstreams, in this order, as a person writes them.
    pub fn leading_to<'a>(upstreams: &[&str]) -> Plan<'a> {
        Plan {
            listen: Family::V4,
            address: None,
            unix: None,
            upstreams: upstreams.iter().map(|&text| text.to_owned()).collect(),
            options: Vec::new(),
            netns: None,
            under: Vec::new(),
            tls: (false, false),
        }
    }

    /// A client that is connected to it.
    #[track_caller]
    pub fn connect(&self) -> Peer {
        let peer = self.addr.connect();
        if self.tls { peer.over(Tls::client).unwrap() } else { peer }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        port(&self.addr)
    }

    /// What it has said so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The access log's line about the connection that was the `n`th to end, from 0: waits for it.
    #[track_caller]
    pub fn record(&self, n: usize) -> serde_json::Value {
        let records = || {
            let lines = self.log().into_iter().filter_map(|line| serde_json::from_str(&line).ok());
            lines.filter(|line: &serde_json::Value| line.get("outcome").is_some()).collect::<Vec<_>>()
        };
        until("the connection is in the access log", || records().len() > n);
        records().swap_remove(n)
    }

    /// Waits until every connection is gone: the descriptors are those that it had at its start.
    #[track_caller]
    pub fn settles(&self) {
        let settled = comes_true(super::PATIENCE, || self.process.fds() == self.ready);
        assert!(settled, "left over: {:?}, at the start: {:?}", self.process.fds(), self.ready);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, which the test has brought about.
    #[track_caller]
    pub fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        comes_true(limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.stopped = true;
        status.unwrap_or_else(|| {
            let _ = self.child.kill();
            panic!("the proxy did not end in {limit:?}")
        })
    }

    /// The gate: no descriptor and no half-dead socket is left, nothing has panicked, and it stops at once with code 0.
    #[track_caller]
    pub fn finish(mut self) {
        self.gate();
    }

    #[track_caller]
    fn gate(&mut self) {
        if !self.stopped {
            self.settles();
            let half_dead = self.process.count(CLOSE_WAIT) + self.process.count(FIN_WAIT2);
            assert_eq!(half_dead, 0, "sockets in CLOSE-WAIT or FIN-WAIT-2: {:?}", self.process.tcp());
            self.signal(Signal::TERM);
            let status = self.ends_within(STOP);
            assert!(status.success(), "the proxy ended with {status}");
        }
        let log = self.log();
        assert!(!log.iter().any(|line| line.contains("panicked")), "a task panicked: {log:#?}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("the proxy said: {:#?}", self.log());
        } else {
            self.gate();
        }
    }
}
