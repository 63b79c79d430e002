//! A process as the kernel shows it in /proc: the truth from outside.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// A process.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// A TCP socket of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// `ESTABLISHED` is 1, `SYN_SENT` 2, `FIN_WAIT2` 5, `CLOSE_WAIT` 8, `LISTEN` 10 (net/tcp_states.h).
    pub state: u8,
    /// Its own port.
    pub port: u16,
}

/// States of [`TcpSocket`].
pub const SYN_SENT: u8 = 2;
pub const FIN_WAIT2: u8 = 5;
pub const CLOSE_WAIT: u8 = 8;
pub const LISTEN: u8 = 10;

impl Process {
    /// Sends it a signal. After SIGSTOP every thread of it stands still: kill(2) does not wait for that.
    pub fn signal(self, signal: Signal) {
        kill_process(Pid::from_raw(self.0.cast_signed()).unwrap(), signal).unwrap();
        if signal == Signal::STOP {
            until("every thread stands still", || {
                let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().flatten();
                let mut stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
                stats.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
            });
        }
    }

    fn read(self, what: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{what}", self.0)).unwrap_or_default()
    }

    fn targets(self) -> Vec<String> {
        let Ok(dir) = fs::read_dir(format!("/proc/{}/fd", self.0)) else { return Vec::new() };
        dir.flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .map(|to| to.display().to_string())
            .collect()
    }

    /// How many descriptors it has of each kind: `socket`, `pipe`, `anon_inode:[eventfd]`, a path.
    pub fn fds(self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for target in self.targets() {
            let kind = match target.split_once(":[") {
                Some((kind @ ("socket" | "pipe"), _)) => kind.to_owned(),
                _ => target,
            };
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    fn inodes(self) -> Vec<String> {
        let strip = |target: String| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
        self.targets().into_iter().filter_map(strip).collect()
    }

    /// Its TCP sockets, matched by inode.
    pub fn tcp(self) -> Vec<TcpSocket> {
        let inodes = self.inodes();
        let tables = [self.read("net/tcp"), self.read("net/tcp6")];
        let rows = tables.iter().flat_map(|table| table.lines().skip(1));
        rows.filter_map(|row| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let mine = inodes.iter().any(|inode| fields.get(9) == Some(&inode.as_str()));
            let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
            let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
            mine.then_some(TcpSocket { state, port })
        })
        .collect()
    }

    /// How many of its TCP sockets are in a state.
    pub fn count(self, state: u8) -> usize {
        self.tcp().iter().filter(|socket| socket.state == state).count()
    }

    /// Whether it handles a signal by itself.
    pub fn catches(self, signal: i32) -> bool {
        let status = self.status("SigCgt:");
        u64::from_str_radix(&status, 16).is_ok_and(|mask| mask & (1 << (signal - 1)) != 0)
    }

    /// Whether it has a thread whose name begins so.
    pub fn has_thread(self, name: &str) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.0)) else { return false };
        let mut names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.any(|found| found.starts_with(name))
    }

    /// Its resident memory in bytes.
    pub fn memory(self) -> u64 {
        let kib = self.status("VmRSS:");
        kib.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
    }

    /// The processor time of each thread that serves connections, so far.
    pub fn cpu_of_workers(self) -> Vec<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0)).unwrap();
        let of = |task: std::io::Result<std::fs::DirEntry>| {
            let path = task.unwrap().path();
            let name = std::fs::read_to_string(path.join("comm")).ok()?;
            name.starts_with("portway-").then_some(())?;
            let spent = std::fs::read_to_string(path.join("schedstat")).ok()?;
            Some(Duration::from_nanos(spent.split(' ').next()?.parse().ok()?))
        };
        tasks.filter_map(of).collect()
    }

    /// The processor time of its threads so far.
    pub fn cpu(self) -> Duration {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.0)) else { return Duration::ZERO };
        let times = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
        let nanos = times.filter_map(|times| times.split(' ').next()?.parse::<u64>().ok());
        Duration::from_nanos(nanos.sum())
    }

    /// Ends the strace that it runs under; it goes on without.
    pub fn let_go(self) {
        let tracer = || self.status("TracerPid:").parse::<i32>().ok().and_then(Pid::from_raw);
        if let Some(strace) = tracer() {
            kill_process(strace, Signal::TERM).unwrap();
            until("it is traced no more", || tracer().is_none());
        }
    }

    fn status(self, key: &str) -> String {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().trim().to_owned()
    }
}

/// Runs a tool, which must succeed.
pub fn tool<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a program of a file, by another process: a descriptor of ours that is open for writing goes to each child that another
/// test starts just then, and until that child has become its own program, what we have written is busy (ETXTBSY).
pub fn install(from: impl AsRef<Path>, to: &Path) {
    tool("install", ["-m".as_ref(), "755".as_ref(), from.as_ref().as_os_str(), to.as_os_str()]);
}
