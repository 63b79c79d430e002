//! Starts Portway, reads its phases, talks through it, and checks at the end that nothing has leaked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

pub use super::pass;
pub use super::ports::Port;
pub use super::proc::{install, tool};
use super::successor::Successor;
pub use super::{Netns, PATIENCE, PORTWAY, can, has, is_root, lacks, lacks_root};

/// An upstream that says its name to everyone who connects, and then echoes.
pub struct Backend {
    pub addr: SocketAddr,
}

impl Backend {
    pub fn named(name: &str) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).listen(LONG_QUEUE).unwrap();
        let addr = listener.local_addr().unwrap();
        let greeting = format!("{name}\n");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let greeting = greeting.clone();
                std::thread::spawn(move || echo(stream, &greeting));
            }
        });
        Backend { addr }
    }
}

/// A queue longer than std's 128. Where it overflows the kernel answers with SYN cookies and forgets who has connected;
/// a client that waits for the server's greeting then waits for ever, without a proxy too.
pub const LONG_QUEUE: i32 = 4096;

fn echo(mut stream: TcpStream, greeting: &str) {
    let mut buffer = [0; 16 * 1024];
    let mut all = || -> std::io::Result<()> {
        stream.write_all(greeting.as_bytes())?;
        loop {
            match stream.read(&mut buffer)? {
                0 => return stream.shutdown(std::net::Shutdown::Write),
                got => stream.write_all(&buffer[..got])?,
            }
        }
    };
    // The test sees at the other end whatever goes wrong here.
    drop(all());
}

/// A connection through Portway.
pub struct Flow {
    stream: BufReader<TcpStream>,
    /// The name of the upstream that it reached.
    pub reached: String,
}

impl Flow {
    pub fn open(port: u16) -> Flow {
        Flow::try_open(port)
            .unwrap_or_else(|error| panic!("cannot reach an upstream through port {port}: {error}"))
    }

    pub fn try_open(port: u16) -> std::io::Result<Flow> {
        Flow::greeted(TcpStream::connect(("127.0.0.1", port))?)
    }

    /// Waits for the upstream's name on a connection that is open.
    pub fn greeted(stream: TcpStream) -> std::io::Result<Flow> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut name = String::new();
        if stream.read_line(&mut name)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Flow { stream, reached: name.trim_end().to_owned() })
    }

    /// Whether bytes go to the upstream and back.
    pub fn ping(&mut self) -> std::io::Result<()> {
        self.round_trip(b"ping\n")
    }

    pub fn round_trip(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(data)?;
        let mut back = vec![0; data.len()];
        self.stream.read_exact(&mut back)?;
        if back == data { Ok(()) } else { Err(std::io::Error::other("other bytes came back")) }
    }

    /// Waits for the end, and says whether it was a reset.
    pub fn was_reset(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream
            .read_to_end(&mut rest)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    }
}

/// The name of the upstream that a new connection to this port reaches.
pub fn reached(port: u16) -> String {
    Flow::open(port).reached
}

pub fn is_refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// The head of every file: the log as phases.
pub const HEAD: &str = "[log]\nformat = \"json\"\naccess = \"off\"\n";

/// A file with these routes: name, listen, upstream.
pub fn file(routes: &[(&str, String, &Backend)]) -> String {
    let mut text = HEAD.to_owned();
    for (name, listen, upstream) in routes {
        text.push_str(&route(name, listen, upstream, ""));
    }
    text
}

/// One route; `more` is further lines.
pub fn route(name: &str, listen: &str, upstream: &Backend, more: &str) -> String {
    let upstream = upstream.addr;
    format!("[[route]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n{more}")
}

