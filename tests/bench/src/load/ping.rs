//! Ping-pong: messages that come back, on some connections; as fast as they come back, or at a given rate, and then
//! timed from when each was due, so that a proxy that stalls does not hide what it made wait.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde_json::json;

use super::{Job, done, ready};
use crate::stats::Latencies;
use crate::sys::{self, Sources};
use crate::wire::{self, Header, Pattern};

/// `connections`, `size`, `requests`, `warm`; `rate` per second (0: as they come back); `flow` 1: beside one bulk
/// stream.
pub fn run(job: &Job) -> Result<()> {
    sys::exact_timers()?;
    let (requests, rate) = (job.count("requests")?, job.number("rate")?);
    let mut sources = Sources::new(job.run);
    let mut pings = Pings::open(job, &mut sources)?;
    pings.closed_loop(job.count("warm")?)?;
    let flow = if job.number("flow")? == 1 { Some(Flow::start(sources.connect(job.target)?)?) } else { None };
    ready()?;

    let (began, before) = (Instant::now(), flow.as_ref().map_or(0, Flow::bytes));
    let late = if rate == 0 {
        pings.closed_loop(requests)?;
        None
    } else {
        Some(pings.paced(requests, rate)?)
    };
    let (seconds, after) = (began.elapsed().as_secs_f64(), flow.as_ref().map_or(0, Flow::bytes));

    if let Some(flow) = flow {
        flow.stop()?;
        ensure!(after > before, "the bulk stream stood still");
    }
    ensure!(pings.latencies.len() == requests, "{} of {requests} came back", pings.latencies.len());
    let late_p99_us = late.map(|mut late| late.percentile_us(990));
    done(&pings.latencies.json(json!({
        "requests": requests, "seconds": seconds, "flow_bytes": after - before, "late_p99_us": late_p99_us,
    })))
}

struct Conn {
    stream: TcpStream,
    sent: u64,
    /// Whole messages that came back.
    got: u64,
    /// Bytes of the next one.
    part: usize,
    /// When each message under way was due.
    due: VecDeque<Instant>,
}

struct Pings {
    conns: Vec<Conn>,
    poll: OwnedFd,
    pattern: Arc<Pattern>,
    /// Room for one message to be sent, or to be expected.
    message: Vec<u8>,
    buffer: Vec<u8>,
    latencies: Latencies,
}

impl Pings {
    fn open(job: &Job, sources: &mut Sources) -> Result<Self> {
        let poll = sys::epoll()?;
        let mut conns = Vec::new();
        for id in 0..job.number("connections")? {
            let stream = sources.connect(job.target)?;
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, EventData::new_u64(id), EventFlags::IN)?;
            conns.push(Conn { stream, sent: 0, got: 0, part: 0, due: VecDeque::new() });
        }
        Ok(Pings {
            conns,
            poll,
            pattern: Arc::new(Pattern::new()),
            message: vec![0; job.count("size")?],
            buffer: vec![0; 64 * 1024],
            latencies: Latencies::with_capacity(job.count("requests")?),
        })
    }

    fn send(&mut self, at: usize, due: Instant) -> Result<()> {
        let conn = &mut self.conns[at];
        wire::message(&mut self.message, at as u32, conn.sent, &self.pattern);
        sys::send_all(&conn.stream, &self.message)
            .with_context(|| format!("connection {at}, message {}", conn.sent))?;
        conn.sent += 1;
        conn.due.push_back(due);
        Ok(())
    }

    /// Takes what has come back and checks it. Returns how many messages are complete.
    fn receive(&mut self, at: usize) -> Result<usize> {
        let conn = &mut self.conns[at];
        let n = match sys::recv(&conn.stream, &mut self.buffer) {
            Ok(0) => bail!("connection {at} was closed after {} messages", conn.got),
            Ok(n) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(error).with_context(|| format!("connection {at}")),
        };
        let (now, mut rest, mut complete) = (Instant::now(), &self.buffer[..n], 0);
        while !rest.is_empty() {
            wire::message(&mut self.message, at as u32, conn.got, &self.pattern);
            let len = rest.len().min(self.message.len() - conn.part);
            let (part, after) = rest.split_at(len);
            ensure!(
                *part == self.message[conn.part..conn.part + len],
                "connection {at}: message {} came back changed",
                conn.got
            );
            rest = after;
            conn.part += len;
            if conn.part == self.message.len() {
                let due = conn.due.pop_front().with_context(|| format!("connection {at}: bytes too many"))?;
                self.latencies.add(now.saturating_duration_since(due));
                conn.part = 0;
                conn.got += 1;
                complete += 1;
            }
        }
        Ok(complete)
    }

    /// Sends `total` messages, on each connection the next when one has come back.
    fn closed_loop(&mut self, total: usize) -> Result<()> {
        self.latencies.clear();
        let mut events = Vec::with_capacity(1024);
        let (mut sent, mut done) = (0, 0);
        while sent < total.min(self.conns.len()) {
            self.send(sent, Instant::now())?;
            sent += 1;
        }
        while done < total {
            sys::wait_or_stuck(&self.poll, &mut events)
                .with_context(|| format!("{done} of {total} messages came back"))?;
            for event in &events {
                let at = event.data.u64() as usize;
                for _ in 0..self.receive(at)? {
                    done += 1;
                    if sent < total {
                        self.send(at, Instant::now())?;
                        sent += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends `total` messages, `rate` a second, in turn on all connections, whether or not others are under way.
    /// Returns by how much the load itself was late.
    fn paced(&mut self, total: usize, rate: u64) -> Result<Latencies> {
        self.latencies.clear();
        let mut late = Latencies::with_capacity(total);
        let mut events = Vec::with_capacity(1024);
        let start = Instant::now() + Duration::from_millis(1);
        let due = |number: usize| start + Duration::from_nanos(number as u64 * 1_000_000_000 / rate);
        let (mut sent, mut done) = (0, 0);
        while done < total {
            let now = Instant::now();
            while sent < total && due(sent) <= now {
                late.add(now - due(sent));
                self.send(sent % self.conns.len(), due(sent))?;
                sent += 1;
            }
            if sent < total {
                let limit = due(sent).saturating_duration_since(Instant::now());
                sys::wait(&self.poll, &mut events, Some(limit))?;
            } else {
                sys::wait_or_stuck(&self.poll, &mut events)
                    .with_context(|| format!("{done} of {total} messages came back"))?;
            }
            for event in &events {
                done += self.receive(event.data.u64() as usize)?;
            }
        }
        Ok(late)
    }
}

/// One endless bulk stream on a thread of its own.
struct Flow {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    worker: thread::JoinHandle<Result<u64>>,
}

impl Flow {
    fn start(stream: TcpStream) -> Result<Self> {
        sys::blocking(&stream, Duration::from_secs(20))?;
        let header = Header { kind: wire::FLOW, size: 0, seed: 5 };
        sys::send_all(&stream, &header.bytes())?;
        let (bytes, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&bytes), Arc::clone(&stop));
        let worker = thread::spawn(move || {
            sys::be_nice();
            let enough = |got| {
                count.store(got, Ordering::Relaxed);
                stopped.load(Ordering::Relaxed)
            };
            wire::receive_pattern(&mut &stream, &Pattern::new(), (header.seed, u64::MAX), enough)
        });
        let flow = Flow { bytes, stop, worker };
        while flow.bytes() < 64 << 20 && !flow.worker.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(flow)
    }

    /// Bytes that have come and were right.
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().map_err(|_| anyhow!("the bulk thread panicked"))?
    }
}
