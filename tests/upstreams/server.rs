//! Servers that can be stopped and started again at the same address, and files that lead to them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use socket2::SockRef;

use crate::harness::instance::{Flow, LONG_QUEUE, Port};

/// Connections by the address of their client.
type Taken = Arc<Mutex<HashMap<SocketAddr, TcpStream>>>;

/// A server that says its name to everyone who connects, and leaves when its client does.
pub struct Server {
    pub name: &'static str,
    addr: SocketAddr,
    _port: Option<Port>,
    taken: Taken,
    listening: Option<Listening>,
}

struct Listening {
    stop: Arc<AtomicBool>,
    socket: TcpListener,
    thread: JoinHandle<()>,
}

impl Server {
    pub fn new(name: &'static str) -> Server {
        let port = Port::reserve();
        let addr = port.local().parse().unwrap();
        let mut server = Server { name, addr, _port: Some(port), taken: Arc::default(), listening: None };
        server.start();
        server
    }

    /// At an address of a network namespace, in which this is called.
    pub fn at(name: &'static str, addr: &str) -> Server {
        Server::try_at(name, addr).unwrap()
    }

    /// The same, where the address may be taken.
    pub fn try_at(name: &'static str, addr: &str) -> std::io::Result<Server> {
        let addr = addr.parse().unwrap();
        let mut server = Server { name, addr, _port: None, taken: Arc::default(), listening: None };
        server.try_start()?;
        Ok(server)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn start(&mut self) {
        self.try_start().unwrap();
    }

    fn try_start(&mut self) -> std::io::Result<()> {
        let listener = TcpListener::bind(self.addr())?;
        SockRef::from(&listener).listen(LONG_QUEUE)?;
        let (stop, socket) = (Arc::new(AtomicBool::new(false)), listener.try_clone().unwrap());
        let (stopped, taken, greeting) = (stop.clone(), self.taken.clone(), format!("{}\n", self.name));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (taken, greeting) = (taken.clone(), greeting.clone());
                std::thread::spawn(move || serve(stream, &greeting, &taken));
            }
        });
        self.listening = Some(Listening { stop, socket, thread });
        Ok(())
    }

    /// Closes its listener: from now on it refuses. Its connections go on.
    pub fn refuse(&mut self) {
        let Some(Listening { stop, socket, thread }) = self.listening.take() else { return };
        stop.store(true, Ordering::SeqCst);
        // Wakes the thread, from whatever network namespace.
        drop(SockRef::from(&socket).shutdown(Shutdown::Both));
        let ended = thread.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server's thread panicked");
    }

    /// As if its process ended.
    pub fn die(&mut self) {
        self.refuse();
        self.end_connections();
    }

    pub fn end_connections(&self) {
        for stream in self.taken.lock().unwrap().values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

fn serve(mut stream: TcpStream, greeting: &str, taken: &Taken) {
    let (Ok(client), Ok(clone)) = (stream.peer_addr(), stream.try_clone()) else { return };
    taken.lock().unwrap().insert(client, clone);
    // The client's end shows whatever goes wrong here.
    drop(stream.write_all(greeting.as_bytes()));
    drop(std::io::copy(&mut stream, &mut std::io::sink()));
    drop(stream.shutdown(Shutdown::Both));
    taken.lock().unwrap().remove(&client);
}

/// A file with one route to these upstreams, as they stand in the file; `more` is further lines.
pub fn leads(port: &Port, upstreams: &[String], more: &str) -> String {
    let mut text = "[log]\nformat = \"json\"\naccess = \"stderr\"\n".to_owned();
    let _ = write!(
        text,
        "[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = [{}]\n{more}\n",
        port.local(),
        upstreams.join(", ")
    );
    text
}

/// A server as an upstream in the file; `more` is further keys.
pub fn entry(server: &Server, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("{{ address = \"{}\"{comma}{more} }}", server.addr())
}

/// The names that so many clients reach, one after the other; each leaves before the next comes.
pub fn reach(port: &Port, clients: usize) -> Vec<String> {
    (0..clients).map(|_| Flow::open(port.number).reached).collect()
}

/// How often a name is among them.
pub fn count(names: &[String], name: &str) -> usize {
    names.iter().filter(|found| *found == name).count()
}
