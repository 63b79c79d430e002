//! How fast the clients of all routes come: one table, in parts with a lock each.

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock};

use tokio::time::Instant;

use crate::model::Rate;
use crate::state::{ClientKey, Rates, lock};

/// Parts of the table.
const SHARDS: usize = 16;
/// Clients that the whole table remembers: about 2.5 MB, from the first client of a route with a rate on.
const REMEMBERED: usize = 65_536;

/// The rates of the clients of all routes.
#[derive(Debug, Default)]
pub(super) struct RateTable {
    shards: OnceLock<Box<[Mutex<Rates>]>>,
}

impl RateTable {
    /// Whether one more connection of this client fits into the rate of a route.
    pub fn enter(&self, route: u32, client: IpAddr, rate: Rate) -> bool {
        let now = Instant::now().into_std();
        let shards = self.shards.get_or_init(|| {
            (0..SHARDS).map(|_| Mutex::new(Rates::new(REMEMBERED / SHARDS, fastrand::u64(..), now))).collect()
        });
        let client = ClientKey::of(client);
        let Some(shard) = shards.get(client.shard(SHARDS)) else { return true };
        lock(shard).enter(route, client, rate, now)
    }
}
