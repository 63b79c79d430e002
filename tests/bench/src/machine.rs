//! What the figures were taken on: without it they cannot be compared.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::proc;
use crate::program::first_line;

/// Load average above which other work is likely to disturb the figures.
const BUSY: f64 = 0.7;

/// The machine, the moment and the commit.
pub struct Machine {
    /// UTC.
    pub date: String,
    /// As `uname -r`.
    pub kernel: String,
    /// Model.
    pub cpu: String,
    /// Cores that may be used.
    pub cores: usize,
    /// Commit of the working folder; empty outside a repository.
    pub commit: String,
    /// Load average of the last minute before the start.
    pub busy: f64,
}

impl Machine {
    /// Looks around.
    pub fn look(cores: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        Machine {
            date: first_line(Path::new("date"), &["-u", "+%Y-%m-%d %H:%M UTC"]),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            cpu: model
                .and_then(|line| line.split_once(": "))
                .map_or("unknown", |(_, model)| model)
                .to_owned(),
            cores,
            commit: commit(),
            busy: proc::number("/proc/loadavg").unwrap_or(0.0),
        }
    }

    /// One line.
    pub fn text(&self) -> String {
        let commit = if self.commit.is_empty() { String::new() } else { format!(", commit {}", self.commit) };
        format!("{}, Linux {}, {} × {}{commit}", self.date, self.kernel, self.cores, self.cpu)
    }

    /// A warning, if other work was running.
    pub fn warning(&self) -> Option<String> {
        (self.busy > BUSY).then(|| {
            format!(
                "Other work was running at the start (load average {:.1}): the figures are noisy.",
                self.busy
            )
        })
    }

    /// For the JSON.
    pub fn json(&self) -> Value {
        json!({
            "date": self.date, "kernel": self.kernel, "cpu": self.cpu, "cores": self.cores,
            "commit": self.commit, "load_average_before": self.busy,
        })
    }
}

fn commit() -> String {
    let hash = first_line(Path::new("git"), &["rev-parse", "--short", "HEAD"]);
    if hash.is_empty() || hash.contains(' ') {
        return String::new();
    }
    let changed = first_line(Path::new("git"), &["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_empty() { hash } else { format!("{hash} and changes") }
}
