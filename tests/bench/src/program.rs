//! The programs that are compared: where they are, how they are set up, and how they are started and ended.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::rows::Extra;
use crate::{config, proc, wire};

/// How long a program may take until it accepts: under valgrind, on a busy machine, HAProxy takes a quarter of this.
const START: Duration = Duration::from_secs(60);

/// One program under comparison.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its column.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it says of its version.
    pub version: String,
}

/// What a program is, and how it is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Portway; see [`Variant`].
    Portway(Variant),
    /// HAProxy; `splice`: forced.
    Haproxy { bin: PathBuf, splice: bool },
    /// nginx with the stream module; `half_close`: it passes half-closes on, as the others do.
    Nginx { bin: PathBuf, half_close: bool },
    /// realm.
    Realm { bin: PathBuf },
    /// The least that a proxy over epoll can do ([`crate::floor`]).
    Floor,
    /// No proxy at all.
    Direct,
}

impl Kind {
    /// Whether it is compared with datagrams too.
    pub fn forwards_udp(&self) -> bool {
        !matches!(self, Kind::Haproxy { .. } | Kind::Realm { .. } | Kind::Floor)
    }
}

/// One build of Portway, and what is set for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variant {
    /// The program.
    pub bin: PathBuf,
    /// Further arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Keys of the route, as TOML.
    pub keys: Vec<(String, String)>,
    /// Whether it is run with a file (`run --config`), or with `forward`.
    pub file: bool,
}

/// What a program is started for.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Where its files go.
    pub dir: &'a Path,
    /// Where it leads.
    pub upstream: SocketAddr,
    /// Cores that it has.
    pub cores: usize,
    /// Connections that it must be able to hold.
    pub connections: u64,
    /// Whether it forwards datagrams.
    pub udp: bool,
    /// What it does beside passing on.
    pub extra: Extra,
    /// What it is run under, such as valgrind; most often nothing.
    pub under: &'a [String],
}

impl Program {
    /// Whether Portway is measured by it.
    pub fn is_peer(&self) -> bool {
        matches!(self.kind, Kind::Haproxy { .. } | Kind::Nginx { .. } | Kind::Realm { .. })
    }

    /// Whether this is Portway.
    pub fn is_portway(&self) -> bool {
        matches!(self.kind, Kind::Portway(_))
    }

    /// Starts it and waits until it accepts. It runs on the cores of this thread.
    pub fn start(&self, setup: Setup) -> Result<Running> {
        if self.kind == Kind::Direct {
            return Ok(Running { child: None, address: setup.upstream, log: PathBuf::new() });
        }
        let address = free_address()?;
        let log = setup.dir.join(format!("{}.log", self.name));
        let mut command = under(setup.under, &config::command(&self.kind, address, setup)?)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut running = Running { child: Some(child), address, log };
        running.wait_until_it_accepts(setup.udp).with_context(|| format!("{} did not start", self.name))?;
        Ok(running)
    }
}

/// A program that runs; it ends when this is dropped.
pub struct Running {
    child: Option<Child>,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Running {
    /// All its processes; none for a direct connection.
    pub fn pids(&self) -> Vec<u32> {
        self.child.as_ref().map_or_else(Vec::new, |child| proc::family(child.id()))
    }

    /// The end of what it wrote, for an error message.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Asks it to end in order, and waits for it. `tracer`: what was started is a program of its own that ends with
    /// the one it watches (strace). Errors: it does not end within a minute.
    pub fn stop(mut self, tracer: bool) -> Result<()> {
        let pids = self.pids();
        let Some(child) = &mut self.child else { return Ok(()) };
        signal(*pids.get(usize::from(tracer)).context("the program has gone")?, Signal::TERM);
        let until = Instant::now() + Duration::from_secs(60);
        while child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "the program did not end after SIGTERM");
            thread::sleep(Duration::from_millis(10));
        }
        self.child = None;
        Ok(())
    }

    fn wait_until_it_accepts(&mut self, udp: bool) -> Result<()> {
        let until = Instant::now() + START;
        let accepts = || if udp { echoes(self.address) } else { TcpStream::connect(self.address).is_ok() };
        while !accepts() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("it ended with {status}:\n{}", self.last_words());
            }
            if Instant::now() > until {
                bail!("nothing listens on {} after {START:?}:\n{}", self.address, self.last_words());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // At once: a drain would wait for connections that nobody needs any more. nginx's workers outlive a killed
        // master, so all are killed.
        for pid in self.pids() {
            signal(pid, Signal::KILL);
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// The same command, run by a tool if there is one, and ended with this process (see [`crate::sys::exec`]).
fn under(tool: &[String], command: &Command) -> Result<Command> {
    let mut whole = Command::new(std::env::current_exe()?);
    whole.arg("exec").args(tool).arg(command.get_program()).args(command.get_args());
    whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ok(whole)
}

/// Whether a datagram comes back from there.
fn echoes(address: SocketAddr) -> bool {
    let asked = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.send(&[wire::ECHO])?;
        socket.recv(&mut [0; 8])
    };
    asked().is_ok()
}

/// An address that is free now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The path of a program, as the shell would find it; also in the system's folders, which a user's PATH may lack.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// The first line that a command prints, or nothing.
pub fn first_line(program: &Path, args: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(args).stdin(Stdio::null()).output() else {
        return String::new();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