/// A folder with a file in it.
pub struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub fn with(text: &str) -> Place {
        let place = Place { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(place.folder()).unwrap();
        std::fs::write(place.file(), text).unwrap();
        place
    }

    /// Above the folder: what is made here is on the same file system, and not watched.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn folder(&self) -> PathBuf {
        self.root().join("etc")
    }

    pub fn file(&self) -> PathBuf {
        self.folder().join("portway.toml")
    }

    /// Saves by rename, as most tools do.
    pub fn save(&self, text: &str) {
        let new = self.folder().join(".new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }
}

/// How many descriptors of each kind.
pub type Descriptors = BTreeMap<String, usize>;

/// A running Portway.
pub struct Portway {
    child: Child,
    /// Those that have taken over, one from the other.
    successors: Vec<Successor>,
    lines: Receiver<Value>,
    /// Every line of its log so far.
    pub seen: Vec<Value>,
    /// What it held when it was ready, but listeners.
    at_start: Descriptors,
}

impl Portway {
    pub fn run(file: &Path) -> Portway {
        Portway::start(Command::new(PORTWAY).arg("run").arg("--config").arg(file))
    }

    /// Starts a command that is Portway in the end, and waits until it is ready.
    pub fn start(command: &mut Command) -> Portway {
        let mut portway = Portway::spawn(command);
        portway.phase("ready");
        portway.at_start = portway.held();
        portway
    }

    pub fn spawn(command: &mut Command) -> Portway {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Portway { child, successors: Vec::new(), lines, seen: Vec::new(), at_start: Default::default() }
    }

    pub fn pid(&self) -> u32 {
        self.successors.last().map_or(self.child.id(), |newest| newest.pid)
    }

    /// This process has taken over. Its log is the same.
    pub fn follow(&mut self, pid: u32) {
        self.successors.push(Successor::of(pid));
    }

    /// Waits until every process before the newest has ended.
    pub fn old_ones_have_ended(&mut self) {
        assert!(self.child.wait().unwrap().success(), "the log:\n{}", self.log());
        let old = self.successors.len().saturating_sub(1);
        assert!(self.successors[..old].iter().all(|old| old.ends(PATIENCE)), "the log:\n{}", self.log());
    }

    /// Waits for the next of these phases; returns its fields.
    pub fn phase_of(&mut self, wanted: &[&str]) -> Value {
        self.phase_by(Instant::now() + PATIENCE, wanted)
    }

    /// Waits for what Portway does after a pause of up to `pause`.
    pub fn phase_after(&mut self, pause: Duration, wanted: &str) -> Value {
        self.phase_by(Instant::now() + pause + PATIENCE, &[wanted])
    }

    fn phase_by(&mut self, deadline: Instant, wanted: &[&str]) -> Value {
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line);
                    let line = &self.seen[self.seen.len() - 1];
                    if wanted.iter().any(|phase| message(line).starts_with(phase)) {
                        return line.clone();
                    }
                }
                Err(_) => panic!("waited in vain for {wanted:?}; this came:\n{}", self.log()),
            }
        }
    }

    pub fn phase(&mut self, wanted: &str) -> Value {
        self.phase_of(&[wanted])
    }

    /// Waits for an edit that is refused; returns its headline.
    pub fn refused(&mut self) -> String {
        self.phase("edit refused")["headline"].as_str().unwrap().to_owned()
    }

    /// Takes in the lines that are there.
    pub fn catch_up(&mut self) {
        self.seen.extend(self.lines.try_iter());
    }

    /// How many lines of this phase have come.
    pub fn count(&mut self, phase: &str) -> usize {
        self.catch_up();
        self.seen.iter().filter(|line| message(line).starts_with(phase)).count()
    }

    pub fn log(&self) -> String {
        self.seen.iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        super::proc::Process(self.pid()).signal(signal);
    }

    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// What it holds, but the listeners that it told of last.
    fn held(&self) -> Descriptors {
        let told = self.seen.iter().rev().find_map(|line| line["listeners"].as_u64());
        let mut held = self.descriptors();
        let sockets = held.entry("socket".into()).or_default();
        *sockets = sockets.saturating_sub(told.unwrap_or_default() as usize);
        held
    }

    pub fn descriptors(&self) -> Descriptors {
        let mut found = Descriptors::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy();
            let kind = target.split_once(":[").map_or(&*target, |(kind, _)| kind);
            *found.entry(kind.to_owned()).or_default() += 1;
        }
        found
    }

    /// The inodes of its sockets.
    pub fn sockets(&self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().flatten();
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|t| t.starts_with("socket:"))
            .collect()
    }

    /// Waits until something holds that no line of the log tells of.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Portway) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}; the log:\n{}", self.log());
            match self.lines.recv_timeout(Duration::from_millis(10)) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended; the log:\n{}", self.log()),
            }
        }
    }

    /// Waits for an end that was asked for.
    pub fn stopped(mut self) {
        self.phase("stopped");
        self.old_ones_have_ended();
    }

    /// The leak gate.
    fn until_nothing_leaks(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // What it does it says a little later.
            self.catch_up();
            let (now, then) = (self.held(), &self.at_start);
            if now.iter().all(|(kind, count)| count <= then.get(kind).unwrap_or(&0)) {
                return;
            }
            assert!(Instant::now() < deadline, "leaked: {now:?}, not {then:?}; the log:\n{}", self.log());
            pass(Duration::from_millis(10));
        }
    }

    /// The leak gate, then the end.
    pub fn stop(mut self) {
        self.until_nothing_leaks();
        self.signal(rustix::process::Signal::TERM);
        self.phase("stopped");
        self.old_ones_have_ended();
        assert!(self.successors.iter().all(|newest| newest.ends(PATIENCE)), "the log:\n{}", self.log());
    }
}

impl Drop for Portway {
    fn drop(&mut self) {
        // Of a test that has failed, or a process that has ended: nothing to be told.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The message of a line of the log.
pub fn message(line: &Value) -> &str {
    // Before the file is read a line is text: time, level, message.
    line["message"].as_str().or_else(|| line.as_str()?.splitn(3, ' ').nth(2)).unwrap_or_default()
}
