//! Churn: open, one byte each way, close; some slots at once. A connection counts once its FIN has been answered, or
//! once it was reset.

use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde_json::json;

use super::{Job, done, ready};
use crate::stats::Latencies;
use crate::sys::{self, Sources};
use crate::wire::{self, ECHO};

/// `connections` in all, `slots` at once, `warm` before them; `hello`: each begins with a ClientHello; `reset`: each ends
/// with RST.
pub fn run(job: &Job) -> Result<()> {
    let (total, slots) = (job.count("connections")?, job.count("slots")?);
    let first = if job.number("hello")? == 1 { wire::client_hello(wire::NAME) } else { vec![ECHO] };
    let reset = job.number("reset")? == 1;
    let (sources, poll) = (Sources::new(job.run), sys::epoll()?);
    let mut churn = Churn { job, sources, poll, slots: Vec::new(), first, reset };
    churn.slots.resize_with(slots, || None);
    churn.turn(job.count("warm")?)?;
    ready()?;
    let began = Instant::now();
    let latencies = churn.turn(total)?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(latencies.len() == total, "{} of {total} connections were answered", latencies.len());
    done(&latencies.json(json!({ "connections": total, "seconds": seconds })))
}

struct Churn<'a> {
    job: &'a Job,
    sources: Sources,
    poll: OwnedFd,
    slots: Vec<Option<Slot>>,
    /// What each connection begins with.
    first: Vec<u8>,
    reset: bool,
}

struct Slot {
    stream: TcpStream,
    began: Instant,
    answered: bool,
}

impl Churn<'_> {
    /// Opens and closes `total` connections; returns the time from each one's start to its byte.
    fn turn(&mut self, total: usize) -> Result<Latencies> {
        let mut latencies = Latencies::with_capacity(total);
        let mut events = Vec::with_capacity(256);
        let (mut opened, mut closed) = (0, 0);
        while opened < total.min(self.slots.len()) {
            self.open(opened)?;
            opened += 1;
        }
        while closed < total {
            sys::wait_or_stuck(&self.poll, &mut events)
                .with_context(|| format!("{closed} of {total} connections were closed"))?;
            for event in &events {
                let at = event.data.u64() as usize;
                if !self.step(at, &mut latencies).with_context(|| format!("after {closed} connections"))? {
                    continue;
                }
                closed += 1;
                self.slots[at] = None;
                if opened < total {
                    self.open(at)?;
                    opened += 1;
                }
            }
        }
        Ok(latencies)
    }

    fn open(&mut self, at: usize) -> Result<()> {
        let began = Instant::now();
        // On loopback the handshake is over when a blocking `connect` returns.
        let stream = self.sources.connect(self.job.target)?;
        stream.set_nonblocking(true)?;
        sys::send_all(&stream, &self.first)?;
        epoll::add(&self.poll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
        self.slots[at] = Some(Slot { stream, began, answered: false });
        Ok(())
    }

    /// Takes a connection one step on. Returns whether it is over.
    fn step(&mut self, at: usize, latencies: &mut Latencies) -> Result<bool> {
        let slot = self.slots[at].as_mut().context("an event of a closed connection")?;
        let mut bytes = [0; 2];
        match (sys::recv(&slot.stream, &mut bytes), slot.answered) {
            (Ok(1), false) if bytes[0] == ECHO => {
                latencies.add(slot.began.elapsed());
                slot.answered = true;
                if self.reset {
                    sys::reset_at_close(&slot.stream)?;
                    return Ok(true);
                }
                slot.stream.shutdown(Shutdown::Write).context("sending FIN")?;
                Ok(false)
            }
            (Ok(0), true) => Ok(true),
            (Ok(0), false) => bail!("a connection was closed without an answer"),
            (Ok(n), _) => bail!("{n} bytes came, or a wrong one"),
            (Err(Errno::AGAIN | Errno::INTR), _) => Ok(false),
            (Err(error), _) => Err(error).context("recv"),
        }
    }
}
