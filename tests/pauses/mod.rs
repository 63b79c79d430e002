//! R7: the process stands still for longer than a deadline (a paused container or machine, or SIGSTOP). Whoever has spoken
//! meanwhile has spoken in time.
mod datagrams;
mod hellos;
mod relay;
mod upstreams;

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::instance::Portway;
use crate::harness::proc::Process;
use crate::harness::{pass, until};

/// Longer than [`DEADLINE`], wherever in it the process stops.
const PAUSE: Duration = Duration::from_secs(4);
/// The deadlines of these tests, as files have them; long enough for a busy machine to get through the preparations.
const DEADLINE: &str = "3s";

/// Stops a process, and lets it go on after [`PAUSE`]. It sees only then what `meanwhile` does.
fn paused(process: u32, meanwhile: impl FnOnce()) {
    paused_for(PAUSE, process, meanwhile);
}

fn paused_for(time: Duration, process: u32, meanwhile: impl FnOnce()) {
    Process(process).signal(Signal::STOP);
    meanwhile();
    pass(time);
    Process(process).signal(Signal::CONT);
}

/// Waits until it holds so many sockets more than before: it has accepted, or dialled.
fn has_sockets(portway: &Portway, before: usize, more: usize) {
    until("it has the sockets", || sockets(portway) >= before + more);
}

fn sockets(portway: &Portway) -> usize {
    portway.descriptors().get("socket").copied().unwrap_or_default()
}
