//! A server that takes only connections that begin as those of a client: with the PROXY header that it demands, and TLS.
//! It says its name first, answers PING, and notes how each connection has begun and ended.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::clients::pki::Pair;
use crate::harness::instance::{PATIENCE, Port};

/// What it demands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demands {
    Nothing,
    V1,
    V2,
}

pub const ALL: [Demands; 3] = [Demands::Nothing, Demands::V1, Demands::V2];

/// What has come.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Connections that serve no client, as their header says.
    pub own: usize,
    /// Connections for a client; without a header nobody can tell, and all are.
    pub clients: usize,
    /// How many of all have ended as one that is done.
    pub clean: usize,
    /// Why the others are none that a client would make.
    pub faults: Vec<String>,
}

pub struct Gate {
    pub demands: Demands,
    pub tls: bool,
    port: Port,
    config: Option<Arc<ServerConfig>>,
    seen: Arc<Mutex<Seen>>,
    listening: Option<(Arc<AtomicBool>, TcpListener, JoinHandle<()>)>,
}

impl Gate {
    pub fn new(demands: Demands, pair: Option<&Pair>) -> Gate {
        let config = pair.map(|pair| {
            let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            let builder = ServerConfig::builder().with_no_client_auth();
            Arc::new(builder.with_single_cert(chain, key).unwrap())
        });
        let (port, tls) = (Port::reserve(), config.is_some());
        let mut gate = Gate { demands, tls, port, config, seen: Arc::default(), listening: None };
        gate.open();
        gate
    }

    /// One of each kind: all demands, with TLS and without.
    pub fn each(pair: &Pair) -> Vec<Gate> {
        let both = |demands| [Gate::new(demands, None), Gate::new(demands, Some(pair))];
        ALL.into_iter().flat_map(both).collect()
    }

    pub fn addr(&self) -> String {
        self.port.local()
    }

    /// The keys of a route that leads to it. `ca.pem` lies beside the file.
    pub fn keys(&self) -> String {
        let header = match self.demands {
            Demands::Nothing => "",
            Demands::V1 => "proxy_protocol = { send = \"v1\" }\n",
            Demands::V2 => "proxy_protocol = { send = \"v2\" }\n",
        };
        let tls = "tls = { upstream = { ca = \"ca.pem\", server_name = \"gate.test\" } }\n";
        format!("{header}{}", if self.tls { tls } else { "" })
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn open(&mut self) {
        let listener = TcpListener::bind(self.addr()).unwrap();
        let (stop, socket) = (Arc::new(AtomicBool::new(false)), listener.try_clone().unwrap());
        let (stopped, seen) = (stop.clone(), self.seen.clone());
        let (demands, config) = (self.demands, self.config.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (seen, config) = (seen.clone(), config.clone());
                std::thread::spawn(move || serve(stream, demands, config, &seen));
            }
        });
        self.listening = Some((stop, socket, thread));
    }

    /// From now on it refuses.
    pub fn close(&mut self) {
        let Some((stop, socket, thread)) = self.listening.take() else { return };
        stop.store(true, Ordering::SeqCst);
        drop(SockRef::from(&socket).shutdown(Shutdown::Both));
        let ended = thread.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the gate's thread panicked");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(mut stream: TcpStream, demands: Demands, config: Option<Arc<ServerConfig>>, seen: &Mutex<Seen>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ended = header(&mut stream, demands).and_then(|own| {
        let mut seen = seen.lock().unwrap();
        if own {
            seen.own += 1
        } else {
            seen.clients += 1
        }
        drop(seen);
        match config {
            None => talk(&mut stream),
            Some(config) => {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                talk(&mut stream)?;
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    });
    let mut seen = seen.lock().unwrap();
    match ended {
        Ok(()) => seen.clean += 1,
        Err(error) => seen.faults.push(error.to_string()),
    }
}

/// Says its name, and answers until the end.
fn talk(stream: &mut (impl Read + Write)) -> Result<()> {
    stream.write_all(b"gate\n")?;
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            n if bytes[..n] == *b"PING\r\n" => stream.write_all(b"+PONG\r\n")?,
            n => stream.write_all(&bytes[..n])?,
        }
    }
}

/// Reads the header, as the specification has it. Returns whether it is that of a proxy's own connection.
fn header(stream: &mut TcpStream, demands: Demands) -> Result<bool> {
    let wrong = |what: &str, bytes: &[u8]| {
        Err(Error::new(ErrorKind::InvalidData, format!("{what}: {}", bytes.escape_ascii())))
    };
    match demands {
        Demands::Nothing => Ok(false),
        Demands::V1 => {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") && line.len() < 107 {
                let mut byte = [0];
                if stream.read(&mut byte)? == 0 {
                    return wrong("an end within the header", &line);
                }
                line.push(byte[0]);
            }
            match &line[..] {
                b"PROXY UNKNOWN\r\n" => Ok(true),
                line if line.starts_with(b"PROXY TCP4 127.0.0.1 127.0.0.1 ") => Ok(false),
                line => wrong("no header of version 1", line),
            }
        }
        Demands::V2 => {
            let mut head = [0; 16];
            if let Err(error) = stream.read_exact(&mut head) {
                return wrong(&format!("no whole header: {error}"), &head);
            }
            let mut rest = vec![0; u16::from_be_bytes([head[14], head[15]]).into()];
            stream.read_exact(&mut rest)?;
            match (&head[..12], head[12]) {
                (b"\r\n\r\n\0\r\nQUIT\n", 0x20) => Ok(true),
                (b"\r\n\r\n\0\r\nQUIT\n", 0x21) => Ok(false),
                _ => wrong("no header of version 2", &head),
            }
        }
    }
}
