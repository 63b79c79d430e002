//! What `/proc` says of a program: its processes, their CPU time and their memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A process and all its descendants that run now.
pub fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // `pid (name) state ppid ...`; the name may hold anything, so look behind its last bracket.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        if let Some(parent) = after.split_whitespace().nth(1).and_then(|text| text.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut family = vec![root];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, other)| *other == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    family
}

/// CPU time of every thread of some processes, in nanoseconds.
pub struct Cpu {
    threads: BTreeMap<u32, u64>,
}

impl Cpu {
    /// Reads the first field of `/proc/PID/task/*/schedstat` (time on a CPU: Documentation/scheduler/sched-stats.rst).
    pub fn of(pids: &[u32]) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for pid in pids {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))
                .with_context(|| format!("process {pid} of the program has gone"))?;
            for task in tasks.flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                // A thread may end between the two looks.
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                let first = text.split_whitespace().next().context("schedstat is empty")?;
                threads.insert(tid, first.parse().context("schedstat")?);
            }
        }
        ensure!(!threads.is_empty() || pids.is_empty(), "no thread of the program was found");
        Ok(Cpu { threads })
    }

    /// Nanoseconds since `before`, and how many threads ended meanwhile: what those used is not in the sum.
    pub fn since(&self, before: &Cpu) -> (u64, usize) {
        let used = |(tid, now): (&u32, &u64)| now - before.threads.get(tid).copied().unwrap_or(0).min(*now);
        let lost = before.threads.keys().filter(|tid| !self.threads.contains_key(tid)).count();
        (self.threads.iter().map(used).sum(), lost)
    }
}

/// Memory of some processes in KiB: what is theirs alone, and their share of the rest (`Pss`).
pub fn pss_kib(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let pss =
            text.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup without Pss")?;
        sum += pss.trim().trim_end_matches("kB").trim().parse::<u64>().context("Pss")?;
    }
    Ok(sum)
}

/// How many sockets of this host are in TIME-WAIT, and at most may be.
pub fn time_wait() -> (u64, u64) {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let mut words = text.lines().filter(|line| line.starts_with("TCP:")).flat_map(str::split_whitespace);
    let now = words.find(|word| *word == "tw").and_then(|_| words.next()).and_then(|n| n.parse().ok());
    (now.unwrap_or(0), number("/proc/sys/net/ipv4/tcp_max_tw_buckets").unwrap_or(u64::MAX))
}

/// The number that a file begins with.
pub fn number<T: std::str::FromStr>(path: impl AsRef<Path>) -> Option<T> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let own = [std::process::id()];
        let before = Cpu::of(&own).unwrap();
        let mut sum = 0_u64;
        for n in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum ^ n);
        }
        // The kernel brings the sum up to date at the latest with the next tick.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let (used, _) = Cpu::of(&own).unwrap().since(&before);
        assert!(used > 1_000_000, "{used} ns");
        assert!(pss_kib(&own).unwrap() > 100);
        assert!(family(std::process::id()).contains(&std::process::id()));
    }

    #[test]
    fn a_thread_that_ended_is_counted_as_lost_and_a_new_one_in_full() {
        let cpu = |threads: &[(u32, u64)]| Cpu { threads: threads.iter().copied().collect() };
        let (used, lost) = cpu(&[(1, 150), (3, 7)]).since(&cpu(&[(1, 100), (2, 50)]));
        assert_eq!((used, lost), (57, 1));
    }
}
