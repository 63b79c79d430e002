//! One run: one program, one row, one round. The program is started anew, so that no row profits or suffers from
//! what another left behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helper::{Backend, Load, Order};
use crate::proc::{self, Cpu};
use crate::program::{Program, Running, Setup};
use crate::rows::{Extra, Work};
use crate::sys;

/// What was measured, by the key of its metric.
pub type Values = BTreeMap<&'static str, f64>;

/// Seconds after which any load has failed.
const LIMIT: u64 = 120;
/// For what the proxy does after the last byte: its closes.
const TAIL: Duration = Duration::from_millis(20);
/// Until a proxy that has just been busy is taken for idle.
const SETTLE: Duration = Duration::from_secs(1);
/// Connections that come and go before memory is looked at.
const WARM_HELD: u64 = 64;
/// Churn: connections at once.
const SLOTS: u64 = 32;

/// Where things run.
pub struct Bench<'a> {
    /// Files of the programs.
    pub dir: &'a Path,
    /// Cores of the proxy.
    pub proxy: Vec<usize>,
    /// Cores of load and backend.
    pub load: Vec<usize>,
    /// Number of the next load process.
    pub next: u16,
}

/// One run while it goes on.
struct Run<'a> {
    program: Running,
    backend: Backend,
    next: &'a mut u16,
}

impl Bench<'_> {
    /// Does the work of a row once. Errors: anything that was not answered, or not rightly.
    pub fn measure(&mut self, program: &Program, work: Work) -> Result<Values> {
        sys::run_on(&self.load)?;
        let backend = Backend::start()?;
        let connections = match work {
            Work::Hold { connections, .. } | Work::HoldMore { connections, .. } => connections,
            _ => 1000,
        };
        sys::run_on(&self.proxy)?;
        let setup = Setup {
            dir: self.dir,
            upstream: backend.address,
            cores: self.proxy.len(),
            connections,
            udp: matches!(work, Work::Datagrams { .. }),
            extra: work.extra(),
            under: &[],
        };
        let started = program.start(setup);
        sys::run_on(&self.load)?;
        let mut run = Run { program: started?, backend, next: &mut self.next };
        let measured = match work {
            Work::Bulk { connections, bytes, up } => run.bulk("bulk", (connections, bytes), up),
            Work::TlsBulk { connections, bytes } => run.bulk("tls-bulk", (connections, bytes), false),
            Work::Ping { .. } => run.ping(work),
            Work::Churn { connections, extra, reset } => run.churn(connections, extra, reset),
            Work::Datagrams { .. } => run.datagrams(work),
            Work::Hold { connections, idle_ms, requests } => run.hold(connections, idle_ms, requests),
            Work::HoldMore { connections, extra } => run.hold_more(connections, extra),
        };
        let measured = measured.and_then(|values| run.backend.is_well().map(|()| values));
        measured.with_context(|| format!("its last words: {:?}", run.program.last_words()))
    }
}

