//! Nodes that announce themselves to a router with bird, as `deploy/fleet` does it, and clients that come and stay.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::fleet::{FleetNet, Running, client, connect, shipped};
use crate::harness::instance::*;
use crate::harness::until;

/// A bucket that nobody has used for so long may move to another node.
pub const IDLE: Duration = Duration::from_secs(5);

/// Whether a test of this kind must be left out.
#[track_caller]
pub fn cannot_route() -> bool {
    lacks_root() || lacks(&["bird", "birdc"]) || !can("resilient groups of next hops", has_resilient_groups())
}

/// Linux has them since 5.13.
fn has_resilient_groups() -> bool {
    let net = Netns::new();
    net.ip("nexthop add id 1 blackhole");
    let mut add = net.command("ip");
    add.args(["nexthop", "add", "id", "10", "group", "1", "type", "resilient", "buckets", "8"]);
    add.stderr(Stdio::null()).status().unwrap().success()
}

/// bird in a network, with its files in a folder. On a busy machine it must not seem dead.
fn bird(net: &Netns, folder: &Path, name: &str, changes: &[(&str, &str)]) -> Running {
    let changes = [changes, &[("multiplier 4", "multiplier 15")]].concat();
    fs::write(folder.join("bird.conf"), shipped(name, &changes)).unwrap();
    let mut command = net.command("bird");
    command.arg("-f").arg("-c").arg(folder.join("bird.conf")).arg("-P").arg(folder.join("bird.pid"));
    Running::start(command.arg("-s").arg(folder.join("bird.ctl")))
}

/// A script of `deploy/fleet` in a network.
fn script(net: &Netns, folder: &Path, name: &str, changes: &[(&str, &str)]) -> Running {
    fs::write(folder.join("script"), shipped(name, changes)).unwrap();
    Running::start(net.command("sh").arg(folder.join("script")))
}

/// What runs on the router.
pub struct Router<'n> {
    net: &'n Netns,
    _running: [Running; 2],
    _folder: tempfile::TempDir,
}

impl<'n> Router<'n> {
    pub fn start(net: &'n Netns) -> Router<'n> {
        let folder = tempfile::tempdir().unwrap();
        let idle = format!("idle_timer {}", IDLE.as_secs());
        let running = [
            bird(net, folder.path(), "router/bird.conf", &[]),
            script(net, folder.path(), "router/resilient", &[("idle_timer 60", &idle)]),
        ];
        Router { net, _running: running, _folder: folder }
    }

    fn shows(&self, words: &str) -> String {
        let shown = self.net.command("ip").args(words.split(' ')).output().unwrap();
        String::from_utf8(shown.stdout).unwrap()
    }

    /// To which nodes it leads clients.
    pub fn nodes(&self) -> Vec<usize> {
        let shown = self.shows("-o route show 192.0.2.10/32");
        (1..=3).filter(|number| shown.contains(&format!("via 10.1.{number}.2 "))).collect()
    }

    /// Waits until each of three nodes has its part of the 128 buckets. Only those that are idle go to one that is new.
    pub fn shares_out(&self) {
        let buckets = |number| {
            let id = Ipv4Addr::new(10, 1, number, 2).to_bits();
            self.shows(&format!("nexthop bucket show id 10 nhid {id}")).lines().count()
        };
        until("the buckets are shared out", || (1..=3).all(|number| buckets(number) >= 42));
    }
}

/// What runs on a node.
pub struct Node<'n> {
    net: &'n Netns,
    pub place: Place,
    pub portway: Portway,
    more: Vec<String>,
    _announced: [Running; 2],
}

