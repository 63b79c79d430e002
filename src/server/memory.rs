//! The memory that the process may use, and what follows when most of it is used.
//!
//! What one connection needs differs a hundredfold (an idle one some KiB, one whose peer does not read some hundred), so no
//! number of connections can be derived ahead of time. It is looked at instead, once a second.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::model::MemoryLimit;
use crate::proxy::record::Shared;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// So many connections are admitted however little memory is left: else a bound that is too small would admit nobody.
const LEAST: usize = 64;
/// The control groups of this host (version 2).
const CGROUPS: &str = "/sys/fs/cgroup";

/// How much memory is used, and how much there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes that cannot be given back by writing caches to disk: of the control group, or without one of the process.
    pub used: u64,
    /// The bound, in bytes. `None`: there is none.
    pub most: Option<u64>,
}

impl MemoryUse {
    /// Whether nine tenths are used.
    fn is_short(self) -> bool {
        self.most.is_some_and(|most| self.used > most / 10 * 9)
    }

    /// Whether no more than four fifths are used.
    fn is_enough(self) -> bool {
        self.most.is_none_or(|most| self.used <= most / 5 * 4)
    }
}

/// The memory of the process, and whether it is short.
#[derive(Debug)]
pub(super) struct Memory {
    limit: MemoryLimit,
    /// The control group whose bound is the lowest, and that bound.
    cgroup: Option<(PathBuf, u64)>,
    ticks: Interval,
    short: bool,
}

impl Memory {
    /// Finds the control group. Needs a runtime.
    pub fn new() -> Memory {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Memory { limit: MemoryLimit::default(), cgroup: cgroup(), ticks, short: false }
    }

    /// Takes over what the file says.
    pub fn set(&mut self, limit: MemoryLimit) {
        self.limit = limit;
    }

    /// How much is used now.
    pub fn measure(&self) -> MemoryUse {
        match (self.limit, &self.cgroup) {
            (MemoryLimit::Cgroup, Some((group, most))) => {
                MemoryUse { used: used_of(group), most: Some(*most) }
            }
            (MemoryLimit::Bytes(most), _) => MemoryUse { used: own(), most: Some(most) },
            (MemoryLimit::Cgroup | MemoryLimit::Off, _) => MemoryUse { used: own(), most: None },
        }
    }

    /// Resolves when it is time to look. Never, if there is no bound.
    pub async fn due(&mut self) {
        let bound =
            !matches!((self.limit, &self.cgroup), (MemoryLimit::Off, _) | (MemoryLimit::Cgroup, None));
        match bound || self.short {
            true => _ = self.ticks.tick().await,
            false => std::future::pending().await,
        }
    }

    /// Admits no more connections than are open while memory is short.
    pub fn look(&mut self, shared: &Shared) {
        let found = self.measure();
        let MemoryUse { used, most } = found;
        let most = most.unwrap_or_default();
        if !self.short && found.is_short() {
            self.short = true;
            let connections = shared.connections.hold(LEAST);
            warn!(
                used,
                most, connections, "memory is short: no more connections than these until some is free again"
            );
        } else if self.short && found.is_enough() {
            self.short = false;
            shared.connections.let_go();
            info!(used, most, "memory is free again: connections are admitted as before");
        }
    }
}

/// The control group of this process whose bound is the lowest, and that bound.
fn cgroup() -> Option<(PathBuf, u64)> {
    lowest(Path::new(CGROUPS), &read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// Of a process's control group and those above it, the one with the lowest bound. `None`: none has a bound.
fn lowest(root: &Path, own: &str) -> Option<(PathBuf, u64)> {
    // That of version 2 has no number and no controllers (cgroups(7)).
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = root.join(path);
    let above = group.ancestors().take_while(|group| group.starts_with(root));
    let bounds = above.filter_map(|group| {
        // "max" where there is no bound.
        let most = read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()?;
        Some((group.to_owned(), most))
    });
    bounds.min_by_key(|(_, most)| *most)
}

/// What a control group uses, without what the kernel would give back.
fn used_of(group: &Path) -> u64 {
    let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
    let value = |name: &str| -> u64 {
        let mut fields = stat.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
    };
    let kernel = value("kernel").saturating_sub(value("slab_reclaimable"));
    value("anon") + value("shmem") + value("sock") + kernel
}

/// Memory of the process itself that no file backs.
fn own() -> u64 {
    // Sizes in pages: in all, resident, of those shared with files (proc(5)).
    let statm = read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = |at| statm.split_whitespace().nth(at).and_then(|pages| pages.parse::<u64>().ok());
    let size = u64::try_from(rustix::param::page_size()).unwrap_or_default();
    pages(1).unwrap_or_default().saturating_sub(pages(2).unwrap_or_default()) * size
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;
    use crate::proxy::record::AccessLog;
    use crate::tasks::WorkerPool;

    #[test]
    fn the_lowest_bound_on_the_way_up_holds_with_the_use_of_its_group() {
        let root = tempfile::tempdir().unwrap();
        let group = |path: &str, most: &str| {
            let folder = root.path().join(path);
            create_dir_all(&folder).unwrap();
            write(folder.join("memory.max"), most).unwrap();
            folder
        };
        let pod = group("pods/pod", "1000\n");
        group("pods/pod/container", "max\n");
        group("pods", "2000\n");
        let own = "1:name=systemd:/other\n0::/pods/pod/container\n";
        assert_eq!(lowest(root.path(), own), Some((pod.clone(), 1000)));
        assert_eq!(lowest(root.path(), "4:memory:/pods/pod\n"), None);
        assert_eq!(lowest(root.path(), "0::/\n"), None);
        let stat = "anon 100\nfile 5000\nkernel 30\nsock 7\nshmem 2\nslab_reclaimable 10\n";
        write(pod.join("memory.stat"), stat).unwrap();
        assert_eq!(used_of(&pod), 100 + 20 + 7 + 2);
    }

    #[test]
    fn nine_tenths_are_short_and_four_fifths_are_enough() {
        let of = |used| MemoryUse { used, most: Some(1000) };
        assert!(!of(900).is_short() && of(901).is_short());
        assert!(of(800).is_enough() && !of(801).is_enough());
        let unbounded = MemoryUse { used: u64::MAX, most: None };
        assert!(!unbounded.is_short() && unbounded.is_enough());
    }

    #[test]
    fn the_process_uses_memory() {
        assert!(own() > 100_000);
    }

    #[tokio::test]
    async fn connections_are_held_from_nine_tenths_until_four_fifths_are_used() {
        let (workers, threads) = WorkerPool::start().unwrap();
        let shared = Shared::new(workers, AccessLog::default(), 1000);
        let group = tempfile::tempdir().unwrap();
        let mut memory = Memory::new();
        memory.cgroup = Some((group.path().to_owned(), 1000));
        memory.set(MemoryLimit::Cgroup);
        for (used, most) in
            [(850, 1000), (900, 1000), (901, 64), (850, 64), (801, 64), (800, 1000), (850, 1000), (901, 64)]
        {
            write(group.path().join("memory.stat"), format!("anon {used}\n")).unwrap();
            memory.look(&shared);
            assert_eq!(shared.connections.used(), (0, most), "{used}");
        }
        threads.stop();
    }
}
