//! How many connections each client has, for the time when few are left for all. Nobody counts before: the table of open
//! connections is walked, now and then.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::open_table::OpenTable;
use crate::state::{ClientKey, lock};

/// The shortest time between two walks.
const PERIOD: Duration = Duration::from_millis(100);
/// A walk takes one part in so many of the time, at most.
const PART: u32 = 20;

/// The connections of each client, as the last walk has counted them, with those that were let in since.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    of: HashMap<ClientKey, usize>,
    /// When it is to be counted anew. `None`: at once.
    until: Option<Instant>,
}

impl Crowd {
    /// Whether a client has fewer connections than `left`, and so may have one more.
    pub fn takes_one_more(&self, open: &OpenTable, client: ClientKey, left: usize) -> bool {
        let now = Instant::now();
        let mut count = lock(&self.0);
        if count.until.is_none_or(|until| until <= now) {
            count.walk(open);
            let took = now.elapsed();
            count.until = Some(now + took + PERIOD.max(took * PART));
        }
        let has = count.of.entry(client).or_default();
        let takes = *has < left.max(1);
        *has += usize::from(takes);
        takes
    }
}

impl Count {
    fn walk(&mut self, open: &OpenTable) {
        self.of = HashMap::new();
        open.each(|open| {
            if !open.is_session()
                && let Some(ip) = open.known().client.ip()
            {
                *self.of.entry(ClientKey::of(ip)).or_default() += 1;
            }
        });
    }
}
