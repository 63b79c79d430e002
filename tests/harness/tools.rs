//! Starts the two commands. Every wait has an end: [`PATIENCE`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub use super::{PATIENCE, PORTWAY, can};

pub fn portway(args: &[&str]) -> Command {
    let mut command = Command::new(PORTWAY);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running `whoami`, ended with the test.
pub struct Whoami {
    pub child: Child,
    /// As it was printed: `127.0.0.1:41234`, `unix:/path`.
    pub addr: String,
    pub stderr: BufReader<ChildStderr>,
}

impl Whoami {
    pub fn start(options: &[&str]) -> Whoami {
        Self::on("127.0.0.1:0", options)
    }

    pub fn on(listen: &str, options: &[&str]) -> Whoami {
        Self::from_command(portway(&["whoami", "--listen", listen]).args(options))
    }

    pub fn from_command(command: &mut Command) -> Whoami {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addr = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("whoami printed {line:?}"));
        let addr = addr.split(' ').next().unwrap().to_owned();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Whoami { child, addr, stderr }
    }

    pub fn socket_addr(&self) -> SocketAddr {
        self.addr.parse().unwrap()
    }

    pub fn connect(&self) -> Peer<TcpStream> {
        Peer(tcp(self.socket_addr()))
    }

    /// A UDP socket connected to it.
    pub fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.socket_addr()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Whoami {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    patient(&stream);
    stream
}

pub fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// One end of a stream, spoken through in a test's words.
pub struct Peer<S>(pub S);

impl<S: Read + Write> Peer<S> {
    pub fn says(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(text.as_ref()).unwrap();
        self
    }

    pub fn hears(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let mut heard = vec![0; text.as_ref().len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(text.as_ref()));
        self
    }

    /// Everything up to the other end's FIN.
    pub fn hears_all(&mut self) -> String {
        let mut all = String::new();
        self.0.read_to_string(&mut all).unwrap();
        all
    }
}

impl Peer<TcpStream> {
    pub fn ends(&mut self) -> &mut Self {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
        self
    }

    /// What `whoami` puts before each answer to this end.
    pub fn prefix(&self) -> String {
        format!("whoami[{}]: ", self.0.local_addr().unwrap())
    }
}

/// What a command that ended left behind.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn with(self, code: i32, stderr: &[&str]) -> Ended {
        assert_eq!(self.code, Some(code), "standard error was: {}", self.stderr);
        for part in stderr {
            assert!(self.stderr.contains(part), "no `{part}` in: {}", self.stderr);
        }
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `portway` with an input that ends.
pub fn run(args: &[&str], input: impl Into<Vec<u8>>) -> Ended {
    let mut child = portway(args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.into();
    // A command that ends early breaks the pipe; the test sees the rest.
    let writer = thread::spawn(move || stdin.write_all(&input).ok());
    let ended = ended(child);
    writer.join().unwrap();
    ended
}

/// Waits for the end of a command, whose input may stay open, and whose output the test may have closed.
pub fn ended(mut child: Child) -> Ended {
    let out = child.stdout.take();
    let mut err = child.stderr.take().unwrap();
    let stdout = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.map(|mut out| out.read_to_end(&mut bytes).unwrap());
        bytes
    });
    let stderr = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let code = wait(&mut child).code();
    Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Waits for the end of a command, and ends it by force when it outlasts the patience.
pub fn wait(child: &mut Child) -> ExitStatus {
    let pid = rustix::process::Pid::from_child(child);
    let (done, is_done) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    });
    // Not `wait()` of std: that closes the input, which a test may want open.
    rustix::process::waitid(
        rustix::process::WaitId::Pid(pid),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    )
    .unwrap();
    done.send(()).unwrap();
    guard.join().unwrap();
    child.wait().unwrap()
}

/// Bytes without a pattern that a lost or doubled piece would fit into.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Whether this host can do IPv6 on loopback; says so where not.
pub fn has_ipv6() -> bool {
    can("IPv6 on loopback", std::net::TcpListener::bind("[::1]:0").is_ok())
}
