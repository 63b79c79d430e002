//! A real Prometheus that scrapes a real Portway.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::instance::can;

/// A Prometheus that runs. Ends with its test.
pub struct Prometheus {
    child: Child,
    web: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether Prometheus is installed.
pub fn is_here() -> bool {
    can("prometheus", Command::new("prometheus").arg("--version").output().is_ok())
}

impl Prometheus {
    /// Starts it in a folder, with these settings.
    pub fn start(folder: &Path, settings: &str) -> Prometheus {
        let web = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address={web}")).stdin(Stdio::null()).stdout(Stdio::null());
        Prometheus { child: command.stderr(Stdio::null()).spawn().unwrap(), web }
    }

    /// Whether it answers.
    pub fn has_begun(&self) -> bool {
        TcpStream::connect(&self.web).is_ok()
    }

    /// What it says to a query.
    pub fn answer(&self, query: &str) -> Value {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        // As long as it starts, it says so in plain text.
        serde_json::from_str(&get(&self.web, &format!("/api/v1/query?query={escaped}"))).unwrap_or_default()
    }
}

/// The body of an answer.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