impl Run<'_> {
    fn start(&mut self, kind: &str, numbers: &[(&str, u64)]) -> Result<Load> {
        *self.next = self.next.wrapping_add(1);
        Load::start(&Order { kind, numbers, limit: LIMIT }, self.program.address, *self.next)
    }

    /// Lets a load work. Returns its result, and the CPU nanoseconds of the program meanwhile.
    fn work(&self, load: &mut Load, values: &mut Values) -> Result<(Value, f64)> {
        let before = Cpu::of(&self.program.pids())?;
        let result = load.work()?;
        thread::sleep(TAIL);
        let pids = self.program.pids();
        let (nanos, lost) = Cpu::of(&pids)?.since(&before);
        if !pids.is_empty() {
            values.insert("pss_mib", proc::pss_kib(&pids)? as f64 / 1024.0);
            *values.entry("lost_threads").or_default() += lost as f64;
        }
        Ok((result, nanos as f64))
    }

    fn has_cpu(&self) -> bool {
        !self.program.pids().is_empty()
    }

    fn bulk(&mut self, kind: &str, (connections, bytes): (u64, u64), up: bool) -> Result<Values> {
        let mut values = Values::new();
        let numbers = [("connections", connections), ("bytes", bytes), ("up", up.into())];
        let mut load = self.start(kind, &numbers)?;
        let (result, nanos) = self.work(&mut load, &mut values)?;
        let (moved, seconds) = (number(&result, "bytes")?, number(&result, "seconds")?);
        ensure!(moved == bytes as f64, "{moved} of {bytes} bytes were moved");
        values.insert("mib_per_s", moved / f64::from(1 << 20) / seconds);
        if self.has_cpu() {
            values.insert("cpu_s_per_gib", nanos / 1e9 / (moved / f64::from(1 << 30)));
        }
        Ok(values)
    }

    fn ping(&mut self, work: Work) -> Result<Values> {
        let Work::Ping { connections, size, requests, rate, flow } = work else { return Ok(Values::new()) };
        let mut values = Values::new();
        let numbers = [
            ("connections", connections),
            ("size", size),
            ("requests", requests),
            ("warm", (requests / 10).clamp(connections, 2_000)),
            ("rate", rate),
            ("flow", flow.into()),
        ];
        let mut load = self.start("ping", &numbers)?;
        let (result, nanos) = self.work(&mut load, &mut values)?;
        let seconds = number(&result, "seconds")?;
        latencies(&result, &mut values)?;
        values.insert("per_s", requests as f64 / seconds);
        if let Some(late) = result["late_p99_us"].as_f64() {
            values.insert("load_late_p99_us", late);
        }
        if flow {
            values.insert("flow_mib_per_s", number(&result, "flow_bytes")? / f64::from(1 << 20) / seconds);
        }
        if self.has_cpu() {
            values.insert("cpu_us", nanos / 1e3 / requests as f64);
            values.insert("cpu_percent", nanos / 1e7 / seconds);
        }
        Ok(values)
    }

    fn datagrams(&mut self, work: Work) -> Result<Values> {
        let Work::Datagrams { clients, size, requests, rate, one_way } = work else {
            return Ok(Values::new());
        };
        let mut values = Values::new();
        let warm = (requests / 10).max(2 * clients);
        let numbers =
            [("clients", clients), ("size", size), ("requests", requests), ("warm", warm), ("rate", rate)];
        let mut load = self.start(if one_way { "one-way" } else { "datagrams" }, &numbers)?;
        let (result, nanos) = self.work(&mut load, &mut values)?;
        let ways = if one_way { 1.0 } else { 2.0 };
        if !one_way {
            latencies(&result, &mut values)?;
        }
        values.insert("lost", number(&result, "lost")?);
        values.insert("per_s", ways * requests as f64 / number(&result, "seconds")?);
        if self.has_cpu() {
            values.insert("cpu_us", nanos / 1e3 / (ways * requests as f64));
        }
        Ok(values)
    }

    fn churn(&mut self, connections: u64, extra: Extra, reset: bool) -> Result<Values> {
        let_time_wait_pass(2 * connections);
        let mut values = Values::new();
        let numbers = [
            ("connections", connections),
            ("slots", SLOTS),
            ("warm", 500),
            ("hello", (extra == Extra::Names).into()),
            ("resume", (extra == Extra::Resumed).into()),
            ("reset", reset.into()),
        ];
        let kind = if matches!(extra, Extra::Tls | Extra::Resumed) { "handshakes" } else { "churn" };
        let mut load = self.start(kind, &numbers)?;
        let (result, nanos) = self.work(&mut load, &mut values)?;
        latencies(&result, &mut values)?;
        values.insert("per_s", connections as f64 / number(&result, "seconds")?);
        if self.has_cpu() {
            values.insert("cpu_us", nanos / 1e3 / connections as f64);
        }
        Ok(values)
    }

    /// The same pings without and with many connections held; between them, what holding costs.
    fn hold(&mut self, connections: u64, idle_ms: u64, requests: u64) -> Result<Values> {
        let pings = Work::Ping { connections: 32, size: 64, requests, rate: 0, flow: false };
        let alone = self.ping(pings)?;
        let pids = self.program.pids();
        let empty = proc::pss_kib(&pids)? as f64;

        let mut load = self.start("hold", &held(connections, Extra::None))?;
        thread::sleep(SETTLE);
        let full = proc::pss_kib(&pids)? as f64;
        let before = Cpu::of(&self.program.pids())?;
        thread::sleep(Duration::from_millis(idle_ms));
        let (idle, _) = Cpu::of(&self.program.pids())?.since(&before);

        let beside = self.ping(pings)?;
        let alive = number(&load.work()?, "alive")?;
        ensure!(alive == connections as f64, "{alive} of {connections} held connections answered");
        let mut values = Values::new();
        if let (Some(alone), Some(beside)) = (alone.get("cpu_us"), beside.get("cpu_us")) {
            values.insert("kib_per_connection", (full - empty) / connections as f64);
            values.insert("pss_mib", full / 1024.0);
            values.insert("idle_cpu_ms", idle as f64 / 1e6);
            values.insert("cpu_us_alone", *alone);
            values.insert("cpu_us_held", *beside);
            values.insert("held_ratio", beside / alone);
        }
        Ok(values)
    }

    /// The memory of connections of which the proxy does more than pass them on.
    fn hold_more(&mut self, connections: u64, extra: Extra) -> Result<Values> {
        drop(self.start("hold", &held(WARM_HELD, extra))?);
        thread::sleep(SETTLE);
        let empty = proc::pss_kib(&self.program.pids())? as f64;
        let mut load = self.start("hold", &held(connections, extra))?;
        thread::sleep(SETTLE);
        let full = proc::pss_kib(&self.program.pids())? as f64;
        let alive = number(&load.work()?, "alive")?;
        ensure!(alive == connections as f64, "{alive} of {connections} held connections answered");
        let per_connection = (full - empty) / connections as f64;
        Ok(Values::from([("kib_per_connection", per_connection), ("pss_mib", full / 1024.0)]))
    }
}

/// The numbers of a load that holds connections.
fn held(connections: u64, extra: Extra) -> [(&'static str, u64); 3] {
    let (tls, hello) = (matches!(extra, Extra::Tls), matches!(extra, Extra::Names));
    [("connections", connections), ("tls", tls.into()), ("hello", hello.into())]
}

fn latencies(result: &Value, values: &mut Values) -> Result<()> {
    for key in ["p50_us", "p99_us", "p999_us", "max_us"] {
        values.insert(key, number(result, key)?);
    }
    Ok(())
}

fn number(result: &Value, key: &str) -> Result<f64> {
    result[key].as_f64().with_context(|| format!("the load gave no `{key}`: {result}"))
}

/// Each proxied connection leaves two sockets in TIME-WAIT for a minute. When their table is full, the kernel takes
/// another, cheaper way for new ones: wait for room, so that all programs meet the same.
fn let_time_wait_pass(needed: u64) {
    let until = Instant::now() + Duration::from_secs(65);
    loop {
        let (now, most) = proc::time_wait();
        if now + needed < most || Instant::now() > until {
            return;
        }
        thread::sleep(Duration::from_millis(500));
    }
}
