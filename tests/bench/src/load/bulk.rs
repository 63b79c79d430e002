//! Bulk: some connections, each with its share of the bytes, all of them checked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use super::{Job, done, ready};
use crate::sys::{self, Sources};
use crate::wire::{self, Header, Pattern};

/// Time without one byte after which a connection is taken for stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Bytes that go through before the measurement.
const WARM: u64 = 16 << 20;

/// `connections`, `bytes` in all, `up` 0 or 1.
pub fn run(job: &Job) -> Result<()> {
    let (connections, up) = (job.number("connections")?, job.number("up")? == 1);
    let share = job.number("bytes")? / connections;
    let pattern = Arc::new(Pattern::new());
    let mut sources = Sources::new(job.run);
    let mut connect = || -> Result<TcpStream> {
        let stream = sources.connect(job.target)?;
        sys::blocking(&stream, STUCK)?;
        Ok(stream)
    };
    transfer(&connect()?, &pattern, Header { kind: kind(up), size: WARM, seed: 1 })?;

    let start = Arc::new(Barrier::new(usize::try_from(connections)? + 1));
    let mut workers = Vec::new();
    for id in 0..connections {
        let (stream, pattern, start) = (connect()?, Arc::clone(&pattern), Arc::clone(&start));
        let header = Header { kind: kind(up), size: share, seed: (id + 1) * 1_000_003 };
        workers.push(thread::spawn(move || {
            start.wait();
            transfer(&stream, &pattern, header)
        }));
    }
    ready()?;
    start.wait();
    let began = Instant::now();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a bulk thread panicked"))??;
    }
    let seconds = began.elapsed().as_secs_f64();
    done(&json!({ "bytes": share * connections, "seconds": seconds }))
}

fn kind(up: bool) -> u8 {
    if up { wire::UP } else { wire::DOWN }
}

/// Moves the bytes of one header, and ends the connection in order.
fn transfer(mut stream: &TcpStream, pattern: &Pattern, header: Header) -> Result<()> {
    stream.write_all(&header.bytes()).context("sending the header")?;
    if header.kind == wire::UP {
        wire::send_pattern(&mut stream, pattern, header.seed, header.size)?;
        let mut count = [0; 8];
        stream.read_exact(&mut count).context("waiting for the backend's count")?;
        let count = u64::from_le_bytes(count);
        ensure!(count == header.size, "the backend got {count} of {} bytes", header.size);
    } else {
        let got = wire::receive_pattern(&mut stream, pattern, (header.seed, header.size), |_| false)?;
        ensure!(got == header.size, "{got} of {} bytes came", header.size);
    }
    stream.shutdown(Shutdown::Write).context("sending FIN")?;
    wire::receive_end(&mut stream)
}
