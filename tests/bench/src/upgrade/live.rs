//! The Portway under test: started with a file, asked through its endpoint, followed from process to process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use serde_json::{Value, json};

use crate::proc;

/// How long anything may take before the run has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(2);

/// A running Portway, killed when this is dropped, with all that has come from it.
pub struct Live {
    dir: PathBuf,
    /// Its newest process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What an order to upgrade has come to.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// From the order to the answer.
    pub took: Duration,
}

impl Live {
    /// Starts it, with one route to this backend. Orphans of its processes become children of this one.
    pub fn start(portway: &Path, dir: &Path, upstream: SocketAddr) -> Result<Live> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        fs::create_dir_all(dir)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let text = format!(
            "[log]\naccess = \"off\"\n\n[admin]\nlisten = \"unix:{}\"\n\n\
             [[route]]\nname = \"judged\"\nlisten = \"{address}\"\nupstream = \"{upstream}\"\n",
            dir.join("admin.sock").display()
        );
        let file = dir.join("portway.toml");
        fs::write(&file, text)?;
        let log = fs::File::create(dir.join("log"))?;
        let child = Command::new(portway)
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", portway.display()))?;
        let live = Live { dir: dir.to_owned(), pid: child.id(), address };
        until("Portway is ready", || live.ask("GET", "/v1/status", "").is_ok())?;
        Ok(live)
    }

    /// One request.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
        let mut stream = UnixStream::connect(self.dir.join("admin.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer of the endpoint")?;
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no status")?;
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// Lets another program take over, or the same one. Follows it if it has.
    pub fn upgrade(&mut self, binary: Option<&Path>) -> Result<Answer> {
        let order = binary.map_or_else(|| json!({}), |path| json!({ "binary": path }));
        let begun = Instant::now();
        let (status, body) = self.ask("POST", "/v1/upgrade", &order.to_string())?;
        let took = begun.elapsed();
        if let Some(pid) = body["pid"].as_u64().filter(|_| status == 200) {
            self.pid = u32::try_from(pid)?;
        }
        Ok(Answer { status, body, took })
    }

    /// Waits until only the newest process is left. Returns how long that has taken.
    pub fn alone(&self) -> Result<Duration> {
        let begun = Instant::now();
        until("the old process has ended", || self.processes() == 1)?;
        Ok(begun.elapsed())
    }

    /// How many of its processes there are.
    pub fn processes(&self) -> usize {
        // Those that have ended are taken away first.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        proc::family(std::process::id()).len() - 1
    }

    /// The descriptors of the newest process, by kind.
    pub fn descriptors(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy();
            let kind = target.split_once(":[").map_or(&*target, |(kind, _)| kind);
            *found.entry(kind.to_owned()).or_default() += 1;
        }
        found
    }

    /// KiB of memory of the newest process.
    pub fn pss(&self) -> Result<u64> {
        proc::pss_kib(&[self.pid])
    }

    /// A script that this Portway can be told to start as the new program.
    pub fn script(&self, name: &str, commands: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let (path, new) = (self.dir.join(name), self.dir.join("new"));
        fs::write(&new, format!("#!/bin/sh\n{commands}\n"))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        // A file that is being executed cannot be written.
        fs::rename(new, &path)?;
        Ok(path)
    }

    /// Ends it as a service manager would. Errors: it does not end, or something of it is left.
    pub fn stop(self) -> Result<()> {
        signal(self.pid, Signal::TERM);
        until("Portway ends", || self.processes() == 0)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for pid in proc::family(std::process::id()).into_iter().skip(1) {
            signal(pid, Signal::KILL);
        }
        while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may have ended.
        let _ = kill_process(pid, signal);
    }
}

/// Waits until something holds that can only be looked at.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        ensure!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The answer of an upgrade that had to succeed.
pub fn done(answer: Answer) -> Result<Answer> {
    if answer.status != 200 {
        bail!("the upgrade was refused: {}", answer.body);
    }
    Ok(answer)
}
