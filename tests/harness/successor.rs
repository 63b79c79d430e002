//! A process that has taken over from another: it is no child of the test's.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, killed when the test ends.
pub struct Successor {
    pub pid: u32,
    /// Its end is seen here, and no other process is meant by it.
    handle: OwnedFd,
}

impl Successor {
    pub fn of(pid: u32) -> Successor {
        let known = Pid::from_raw(pid.cast_signed()).unwrap();
        Successor { pid, handle: pidfd_open(known, PidfdFlags::empty()).unwrap() }
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended.
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Whether it ends within this time.
    pub fn ends(&self, within: Duration) -> bool {
        let limit =
            Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut fds, Some(&limit)).unwrap() > 0
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The processes that this one has started, zombies included.
pub fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<String> = lists.collect();
    all.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}
