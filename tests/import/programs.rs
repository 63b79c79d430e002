//! The other programs, run in the foreground.

use std::path::Path;
use std::process::Command;

use crate::clients::daemon::{self, Daemon};
use crate::harness::instance::Port;

pub fn nginx(folder: &Path, text: &str, ports: &[&Port]) -> Daemon {
    daemon::nginx(folder, text, ports)
}

/// With the file as it is.
pub fn haproxy(folder: &Path, text: &str, ports: &[&Port]) -> Daemon {
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    Daemon::start(Command::new("haproxy").args(["-db", "-q", "-f"]).arg(file), ports)
}

pub fn rinetd(folder: &Path, text: &str, ports: &[&Port]) -> Daemon {
    let file = folder.join("rinetd.conf");
    std::fs::write(&file, text).unwrap();
    Daemon::start(Command::new("rinetd").args(["-f", "-c"]).arg(file), ports)
}
