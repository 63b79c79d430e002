//! Connections that are being read before they have an upstream: for a PROXY header, a TLS hello or a handshake. Whoever
//! connects can open them and stay silent, so they have a part of all places and of the memory, and give way to newcomers
//! by the rule of [`crate::state::fair_share`]. The oldest counts as the longest silent: who trickles bytes is no better.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::open::OpenConnection;
use crate::model::{Outcome, Peer};
use crate::net::MOST_READ;
use crate::net::tls::BeforeRead;
use crate::state::fair_share::{PlaceId, Standing};
use crate::state::{ClientKey, LogOnce, Places, lock};

/// They have one part in so many of all places.
const PART: usize = 4;
/// They have so many places at least, if there are as many.
const LEAST: usize = 16;
/// Memory that one of them counts for besides what it has sent: what `tests/clients/slow.rs` measures.
const EACH: usize = 8 * 1024;
/// What a client has sent is only counted beyond this. That of a browser with a post-quantum key share has 1.8 KiB.
const USUAL: usize = 4096;
/// Readers wait while those who have given way still have one part in so many of the memory.
const LATE: usize = 16;
/// Memory that was used and given back: from here on the allocator is asked to give it back to the system.
const MUCH: usize = 4 << 20;

/// The connections that are being read.
#[derive(Debug)]
pub struct Preread {
    state: Mutex<State>,
    full: LogOnce,
    /// Notified once much memory was given back.
    pub freed: Notify,
    /// Notified once those who have given way have ended.
    settled: Notify,
}

#[derive(Debug)]
struct State {
    places: Places<Held>,
    /// Memory of what they have sent, in bytes.
    used: usize,
    /// Memory of those that have given way, until they have ended.
    leaving: usize,
    most: usize,
    /// The most that was used since [`Preread::freed`] was last notified.
    peak: usize,
    gave_way: GaveWay,
}

/// How many had to give way, by what had run out.
#[derive(Clone, Copy, Debug, Default)]
struct GaveWay {
    places: u64,
    memory: u64,
}

#[derive(Debug)]
struct Held {
    open: Arc<OpenConnection>,
    bytes: usize,
}

impl State {
    /// Lets some give way until the memory suffices. `ended` gets them.
    fn make_room(&mut self, ended: &mut Vec<Held>) {
        while self.used > self.most
            && let Some(held) = self.places.give_way()
        {
            self.leaves(&held);
            self.gave_way.memory += 1;
            ended.push(held);
        }
        self.peak = self.peak.max(self.used);
    }

    fn is_behind(&self) -> bool {
        self.leaving > self.most / LATE
    }

    fn leaves(&mut self, held: &Held) {
        self.used -= held.bytes;
        self.leaving += held.bytes;
    }
}

impl Default for Preread {
    fn default() -> Self {
        let state = State {
            places: Places::new(LEAST),
            used: 0,
            leaving: 0,
            most: usize::MAX,
            peak: 0,
            gave_way: GaveWay::default(),
        };
        Preread {
            state: Mutex::new(state),
            full: LogOnce::default(),
            freed: Notify::new(),
            settled: Notify::new(),
        }
    }
}

impl Preread {
    /// Changes how many places all connections have, and how many bytes those that are being read may use.
    pub fn resize(&self, connections: usize, memory: usize) {
        let mut state = lock(&self.state);
        state.places.resize((connections / PART).max(LEAST.min(connections)));
        state.most = memory;
    }

