//! The driver's side of the backend and of the load: this same program, in processes of their own, so that their
//! descriptors and their CPU time are not the proxy's nor the driver's.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A process that talks in lines. It is killed when this is dropped.
struct Helper {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Helper {
    fn start(args: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process of the benchmark")?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Helper { child, stdin, stdout })
    }

    /// Lets it run only while nobody else wants its cores (`SCHED_IDLE`): a program that an action of it wakes has done all
    /// its work before the next action.
    fn give_way(&self) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("chrt").args(["--all-tasks", "--idle", "--pid", "0", &pid]).status();
        let status = status.context("cannot run chrt (Debian: util-linux)")?;
        ensure!(status.success(), "chrt ended with {status}");
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("it ended with {}; its error is above", self.child.wait()?);
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A backend of its own for each run: a port that no TIME-WAIT of an earlier run refers to.
pub struct Backend {
    helper: Helper,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Backend {
    /// Starts it on the cores of this thread.
    pub fn start() -> Result<Self> {
        let mut helper = Helper::start(&["backend".to_owned()])?;
        let address = helper.line().context("the backend")?.parse()?;
        Ok(Backend { helper, address })
    }

    /// It runs only while nobody else wants its core.
    pub fn give_way(&self) -> Result<()> {
        self.helper.give_way()
    }

    /// Errors: it ended, because a byte was wrong.
    pub fn is_well(&mut self) -> Result<()> {
        match self.helper.child.try_wait()? {
            Some(status) => bail!("the backend ended with {status}; its error is above"),
            None => Ok(()),
        }
    }
}

/// What the load is to do.
pub struct Order<'a> {
    /// `ping`, `churn`, `bulk` or `hold`.
    pub kind: &'a str,
    /// Its numbers.
    pub numbers: &'a [(&'a str, u64)],
    /// Seconds after which it has failed.
    pub limit: u64,
}

/// The load, connected and warmed up.
pub struct Load {
    helper: Helper,
}

impl Load {
    /// Starts it on the cores of this thread, and waits until it is ready. `run` gives it its source addresses.
    pub fn start(order: &Order, target: SocketAddr, run: u16) -> Result<Self> {
        let mut args: Vec<String> =
            vec!["load".into(), order.kind.into(), target.to_string(), run.to_string()];
        args.extend(order.numbers.iter().map(|(name, number)| format!("{name}={number}")));
        args.push(format!("limit={}", order.limit));
        let mut helper = Helper::start(&args)?;
        let line = helper.line().with_context(|| format!("the load `{}`", order.kind))?;
        if line != "ready" {
            bail!("the load said `{line}` instead of `ready`");
        }
        Ok(Load { helper })
    }

    /// It runs only while nobody else wants its core.
    pub fn give_way(&self) -> Result<()> {
        self.helper.give_way()
    }

    /// Lets it work. Returns its result; its connections stay until it is dropped.
    pub fn work(&mut self) -> Result<Value> {
        let stdin = self.helper.stdin.as_mut().context("the load has no input")?;
        stdin.write_all(b"go\n").context("the load has gone; its error is above")?;
        let line = self.helper.line().context("the load")?;
        serde_json::from_str(&line).with_context(|| format!("the load said `{line}`"))
    }
}
