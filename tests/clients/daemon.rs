//! Real programs beside Portway.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::instance::*;

/// A program that runs until it is dropped.
pub struct Daemon(Child);

impl Daemon {
    /// Starts it, and waits until it listens on all of these.
    pub fn start(command: &mut Command, ports: &[&Port]) -> Daemon {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut daemon = Daemon(child);
        for port in ports {
            let deadline = std::time::Instant::now() + PATIENCE;
            while TcpStream::connect(port.local()).is_err() {
                let ended = daemon.0.try_wait().unwrap();
                assert!(ended.is_none(), "{command:?} ended: {ended:?}");
                assert!(std::time::Instant::now() < deadline, "{command:?} does not listen");
                pass(std::time::Duration::from_millis(10));
            }
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub fn haproxy(folder: &Path, sections: &str, ports: &[&Port]) -> Daemon {
    let file = folder.join("haproxy.cfg");
    let head =
        "global\n maxconn 100\ndefaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
    std::fs::write(&file, format!("{head}{sections}")).unwrap();
    Daemon::start(Command::new("haproxy").args(["-db", "-q", "-f"]).arg(file), ports)
}

pub fn nginx(folder: &Path, sections: &str, ports: &[&Port]) -> Daemon {
    let file = folder.join("nginx.conf");
    let head = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
                pid nginx.pid;\nerror_log stderr;\nevents {}\n";
    std::fs::write(&file, format!("{head}{sections}")).unwrap();
    Daemon::start(Command::new("nginx").arg("-q").arg("-p").arg(folder).arg("-c").arg(file), ports)
}

pub fn ports<const N: usize>() -> [Port; N] {
    std::array::from_fn(|_| Port::reserve())
}
