//! A store for the tests: a small web server that counts what it is asked, and can be bad in every way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::harness::instance::{PATIENCE, Port};

/// What a path answers.
#[derive(Clone)]
pub enum Answer {
    /// 200 with an ETag, or 304.
    Text(Vec<u8>),
    /// The same, as Consul does: with an index, and a wait for the next one.
    Consul(Vec<u8>, u64),
    /// These bytes as they are, then the end.
    Raw(Vec<u8>),
    /// The head of a long answer, and then so many zeros.
    Zeros(usize),
    /// A head, and then nothing for as long as the client stays.
    Silence,
}

impl Answer {
    pub fn text(text: &str) -> Answer {
        Answer::Text(text.as_bytes().to_vec())
    }

    /// A status with a header and a body of text.
    pub fn head(status: &str, header: &str, body: &str) -> Answer {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{header}\r\n\r\n{body}");
        Answer::Raw(text.into_bytes())
    }
}

/// One request: its path with the query, and its head in lower case.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub head: String,
    /// 0: it has no answer yet, or an odd one.
    pub status: u16,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<Asked>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
}

/// A running store. It may go away, and come back at the same address.
pub struct Store {
    port: Port,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

impl Store {
    pub fn start() -> Store {
        let mut store = Store { port: Port::reserve(), shared: Arc::default(), accepts: None };
        store.come_back();
        store
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.local())
    }

    pub fn put(&self, path: &str, answer: Answer) {
        self.shared.state.lock().unwrap().answers.insert(path.to_owned(), answer);
        self.shared.changed.notify_all();
    }

    pub fn remove(&self, path: &str) {
        self.shared.state.lock().unwrap().answers.remove(path);
        self.shared.changed.notify_all();
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().unwrap().asked.clone()
    }

    pub fn count(&self, path: &str, status: u16) -> usize {
        self.asked().iter().filter(|asked| asked.path == path && asked.status == status).count()
    }

    /// Nobody listens any more.
    pub fn go_away(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        drop(TcpStream::connect(self.port.local()));
        if let Some(accepts) = self.accepts.take() {
            accepts.join().unwrap();
        }
    }

    pub fn come_back(&mut self) {
        self.shared.stopping.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.port.local()).unwrap();
        let shared = self.shared.clone();
        self.accepts = Some(std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                if shared.stopping.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                open.push(stream.try_clone().unwrap());
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let end = stream.try_clone().unwrap();
                    serve(stream, &shared);
                    // The loop of accepts has a twin of it.
                    drop(end.shutdown(std::net::Shutdown::Both));
                });
            }
            for stream in open {
                drop(stream.shutdown(std::net::Shutdown::Both));
            }
        }));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// The requests of one connection.
fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let path = head.split(' ').nth(1)?.to_owned();
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let number = {
            let mut state = shared.state.lock().unwrap();
            state.asked.push(Asked { path: path.clone(), head: head.clone(), status: 0 });
            state.asked.len() - 1
        };
        let answer = found(shared, &path);
        let (status, bytes) = match &answer {
            None => (404, head_of("404 Not Found", "", 0)),
            Some(Answer::Text(text)) => {
                let etag = etag(text);
                match head.contains(&format!("if-none-match: {etag}")) {
                    true => (304, head_of("304 Not Modified", &format!("ETag: {etag}\r\n"), 0)),
                    false => (
                        200,
                        [head_of("200 OK", &format!("ETag: {etag}\r\n"), text.len()), text.clone()].concat(),
                    ),
                }
            }
            Some(Answer::Consul(text, index)) => {
                let header = format!("X-Consul-Index: {index}\r\n");
                (200, [head_of("200 OK", &header, text.len()), text.clone()].concat())
            }
            Some(Answer::Raw(bytes)) => (0, bytes.clone()),
            Some(Answer::Zeros(length)) => (200, head_of("200 OK", "", *length)),
            Some(Answer::Silence) => (0, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx".to_vec()),
        };
        shared.state.lock().unwrap().asked[number].status = status;
        stream.write_all(&bytes).ok()?;
        match answer {
            Some(Answer::Raw(_)) => return None,
            Some(Answer::Zeros(length)) => {
                for _ in 0..length / 65_536 {
                    stream.write_all(&[0; 65_536]).ok()?;
                }
                return None;
            }
            Some(Answer::Silence) => {
                reader.read_line(&mut String::new()).ok()?;
            }
            _ => {}
        }
    }
}

/// The answer of a path; a client that knows Consul's index waits for another one.
fn found(shared: &Shared, path: &str) -> Option<Answer> {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let known = query.split('&').find_map(|pair| pair.strip_prefix("index=")?.parse::<u64>().ok());
    let state = shared.state.lock().unwrap();
    let same = |state: &mut State| {
        let stopping = shared.stopping.load(Ordering::SeqCst);
        !stopping
            && matches!(state.answers.get(bare), Some(Answer::Consul(_, index)) if Some(*index) == known)
    };
    let (state, _) = shared.changed.wait_timeout_while(state, PATIENCE, same).unwrap();
    state.answers.get(bare).cloned()
}

fn head_of(status: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

fn etag(text: &[u8]) -> String {
    let hash = text.iter().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add((*byte).into()));
    format!("\"{hash:x}\"")
}