impl<'n> Node<'n> {
    /// `text`: of its file, with an `[admin]` at 127.0.0.1:9180. `more`: arguments of `portway run`.
    pub fn start(net: &'n Netns, number: usize, text: &str, more: &[&str]) -> Node<'n> {
        let place = Place::with(text);
        let (own, router) = (format!("10.1.{number}.2"), format!("10.1.{number}.1"));
        let ask = format!("{PORTWAY} status --ready --admin 127.0.0.1:9180");
        let birdc = format!("birdc -s {}", place.root().join("bird.ctl").display());
        let announced = [
            bird(net, place.root(), "bird.conf", &[("10.1.1.1", &router), ("10.1.1.2", &own)]),
            script(
                net,
                place.root(),
                "portway-announce",
                &[("/usr/bin/portway status --ready", &ask), ("birdc", &birdc)],
            ),
        ];
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        let portway = Portway::start(&mut Node::command(net, &place, &more));
        Node { net, place, portway, more, _announced: announced }
    }

    fn command(net: &Netns, place: &Place, more: &[String]) -> Command {
        let mut command = net.command(PORTWAY);
        command.arg("run").arg(place.file()).args(more);
        command
    }

    /// Portway again, from the file as it is.
    pub fn starts_again(&mut self) {
        self.portway = Portway::start(&mut Node::command(self.net, &self.place, &self.more));
    }
}

/// A connection of a client, which has been greeted.
pub fn visit(number: u32) -> std::io::Result<Flow> {
    Flow::greeted(connect(client(number))?)
}

/// A thread that goes on until it is told to end.
struct Loop<T> {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Loop<T> {
    fn start(run: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Loop<T> {
        let over = Arc::<AtomicBool>::default();
        let theirs = over.clone();
        Loop { over, thread: Some(thread::spawn(move || run(&theirs))) }
    }

    fn end(mut self) -> T {
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl<T> Drop for Loop<T> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Connections that go on talking, one after the other: none is idle for as long as [`IDLE`].
pub struct Talkers(Loop<Vec<(Flow, bool)>>);

impl Talkers {
    /// One connection of each client.
    pub fn of(net: &FleetNet, clients: std::ops::Range<u32>) -> Talkers {
        let flows: Vec<Flow> = net.clients.enter(|| clients.map(|number| visit(number).unwrap()).collect());
        Talkers(Loop::start(move |over| {
            let mut flows: Vec<(Flow, bool)> = flows.into_iter().map(|flow| (flow, true)).collect();
            loop {
                let last = over.load(Ordering::SeqCst);
                for (flow, lives) in flows.iter_mut().filter(|(_, lives)| *lives) {
                    *lives = flow.ping().is_ok();
                }
                if last {
                    return flows;
                }
                pass(Duration::from_millis(50));
            }
        }))
    }

    /// All of them, each with whether it lives: it has spoken once more.
    pub fn end(self) -> Vec<(Flow, bool)> {
        self.0.end()
    }
}

/// What became of clients that came one after the other.
#[derive(Debug, Default)]
pub struct Came {
    pub served: usize,
    pub refused: usize,
    /// What else went wrong. Whoever is on the way when a route changes is reset.
    pub lost: Vec<std::io::Error>,
}

/// Clients that come one after the other, each with another address.
pub struct Comers(Loop<Came>, Arc<AtomicUsize>);

impl Comers {
    pub fn of(net: &Arc<FleetNet>, clients: std::ops::Range<u32>) -> Comers {
        let (net, count) = (net.clone(), Arc::<AtomicUsize>::default());
        let counted = count.clone();
        let run = move |over: &AtomicBool| {
            let mut came = Came::default();
            net.clients.enter(|| {
                for number in clients.cycle().take_while(|_| !over.load(Ordering::SeqCst)) {
                    match visit(number).and_then(|mut flow| flow.ping()) {
                        Ok(()) => came.served += 1,
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => came.refused += 1,
                        Err(error) => came.lost.push(error),
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
            came
        };
        Comers(Loop::start(run), count)
    }

    /// Waits until so many more have come.
    pub fn come(&self, more: usize) {
        let now = self.1.load(Ordering::SeqCst);
        until("clients come", || self.1.load(Ordering::SeqCst) >= now + more);
    }

    pub fn end(self) -> Came {
        self.0.end()
    }
}

/// Whether a node itself serves, asked at its own address.
pub fn serves(net: &FleetNet, number: u8) -> bool {
    let addr = (Ipv4Addr::new(10, 1, number, 2), 8080);
    net.clients.enter(|| TcpStream::connect(addr).and_then(Flow::greeted).is_ok())
}
