//! Asks the endpoint, as curl would, and runs the commands, as a person would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::instance::{HEAD, PATIENCE, PORTWAY, Place, Portway};

/// Where the endpoint listens, and what is sent with each request.
pub struct Asker {
    pub at: At,
    pub head: String,
}

pub enum At {
    Unix(PathBuf),
    Tcp(u16),
}

/// An answer of the endpoint.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Asker {
    pub fn unix(place: &Place) -> Asker {
        Asker { at: At::Unix(socket(place)), head: "Host: localhost\r\n".into() }
    }

    pub fn tcp(port: u16) -> Asker {
        Asker { at: At::Tcp(port), head: format!("Host: 127.0.0.1:{port}\r\n") }
    }

    /// With these header lines instead.
    pub fn with(&self, head: &str) -> Asker {
        let at = match &self.at {
            At::Unix(path) => At::Unix(path.clone()),
            At::Tcp(port) => At::Tcp(*port),
        };
        Asker { at, head: head.into() }
    }

    pub fn connect(&self) -> Box<dyn Stream> {
        match &self.at {
            At::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
            At::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
        }
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\r\n{}Connection: close\r\n", self.head);
        self.raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    /// The same, or nothing if nobody answers: the process that has accepted may end.
    pub fn try_ask(&self, method: &str, path: &str) -> Option<Answer> {
        let request = format!("{method} {path} HTTP/1.1\r\n{}Connection: close\r\n\r\n", self.head);
        self.try_raw(request.as_bytes()).ok()
    }

    /// Sends these bytes, and reads until the end.
    pub fn raw(&self, request: &[u8]) -> Answer {
        self.try_raw(request).unwrap_or_else(|answer| panic!("no answer: {answer:?}"))
    }

    fn try_raw(&self, request: &[u8]) -> Result<Answer, String> {
        let mut stream = self.connect();
        // It may be answered before it was taken in whole.
        drop(stream.write_all(request));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| answer.clone())?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask("POST", path, &body.to_string());
        assert!(matches!(answer.status, 200 | 202), "{path}: {answer:?}");
        answer.json()
    }

    /// The route of this name.
    pub fn route(&self, name: &str) -> Value {
        let routes = self.get("/v1/routes");
        let found = routes["routes"].as_array().unwrap().iter().find(|route| route["name"] == name);
        found.unwrap_or_else(|| panic!("no route {name} in {routes}")).clone()
    }

    pub fn connections(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/v1/connections?{query}"))["connections"].as_array().unwrap().clone()
    }
}

pub fn socket(place: &Place) -> PathBuf {
    place.root().join("admin.sock")
}

/// The head of a file, with an endpoint at a Unix socket.
pub fn head(place: &Place) -> String {
    format!("{HEAD}[admin]\nlisten = \"unix:{}\"\n", socket(place).display())
}

/// A proxy with an endpoint at a Unix socket. `routes`: the rest of its file.
pub fn start(routes: &str) -> (Place, Portway, Asker) {
    start_with(routes, &[])
}

/// The same with more on the command line.
pub fn start_with(routes: &str, more: &[&str]) -> (Place, Portway, Asker) {
    let place = Place::with("");
    place.save(&(head(&place) + routes));
    let portway = Portway::start(Command::new(PORTWAY).arg("run").arg(place.file()).args(more));
    let asker = Asker::unix(&place);
    (place, portway, asker)
}

/// What a command has printed, and its exit code.
#[derive(Debug)]
pub struct Printed {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command that talks to the proxy of this file.
pub fn portway(file: &Path, args: &[&str]) -> Printed {
    let output = Command::new(PORTWAY)
        .args(args)
        .env("PORTWAY_CONFIG", file)
        .env_remove("PORTWAY_ADMIN")
        .env_remove("PORTWAY_TOKEN")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Printed {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
