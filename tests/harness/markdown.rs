//! Reads the blocks of a Markdown text, and runs commands as a person at a terminal would.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::{PATIENCE, PORTWAY, can};

/// A fenced block, and the comment before it.
#[derive(Debug)]
pub struct Block {
    pub language: String,
    pub text: String,
    comment: String,
}

impl Block {
    /// The value of `<!-- KEY: VALUE -->`; empty for `<!-- KEY -->`.
    pub fn note(&self, key: &str) -> Option<&str> {
        let inside = self.comment.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
        let rest = inside.strip_prefix(key)?;
        Some(rest.strip_prefix(':').unwrap_or(rest).trim())
    }
}

pub fn blocks(markdown: &str) -> Vec<Block> {
    let (mut found, mut open, mut comment) = (Vec::new(), None::<Block>, String::new());
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, text) = (language.to_owned(), String::new());
                open = Some(Block { language, text, comment: std::mem::take(&mut comment) });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) if !line.is_empty() => comment = line.to_owned(),
            (None, None) => {}
        }
    }
    found
}

/// Whether this process has a network of its own, where the ports of the README are free. If not, runs the test named
/// so again in one, and fails as it does.
pub fn in_own_network(test: &str) -> bool {
    if std::env::var_os("PORTWAY_OWN_NETWORK").is_some() {
        return true;
    }
    let again = format!("ip link set lo up && exec '{}' --exact {test} --nocapture", me().display());
    let root = rustix::process::geteuid().is_root();
    let unshare = if root { &["--net"][..] } else { &["--net", "--map-root-user"][..] };
    let status = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &again])
        .env("PORTWAY_OWN_NETWORK", "1")
        .status();
    match status {
        Ok(status) if status.success() => {}
        failed => {
            let allowed =
                Command::new("unshare").args(unshare).args(["ip", "link", "set", "lo", "up"]).status();
            let allowed = allowed.is_ok_and(|status| status.success());
            assert!(!allowed, "{test} in a network of its own: {failed:?}");
            can("the right to make a network namespace (unshare, ip)", false);
        }
    }
    false
}

fn me() -> PathBuf {
    std::env::current_exe().unwrap()
}

#[derive(Default)]
struct Output {
    text: Mutex<String>,
    more: Condvar,
}

/// A folder and the programs that run in it.
pub struct Stage {
    folder: PathBuf,
    running: Vec<Child>,
    /// Of the programs that go on running.
    output: Arc<Output>,
    /// What the last command that ended has printed on both streams.
    pub printed: String,
}

impl Stage {
    pub fn new(folder: &Path) -> Stage {
        let program = Path::new(PORTWAY);
        std::os::unix::fs::symlink(program, folder.join("portway")).unwrap();
        Stage { folder: folder.into(), running: Vec::new(), output: Arc::default(), printed: String::new() }
    }

    /// Does what a person who types the line would see done.
    pub fn act(&mut self, line: &str) {
        let line = line.replace("cargo run --release --", "portway");
        if line.trim() == "cargo test" {
            // This is it.
            return;
        }
        let goes_on = ["run", "forward", "whoami", "demo"];
        if goes_on.iter().any(|command| line.starts_with(&format!("portway {command}"))) {
            self.start(&line);
        } else {
            self.run(&line);
        }
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        let path = format!("{}:{}", self.folder.display(), std::env::var("PATH").unwrap());
        shell.args(["-c", line]).current_dir(&self.folder).env("PATH", path).env_remove("PORTWAY_CONFIG");
        shell
    }

    fn start(&mut self, line: &str) {
        self.output.text.lock().unwrap().clear();
        let mut command = self.shell(&format!("exec {line} 2>&1"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (stdout, output) = (child.stdout.take().unwrap(), self.output.clone());
        std::thread::spawn(move || {
            for read in BufReader::new(stdout).lines().map_while(Result::ok) {
                *output.text.lock().unwrap() += &format!("{read}\n");
                output.more.notify_all();
            }
        });
        self.running.push(child);
        self.wait_for(if line.starts_with("portway whoami") { "listening on" } else { "ready" });
    }

    fn run(&mut self, line: &str) {
        let expected = line.split_once("# exit code ").map_or(0, |(_, code)| code.trim().parse().unwrap());
        let output = self.shell(&format!("timeout {} sh -c \"$LINE\" 2>&1", PATIENCE.as_secs()));
        let output = { output }.env("LINE", line).output().unwrap();
        self.printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{line}\n{}", self.printed);
    }

    /// Waits until a running program has printed it, since the last one was started.
    pub fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.output.text.lock().unwrap();
        while !screen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "`{text}` does not come:\n{screen}");
            screen = self.output.more.wait_timeout(screen, left).unwrap().0;
        }
    }

    pub fn screen(&self) -> String {
        self.output.text.lock().unwrap().clone()
    }

    /// Stops what is running, as Ctrl-C would.
    pub fn clear(&mut self) {
        for mut child in self.running.drain(..) {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.running {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
