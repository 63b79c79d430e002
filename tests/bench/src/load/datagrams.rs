//! Datagrams: asked and answered by many clients, or one way in a stream. What is lost is counted, not sent again.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use serde_json::json;

use super::{Job, done, ready};
use crate::stats::Latencies;
use crate::sys::{self, Sources};
use crate::wire::{self, Pattern};

/// What has not come by then is lost.
const LOST: Duration = Duration::from_secs(1);
/// Datagrams that a stream sends at once.
const BURST: u64 = 16;

/// `clients`, `size`, `requests`, `warm`; `rate` 0: each client sends its next when its last has come back; else so many
/// a second, in turn, of clients that do not wait.
pub fn run(job: &Job) -> Result<()> {
    sys::exact_timers()?;
    let (requests, rate) = (job.count("requests")?, job.number("rate")?);
    let mut clients = Clients::open(job)?;
    clients.talk(job.count("warm")?, rate)?;
    ready()?;
    let began = Instant::now();
    let lost = clients.talk(requests, rate)?;
    let seconds = began.elapsed().as_secs_f64();
    done(&clients.latencies.json(json!({ "requests": requests, "seconds": seconds, "lost": lost })))
}

struct Client {
    socket: UdpSocket,
    sent: u64,
    /// The datagrams under way, and when each was sent.
    due: VecDeque<(u64, Instant)>,
}

struct Clients {
    all: Vec<Client>,
    poll: OwnedFd,
    pattern: Pattern,
    message: Vec<u8>,
    latencies: Latencies,
}

impl Clients {
    fn open(job: &Job) -> Result<Self> {
        let (poll, mut sources) = (sys::epoll()?, Sources::new(job.run));
        let mut all = Vec::new();
        for id in 0..job.number("clients")? {
            let socket = sources.datagrams(job.target)?;
            epoll::add(&poll, &socket, EventData::new_u64(id), EventFlags::IN)?;
            all.push(Client { socket, sent: 0, due: VecDeque::new() });
        }
        let latencies = Latencies::with_capacity(job.count("requests")?);
        Ok(Clients { all, poll, pattern: Pattern::new(), message: vec![0; job.count("size")?], latencies })
    }

    fn send(&mut self, at: usize) -> Result<()> {
        let client = &mut self.all[at];
        client.sent += 1;
        wire::message(&mut self.message, at as u32, client.sent, &self.pattern);
        client.due.push_back((client.sent, Instant::now()));
        client.socket.send(&self.message).with_context(|| format!("client {at}"))?;
        Ok(())
    }

    /// Takes an answer and checks it. Whether there was one.
    fn receive(&mut self, at: usize, buffer: &mut [u8]) -> Result<bool> {
        let client = &mut self.all[at];
        let length = match client.socket.recv(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("client {at}")),
        };
        let number = wire::number_of(&buffer[..length]).unwrap_or_default();
        wire::message(&mut self.message, at as u32, number, &self.pattern);
        ensure!(buffer[..length] == self.message, "client {at}: datagram {number} came back changed");
        while let Some((due, sent)) = client.due.pop_front() {
            if due == number {
                self.latencies.add(sent.elapsed());
                return Ok(true);
            }
            // Lost, since within a flow none may overtake another.
        }
        bail!("client {at}: datagram {number} came back late, or twice")
    }

    /// Sends `total` datagrams. Returns how many did not come back.
    fn talk(&mut self, total: usize, rate: u64) -> Result<usize> {
        self.latencies.clear();
        let (mut events, mut buffer) = (Vec::with_capacity(1024), vec![0; 64 * 1024]);
        let (mut sent, mut back, began) = (0, 0, Instant::now());
        while rate == 0 && sent < total.min(self.all.len()) {
            self.send(sent)?;
            sent += 1;
        }
        while back < total {
            let mut limit = LOST;
            if rate > 0 && sent < total {
                // As many as are due, and the time until the next.
                let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
                // After a pause of the machine not all at once: loopback drops what is beyond netdev_max_backlog.
                let due = due.min(total).min(sent + BURST as usize);
                while sent < due {
                    self.send(sent % self.all.len())?;
                    sent += 1;
                }
                if sent < total {
                    let next = Duration::from_secs_f64((sent + 1) as f64 / rate as f64);
                    limit = next.saturating_sub(began.elapsed());
                }
            }
            sys::wait(&self.poll, &mut events, Some(limit))?;
            if events.is_empty() && (rate == 0 || sent == total) {
                return Ok(total - back);
            }
            for event in &events {
                let at = event.data.u64() as usize;
                if self.receive(at, &mut buffer)? {
                    back += 1;
                    if rate == 0 && sent < total {
                        self.send(at)?;
                        sent += 1;
                    }
                }
            }
        }
        Ok(0)
    }
}

/// `size`, `requests`, `rate`: a stream in bursts, and then the question how much of it has come.
pub fn one_way(job: &Job) -> Result<()> {
    sys::exact_timers()?;
    let (requests, rate) = (job.number("requests")?, job.number("rate")?);
    let socket = Sources::new(job.run).datagrams(job.target)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOST))?;
    let (pattern, mut message) = (Pattern::new(), vec![0; job.count("size")?]);
    let before = how_many(&socket)?;
    ready()?;
    let began = Instant::now();
    for number in 0..requests {
        if number % BURST == 0 {
            let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        wire::message(&mut message, 0, number + 1, &pattern);
        message[0] = wire::ONE_WAY;
        socket.send(&message).context("sending a stream")?;
    }
    let seconds = began.elapsed().as_secs_f64();
    // What is still on its way.
    let (mut came, mut quiet) = (how_many(&socket)?, 0);
    while came - before < requests && quiet < 10 {
        thread::sleep(LOST / 10);
        let now = how_many(&socket)?;
        quiet = if now == came { quiet + 1 } else { 0 };
        came = now;
    }
    done(&json!({ "requests": requests, "seconds": seconds, "lost": requests - (came - before) }))
}

/// How many datagrams of this stream the backend has. A lost question is asked again.
fn how_many(socket: &UdpSocket) -> Result<u64> {
    let mut count = [0; 8];
    for _ in 0..5 {
        socket.send(&[wire::HOW_MANY])?;
        if socket.recv(&mut count).is_ok() {
            return Ok(u64::from_le_bytes(count));
        }
    }
    anyhow::bail!("the backend does not say how many datagrams have come")
}
