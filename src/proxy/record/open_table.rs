//! The table of open connections and UDP sessions. Each pays for one entry in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::open::OpenConnection;
use crate::state::lock;

/// How many shards the table has, each with its own lock.
const SHARDS: usize = 16;

/// How far a sweep has come: the last visited id of each shard.
#[derive(Debug, Default)]
pub(super) struct Swept([u64; SHARDS]);

/// All that is open. Ids grow, so each shard is sorted by age.
#[derive(Debug)]
pub struct OpenTable {
    shards: [Mutex<BTreeMap<u64, Arc<OpenConnection>>>; SHARDS],
}

impl Default for OpenTable {
    fn default() -> Self {
        OpenTable { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl OpenTable {
    fn shard(&self, id: u64) -> MutexGuard<'_, BTreeMap<u64, Arc<OpenConnection>>> {
        // The remainder is below 16.
        let shard = &self.shards[(id % SHARDS as u64) as usize];
        lock(shard)
    }

    /// Adds an entry, under its id.
    pub fn add(&self, open: &Arc<OpenConnection>) {
        self.shard(open.id).insert(open.id, open.clone());
    }

    /// Removes the entry of a connection that has ended.
    pub fn remove(&self, id: u64) {
        self.shard(id).remove(&id);
    }

    /// The open connection with this id, if there is one.
    pub fn get(&self, id: u64) -> Option<Arc<OpenConnection>> {
        self.shard(id).get(&id).cloned()
    }

    /// The id of the newest entry. 0: nothing is open.
    pub fn newest(&self) -> u64 {
        let newest = (0..SHARDS as u64).map(|shard| self.shard(shard).keys().next_back().copied());
        newest.max().flatten().unwrap_or_default()
    }

    /// How many connections and sessions are open.
    pub fn len(&self) -> usize {
        (0..SHARDS as u64).map(|shard| self.shard(shard).len()).sum()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits each entry, shard by shard: a connection that begins or ends waits for one shard at most.
    pub fn each(&self, mut look: impl FnMut(&Arc<OpenConnection>)) {
        for shard in 0..SHARDS as u64 {
            self.shard(shard).values().for_each(&mut look);
        }
    }

    /// Visits each entry that has become older than `age` since the last sweep. Returns whether there are younger ones.
    pub(super) fn each_older(
        &self,
        age: Duration,
        swept: &mut Swept,
        mut look: impl FnMut(&OpenConnection),
    ) -> bool {
        let mut young = false;
        for (shard, last) in swept.0.iter_mut().enumerate() {
            let entries = lock(&self.shards[shard]);
            for (id, open) in entries.range(*last + 1..) {
                if open.age() < age {
                    young = true;
                    break;
                }
                look(open);
                *last = *id;
            }
        }
        young
    }

    /// The first `most` entries after this id that `wanted` accepts, sorted by id, and whether there are more.
    pub fn page(
        &self,
        after: u64,
        most: usize,
        wanted: impl Fn(&OpenConnection) -> bool,
    ) -> (Vec<Arc<OpenConnection>>, bool) {
        let mut found: Vec<Arc<OpenConnection>> = Vec::new();
        for shard in 0..SHARDS as u64 {
            let shard = self.shard(shard);
            let later = shard.range(after.saturating_add(1)..).map(|(_, open)| open);
            // One more than a page, to see whether a next page exists.
            found.extend(later.filter(|open| wanted(open)).take(most + 1).cloned());
        }
        found.sort_by_key(|open| open.id);
        let more = found.len() > most;
        found.truncate(most);
        (found, more)
    }
}
