//! A thread that serves the clients' ends, or the backend's, and what it tells of them.

use std::collections::HashMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::end::{End, HEAD, How, Plan, Seen, Trip};
use crate::sys;

/// The longest sleep of a thread.
const LOOK: Duration = Duration::from_millis(100);
/// Tokens of what is no end.
const BELL: u64 = u64::MAX;
const DOOR: u64 = u64::MAX - 1;

/// What the backend does with a pair, unless it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// It sends back as many bytes as come.
    pub mirrors: bool,
    /// It reads nothing.
    pub is_held: bool,
}

/// An end that is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub pair: u64,
    pub how: How,
    pub sent: u64,
    pub received: u64,
    /// From connect or accept.
    pub took: Duration,
}

/// What both the thread and its owner see.
#[derive(Default)]
pub struct Shared {
    seen: Mutex<HashMap<u64, Arc<Seen>>>,
    ended: Mutex<Vec<Ended>>,
    trips: Mutex<Vec<Trip>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Word {
    Connect(u64, SocketAddr, Plan, Manner),
    Plan(u64, Plan),
    Stop,
}

/// The ends of one side.
pub struct Crowd {
    shared: Arc<Shared>,
    words: Sender<Word>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// `door`: the backend's listener. `None`: clients.
    pub fn begin(door: Option<TcpListener>) -> Result<Crowd> {
        let (words, heard) = channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let shared = Arc::new(Shared::default());
        let poll = sys::epoll()?;
        epoll::add(&poll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
        if let Some(door) = &door {
            door.set_nonblocking(true)?;
            sys::listen_long(door)?;
            epoll::add(&poll, door, EventData::new_u64(DOOR), EventFlags::IN)?;
        }
        let (own, rings) = (shared.clone(), bell.clone());
        let thread = std::thread::spawn(move || {
            let mut serving = Serving::new((poll, rings, door), heard, own);
            if let Err(error) = serving.run() {
                eprintln!("upgrade: a side of the load has failed: {error:#}");
                std::process::exit(1);
            }
        });
        Ok(Crowd { shared, words, bell, thread: Some(thread) })
    }

    fn say(&self, word: Word) {
        // If the thread has gone, the program ends.
        let _ = self.words.send(word);
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Opens a pair. `plan`: of the client.
    pub fn connect(&self, pair: u64, to: SocketAddr, plan: Plan, manner: Manner) {
        self.say(Word::Connect(pair, to, plan, manner));
    }

    /// Gives an end another plan.
    pub fn plan(&self, pair: u64, plan: Plan) {
        self.say(Word::Plan(pair, plan));
    }

    /// What an end has sent and received. Nothing, if it is not known here.
    pub fn moved(&self, pair: u64) -> Option<(u64, u64)> {
        let seen = lock(&self.shared.seen).get(&pair).cloned()?;
        Some((seen.sent.load(Ordering::Relaxed), seen.received.load(Ordering::Relaxed)))
    }

    /// How many are over.
    pub fn count_ended(&self) -> usize {
        lock(&self.shared.ended).len()
    }

    /// Those that are over, from then on forgotten.
    pub fn take_ended(&self) -> Vec<Ended> {
        std::mem::take(&mut *lock(&self.shared.ended))
    }

    /// The round trips so far, from then on forgotten.
    pub fn take_trips(&self) -> Vec<Trip> {
        std::mem::take(&mut *lock(&self.shared.trips))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.say(Word::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Place {
    end: End,
    seen: Arc<Seen>,
    begun: Instant,
}

/// What the thread has.
struct Serving {
    poll: OwnedFd,
    bell: Arc<OwnedFd>,
    door: Option<TcpListener>,
    words: Receiver<Word>,
    shared: Arc<Shared>,
    ends: HashMap<u64, Place>,
    /// Accepted, and not yet known which pair.
    strangers: HashMap<u64, TcpStream>,
    next_stranger: u64,
    again: Vec<u64>,
    asking: Vec<u64>,
    buffer: Vec<u8>,
}

impl Serving {
    fn new(
        (poll, bell, door): (OwnedFd, Arc<OwnedFd>, Option<TcpListener>),
        words: Receiver<Word>,
        shared: Arc<Shared>,
    ) -> Serving {
        Serving {
            poll,
            bell,
            door,
            words,
            shared,
            ends: HashMap::new(),
            strangers: HashMap::new(),
            next_stranger: 1 << 62,
            again: Vec::new(),
            asking: Vec::new(),
            buffer: vec![0; 64 << 10],
        }
    }

    fn run(&mut self) -> Result<()> {
        sys::exact_timers()?;
        let mut events: Vec<Event> = Vec::with_capacity(512);
        loop {
            sys::wait(&self.poll, &mut events, Some(self.sleep()))?;
            for event in &events {
                match event.data.u64() {
                    BELL => {
                        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
                    }
                    DOOR => self.accept()?,
                    token if token >= 1 << 62 => self.greet(token)?,
                    pair => self.go(pair),
                }
            }
            for pair in std::mem::take(&mut self.again) {
                self.go(pair);
            }
            self.ask();
            while let Ok(word) = self.words.try_recv() {
                match word {
                    Word::Connect(pair, to, plan, manner) => self.connect(pair, to, plan, manner)?,
                    Word::Plan(pair, plan) => self.change(pair, plan),
                    Word::Stop => return Ok(()),
                }
            }
        }
    }

    fn sleep(&self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let due = self.asking.iter().filter_map(|pair| self.ends.get(pair)?.end.due()).min();
        due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()).min(LOOK))
    }

    fn ask(&mut self) {
        let now = Instant::now();
        let is_due = |pair: &&u64| {
            let end = self.ends.get(pair).map(|place| &place.end);
            end.and_then(End::due).is_some_and(|due| due <= now)
        };
        let due: Vec<u64> = self.asking.iter().filter(is_due).copied().collect();
        due.into_iter().for_each(|pair| self.go(pair));
    }

    fn accept(&mut self) -> Result<()> {
        let Some(door) = &self.door else { return Ok(()) };
        loop {
            match door.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    let token = self.next_stranger;
                    self.next_stranger += 1;
                    epoll::add(&self.poll, &socket, EventData::new_u64(token), EventFlags::IN)?;
                    self.strangers.insert(token, socket);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            }
        }
    }

    /// Learns which pair has come.
    fn greet(&mut self, token: u64) -> Result<()> {
        let Some(socket) = self.strangers.remove(&token) else { return Ok(()) };
        let mut head = [0; HEAD];
        let got = (&socket).read(&mut head);
        epoll::delete(&self.poll, &socket)?;
        // One small write of a client comes whole. One that was reset before it has spoken is seen at its other end.
        if !matches!(got, Ok(HEAD)) {
            return Ok(());
        }
        let manner = Manner { mirrors: head[0] & 1 != 0, is_held: head[0] & 2 != 0 };
        let pair = head[8..].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if manner.is_held {
            small_buffers(&socket)?;
        }
        let read_to = if manner.is_held { 0 } else { u64::MAX };
        let plan = Plan { mirrors: manner.mirrors, read_to, ..Plan::default() };
        self.add(End::new(socket, pair, None, plan))
    }

    fn connect(&mut self, pair: u64, to: SocketAddr, plan: Plan, manner: Manner) -> Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        if manner.is_held {
            small_buffers(&socket)?;
        }
        rustix::net::bind(&socket, &SocketAddr::new(of_its_own(pair).into(), 0))?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("connect"),
        }
        let mut head = [0; HEAD];
        head[0] = u8::from(manner.mirrors) | u8::from(manner.is_held) << 1;
        head[8..].copy_from_slice(&pair.to_le_bytes());
        self.add(End::new(socket.into(), pair, Some(head), plan))
    }