    /// How many are being read, and how many may be.
    pub fn used(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.places.share().len(), state.places.share().most())
    }

    /// How many bytes they use, and may use.
    pub fn memory(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.used, state.most)
    }

    /// How many had to give way so far, by what had run out.
    pub fn gave_way(&self) -> [(&'static str, u64); 2] {
        let GaveWay { places, memory } = lock(&self.state).gave_way;
        [("places", places), ("memory", memory)]
    }

    fn enter(&self, open: &Arc<OpenConnection>, client: &Peer) -> Option<PlaceId> {
        let (now, mut ended) = (Instant::now().into_std(), Vec::new());
        let held = Held { open: open.clone(), bytes: EACH };
        let id = {
            let mut state = lock(&self.state);
            let id = state.places.enter(client.ip().map(ClientKey::of), held, now, &mut ended);
            state.used += EACH;
            ended.iter().for_each(|held| state.leaves(held));
            state.gave_way.places += ended.len() as u64;
            state.make_room(&mut ended);
            id
        };
        self.end(ended);
        id
    }

    /// Counts the memory of a connection. Others give way if there is too little, or it does itself. `None`: it has given
    /// way before.
    fn uses(&self, id: PlaceId, bytes: usize) -> Option<()> {
        let mut ended = Vec::new();
        {
            let mut state = lock(&self.state);
            let State { places, used, .. } = &mut *state;
            let held = places.holder(id)?;
            *used = *used - held.bytes + bytes;
            held.bytes = bytes;
            state.make_room(&mut ended);
        }
        if !ended.is_empty() {
            self.end(ended);
        }
        Some(())
    }

    /// Resolves once those who have given way have ended, but for some: their memory is free only then.
    async fn settles(&self) {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            if !lock(&self.state).is_behind() {
                return;
            }
            settled.await;
        }
    }

    fn leave(&self, id: PlaceId, bytes: usize) {
        let mut state = lock(&self.state);
        match state.places.leave(id) {
            Some(held) => state.used -= held.bytes,
            None => {
                state.leaving = state.leaving.saturating_sub(bytes);
                if !state.is_behind() {
                    self.settled.notify_waiters();
                }
            }
        }
        if state.peak >= MUCH && state.used < state.peak / 2 {
            state.peak = state.used;
            drop(state);
            self.freed.notify_one();
        }
    }

    /// Ends those who gave way. Not under the lock, which their end takes.
    fn end(&self, ended: Vec<Held>) {
        let now = Instant::now().into_std();
        if ended.is_empty() {
            if self.full.ends(|| now) {
                let gave_way: u64 = self.gave_way().iter().map(|(_, count)| count).sum();
                info!(gave_way, "connections that are read before they have an upstream have places again");
            }
            return;
        }
        ended.iter().for_each(|held| held.open.end(Outcome::Evicted));
        if self.full.begins(now) {
            let ((connections, most), (bytes, most_bytes)) = (self.used(), self.memory());
            warn!(
                connections,
                most,
                bytes,
                most_bytes,
                "too many connections have sent no whole PROXY header, TLS hello or handshake: \
                 of the client that has most of them the oldest gives way"
            );
        }
    }
}

/// The place of one connection that is being read. Dropping it frees it. Boxed: most connections have none.
#[derive(Debug)]
pub struct PrereadPlace {
    preread: Arc<Preread>,
    id: PlaceId,
    bytes: usize,
}

impl PrereadPlace {
    /// Takes a place for a connection that was just accepted. `client`: the peer that has connected. `None` never happens.
    pub fn take(preread: &Arc<Preread>, open: &Arc<OpenConnection>, client: &Peer) -> Option<Box<Self>> {
        let id = preread.enter(open, client)?;
        Some(Box::new(PrereadPlace { preread: preread.clone(), id, bytes: EACH }))
    }

    /// Notes the client that a PROXY header has named.
    pub fn identified(&self, client: &Peer) {
        let client = client.ip().map(ClientKey::of);
        lock(&self.preread.state).places.identify(self.id, client);
    }

    /// Counts the memory for one more read, where the client has sent so many bytes. If there is too little, whoever gives
    /// way ends. Waits until those have ended.
    pub async fn reads(&mut self, bytes: usize) {
        let bytes = EACH + bytes + MOST_READ;
        if bytes <= self.bytes.max(EACH + MOST_READ + USUAL) {
            return;
        }
        if self.preread.uses(self.id, bytes).is_some() {
            self.bytes = bytes;
        }
        self.preread.settles().await;
    }

    /// Notes that its route is known, and its handshake over. Returns the place if it is still needed, for what the client
    /// has sent until the upstream has it.
    pub fn heard(self: Box<Self>, bytes: usize) -> Option<Box<Self>> {
        if bytes < USUAL {
            return None;
        }
        let now = Instant::now().into_std();
        lock(&self.preread.state).places.stand(self.id, Standing::InUse, now);
        Some(self)
    }
}

impl BeforeRead for Option<&mut PrereadPlace> {
    async fn before_read(&mut self, bytes: usize) {
        if let Some(place) = self {
            place.reads(bytes).await;
        }
    }
}

impl Drop for PrereadPlace {
    fn drop(&mut self) {
        self.preread.leave(self.id, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ListenAddr;
    use crate::net::within;
    use crate::proxy::route::live_route;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn memory_goes_back_to_the_system_once_less_than_half_of_much_is_used() {
        let live = live_route("[[route]]\nlisten = \"80\"\nupstream = \"10.0.0.1:80\"\n");
        let (preread, listener) = (Preread::default(), Arc::new(ListenAddr::Any(80)));
        preread.resize(1000, usize::MAX);
        let reads = |id, bytes| {
            let open = Arc::new(OpenConnection::new(id, live.clone(), &listener, Peer::Unix(None)));
            let id = preread.enter(&open, &Peer::Unix(None)).unwrap();
            preread.uses(id, bytes).unwrap();
            id
        };
        let places: Vec<PlaceId> = (0..4).map(|id| reads(id, 2 * MIB)).collect();
        let freed = async || within(std::time::Duration::ZERO, preread.freed.notified()).await.is_ok();
        let mut seen = Vec::new();
        for id in places {
            preread.leave(id, 2 * MIB);
            seen.push((preread.memory().0 / MIB, freed().await));
        }
        // Of 8 MiB; after that of 2, which is not much.
        assert_eq!(seen, [(6, false), (4, false), (2, true), (0, false)]);
    }
}
