//! The connection rates of the clients of all routes: one table, in shards with a lock each.

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock};

use tokio::time::Instant;

use crate::model::Rate;
use crate::state::limits::Owed;
use crate::state::{ClientKey, Rates, lock};

/// How many shards the table has.
const SHARDS: usize = 16;
/// How many clients the whole table remembers. It takes about 2.5 MB, from the first client of a route with a rate on.
const REMEMBERED: usize = 65_536;

/// The connection rates of the clients of all routes.
#[derive(Debug, Default)]
pub(super) struct RateTable {
    shards: OnceLock<Box<[Mutex<Rates>]>>,
}

impl RateTable {
    /// Who has not paid off yet, on all routes.
    pub fn owed(&self) -> Vec<Owed> {
        let now = Instant::now().into_std();
        let shards = self.shards.get().into_iter().flatten();
        shards.flat_map(|shard| lock(shard).owed(now).collect::<Vec<_>>()).collect()
    }

    /// Notes what a client owes from before.
    pub fn owe(&self, owed: Owed) {
        let now = Instant::now().into_std();
        if let Some(shard) = self.shards(now).get(owed.client.shard(SHARDS)) {
            lock(shard).owe(owed, now);
        }
    }

    fn shards(&self, now: std::time::Instant) -> &[Mutex<Rates>] {
        self.shards.get_or_init(|| {
            (0..SHARDS).map(|_| Mutex::new(Rates::new(REMEMBERED / SHARDS, fastrand::u64(..), now))).collect()
        })
    }

    /// Counts one more connection of a client, if the rate of the route allows it. Returns whether it does.
    pub fn enter(&self, route: u32, client: IpAddr, rate: Rate) -> bool {
        let now = Instant::now().into_std();
        let client = ClientKey::of(client);
        let Some(shard) = self.shards(now).get(client.shard(SHARDS)) else { return true };
        lock(shard).enter(route, client, rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_all_shards_remembers_65536_clients_and_no_more() {
        let (table, rate) = (RateTable::default(), "1/h".parse().unwrap());
        for client in 0..400_000_u32 {
            assert!(table.enter(1, IpAddr::from(client.to_be_bytes()), rate));
        }
        let remembered = table.owed().len();
        assert!((65_000..=65_536).contains(&remembered), "{remembered}");
    }
}