    fn add(&mut self, end: End) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.poll, &end.socket, EventData::new_u64(end.pair), flags)?;
        let (pair, seen) = (end.pair, Arc::new(Seen::default()));
        lock(&self.shared.seen).insert(pair, seen.clone());
        if end.plan.asks.is_some() {
            self.asking.push(pair);
        }
        self.ends.insert(pair, Place { end, seen, begun: Instant::now() });
        self.go(pair);
        Ok(())
    }

    fn change(&mut self, pair: u64, plan: Plan) {
        if let Some(place) = self.ends.get_mut(&pair) {
            place.end.plan = plan;
            if plan.asks.is_some() && !self.asking.contains(&pair) {
                self.asking.push(pair);
            }
            self.go(pair);
        }
    }

    fn go(&mut self, pair: u64) {
        let Some(place) = self.ends.get_mut(&pair) else { return };
        let end = &mut place.end;
        let gone = end.go(&mut self.buffer, &mut lock(&self.shared.trips));
        place.seen.sent.store(end.sent, Ordering::Relaxed);
        place.seen.received.store(end.received, Ordering::Relaxed);
        match gone {
            Ok(false) => {}
            Ok(true) => self.again.push(pair),
            Err(how) => {
                let (sent, received, took) = (end.sent, end.received, place.begun.elapsed());
                self.ends.remove(&pair);
                self.asking.retain(|asking| *asking != pair);
                lock(&self.shared.ended).push(Ended { pair, how, sent, received, took });
            }
        }
    }
}

/// An address that few other clients have: Portway divides its places among addresses.
fn of_its_own(pair: u64) -> Ipv4Addr {
    let [.., high, low] = pair.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// What is held back is to stand in many queues, not in a few long ones.
fn small_buffers(socket: &impl rustix::fd::AsFd) -> Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size(socket, 32 << 10).context("SO_RCVBUF")?;
    rustix::net::sockopt::set_socket_send_buffer_size(socket, 32 << 10).context("SO_SNDBUF")
}
