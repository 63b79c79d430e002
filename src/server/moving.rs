//! Connections move to the process that takes over, while both live: the relay of each pauses between two turns, and goes on
//! over there. Until all is done this process keeps every descriptor, so what the other one has not used it can take back.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::handover::{CONNECTIONS, SESSIONS};
use super::running::Server;
use super::successor::{NotTakenOver, Successor};
use super::upgrade_order::Unmoved;
use crate::model::DataPath;
use crate::net::carrier::MOST_FDS;
use crate::net::{Socket, Used};
use crate::proxy::record::{Offer, OpenConnection};
use crate::proxy::udp::{SessionOffer, hand_out};
use crate::state::moved::{MovedConnection, encode};
use crate::tasks::Scope;

/// So many pause at once. Measured with 9,100: the longest stand-still is 10 to 12 ms, and 17 to 44 ms with 64; all of them take 0.7
/// to 0.9 s instead of 0.6.
const BATCH: usize = 16;
/// How long those that stand still wait for others of their batch. A relay that then has had its turn and could not pause goes
/// on: one that copies may wait for a peer that does not read.
const TURN: Duration = Duration::from_millis(20);
/// How long a relay has to get its turn: on a busy machine that of an idle one comes late. Below the patience of the other process.
const LATEST: Duration = Duration::from_secs(1);
/// For how long those that are no relay yet are waited for: a connected upstream may be watched for a second before.
const NEWEST: Duration = Duration::from_millis(1500);
/// How often it is looked for them.
const ROUND: Duration = Duration::from_millis(10);
/// The most bytes of one message: what relays hold.
const MOST_BYTES: usize = 4 << 20;

/// The connections that the other process has taken. Dropping it takes them back.
#[derive(Default)]
pub(super) struct Moves {
    taken: Vec<Taken>,
    sessions: Vec<SessionOffer>,
    /// The longest time for which one stood still.
    pub pause: Duration,
}

/// A connection that the other process has.
struct Taken {
    open: Arc<OpenConnection>,
    offer: Offer,
    /// How far its sockets were used when it paused. `None`: that cannot be told.
    used: [Option<Used>; 2],
}

impl Moves {
    /// How many connections and sessions there are.
    pub fn len(&self) -> (usize, usize) {
        (self.taken.len(), self.sessions.len())
    }

    /// The other process has them for good: this one closes its descriptors, without a reset.
    pub fn keep(mut self) {
        for Taken { open, offer, .. } in self.taken.drain(..) {
            open.has_moved();
            offer.moved();
        }
        self.sessions.drain(..).for_each(SessionOffer::moved);
    }
}

impl Drop for Moves {
    /// The other process has ended: what it has not used goes on here.
    fn drop(&mut self) {
        for Taken { offer, used, .. } in self.taken.drain(..) {
            // It may have wanted them to be reset.
            offer.sockets.iter().for_each(|socket| socket.deliver_on_close());
            if is_untouched(&offer.sockets, used) { drop(offer) } else { offer.lost() }
        }
    }
}

/// Whether nobody has read from the sockets of a connection, nor written. A Unix socket cannot tell, but what is read from one
/// side is written to the other.
fn is_untouched(sockets: &[Arc<Socket>; 2], used: [Option<Used>; 2]) -> bool {
    let now = sockets.each_ref().map(|socket| Used::of(&**socket));
    used != [None, None] && now == used
}

impl Server {
    /// Moves every UDP session that has an upstream. What clients send waits meanwhile, and what upstreams answer.
    pub(super) async fn move_sessions(
        &self,
        new: &mut Successor,
        moves: &mut Moves,
    ) -> Result<(), NotTakenOver> {
        let owners: Vec<Scope> = self.going_on().cloned().collect();
        for listener in self.udp.open() {
            let mut offers = hand_out(listener, owners.clone(), &self.shared).await;
            while !offers.is_empty() {
                // Kept before it is known whether they were taken, as connections are.
                let first = moves.sessions.len();
                moves.sessions.extend(offers.split_off(offers.len().saturating_sub(MOST_FDS)));
                let sent = moves.sessions.get(first..).unwrap_or_default();
                let said: Vec<_> = sent.iter().filter_map(SessionOffer::said).collect();
                let fds: Vec<_> = sent.iter().filter_map(SessionOffer::fd).collect();
                // Structs of numbers and text always have a JSON.
                let text = serde_json::to_vec(&said).unwrap_or_default();
                let answers = new.take(SESSIONS, &text, &fds).await?;
                keep_taken(&mut moves.sessions, first, answers);
            }
        }
        Ok(())
    }

    /// Moves every connection that can move: those that move little first. If it fails or is dropped, the other
    /// process must have ended before `moves` is dropped.
    pub(super) async fn move_connections(
        &self,
        new: &mut Successor,
        moves: &mut Moves,
    ) -> Result<(), NotTakenOver> {
        let begun = Instant::now();
        let mut tried = HashSet::new();
        loop {
            let mut left = Vec::new();
            self.shared
                .open
                .each(|open| left.extend(Some(open.clone()).filter(|open| self.could_move(open))));
            left.retain(|open| !tried.contains(&open.id) && open.traffic.path() != DataPath::Tls);
            if left.is_empty() || begun.elapsed() > NEWEST {
                return Ok(());
            }
            // What is no relay yet may be one the next time.
            let (mut left, young): (Vec<_>, Vec<_>) = left.into_iter().partition(|open| open.could_pause());
            tried.extend(left.iter().map(|open| open.id));
            left.sort_by_key(|open| (open.traffic.path() == DataPath::Splice, open.id));
            for batch in left.chunks(BATCH) {
                self.move_batch(batch, new, moves).await?;
            }
            if !young.is_empty() {
                sleep(ROUND).await;
            }
        }
    }

    /// What has not moved.
    pub fn unmoved(&self) -> Unmoved {
        let mut left = Unmoved::default();
        self.shared.open.each(|open| {
            left.all += usize::from(!open.is_moved());
            left.tls += usize::from(open.traffic.path() == DataPath::Tls);
            left.sessions += usize::from(open.is_session());
        });
        left
    }

    /// Who owns connections that go on: those of routes as they run, and of earlier texts that drain not all of them.
    fn going_on(&self) -> impl Iterator<Item = &Scope> {
        let earlier = self.retired.iter().filter(|old| old.goes_on);
        self.serving.values().chain(earlier.map(|old| &old.connections))
    }

    /// Whether it is a connection that goes on: of a route as it runs, or of an earlier text of it that drains none of them.
    fn could_move(&self, open: &OpenConnection) -> bool {
        let owner = open.known().owner.clone();
        let serving = self.scope(&owner.route.name, owner.route.policy.protocol);
        let serves = serving.is_some_and(|scope| scope.is(&owner.connections));
        let goes_on = || self.going_on().any(|scope| scope.is(&owner.connections));
        (serves || goes_on()) && !open.is_session() && !open.is_ended() && !open.is_leaving()
    }

    async fn move_batch(
        &self,
        batch: &[Arc<OpenConnection>],
        new: &mut Successor,
        moves: &mut Moves,
    ) -> Result<(), NotTakenOver> {
        let (to, mut offers) = mpsc::channel(BATCH);
        let asked: Vec<_> = batch.iter().filter(|open| open.pause(&to)).collect();
        drop(to);
        let begun = Instant::now();
        let mut looks = interval_at(begun + TURN, TURN);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut message = Message::default();
        // Until each of them has offered itself, has ended, or goes on here.
        loop {
            let offer = tokio::select! {
                biased;
                offer = offers.recv() => offer,
                _ = looks.tick() => {
                    std::mem::take(&mut message).send(new, moves).await?;
                    let is_late = begun.elapsed() >= LATEST;
                    let stay = asked.iter().filter(|open| is_late || open.traffic.cannot_pause());
                    stay.for_each(|open| open.unpause());
                    continue;
                }
            };
            let Some(offer) = offer else { break };
            let Some(open) = batch.iter().find(|open| open.id == offer.id) else { continue };
            let said = open.said_with(&offer);
            if message.is_full(&said) {
                std::mem::take(&mut message).send(new, moves).await?;
            }
            message.add(open, offer, said);
        }
        message.send(new, moves).await
    }
}

/// Connections that go in one message.
#[derive(Default)]
struct Message {
    offers: Vec<(Arc<OpenConnection>, Offer)>,
    /// Since when the first of them has stood still.
    since: Option<Instant>,
    said: Vec<MovedConnection>,
    fds: usize,
    bytes: usize,
}

impl Message {
    fn is_full(&self, next: &MovedConnection) -> bool {
        self.fds + next.descriptors() > MOST_FDS || self.bytes >= MOST_BYTES
    }

    fn add(&mut self, open: &Arc<OpenConnection>, offer: Offer, said: MovedConnection) {
        self.since.get_or_insert_with(Instant::now);
        self.fds += said.descriptors();
        self.bytes += said.flows.iter().map(|flow| flow.held.as_slice().len()).sum::<usize>();
        self.offers.push((open.clone(), offer));
        self.said.push(said);
    }

    /// Sends them, and keeps those that the other process has taken. The others go on here.
    async fn send(self, new: &mut Successor, moves: &mut Moves) -> Result<(), NotTakenOver> {
        if self.offers.is_empty() {
            return Ok(());
        }
        let used = |offer: &Offer| offer.sockets.each_ref().map(|socket| Used::of(&**socket));
        // From now on they may have been used: kept before it is known whether they were taken.
        let first = moves.taken.len();
        let taken = |(open, offer)| Taken { used: used(&offer), open, offer };
        moves.taken.extend(self.offers.into_iter().map(taken));
        let sent = moves.taken.get(first..).unwrap_or_default();
        let fds: Vec<BorrowedFd<'_>> = sent.iter().flat_map(|taken| descriptors(&taken.offer)).collect();
        let answered = new.take(CONNECTIONS, &encode(&self.said), &fds).await?;
        moves.pause = moves.pause.max(self.since.map_or(Duration::ZERO, |since| since.elapsed()));
        keep_taken(&mut moves.taken, first, answered);
        Ok(())
    }
}

/// Drops those from `first` on that the other process has not taken.
fn keep_taken<T>(all: &mut Vec<T>, first: usize, answers: Vec<bool>) {
    let mut answers = answers.into_iter();
    let sent = all.split_off(first);
    all.extend(sent.into_iter().filter(|_| answers.next().unwrap_or_default()));
}

fn descriptors(offer: &Offer) -> impl Iterator<Item = BorrowedFd<'_>> {
    let sockets = offer.sockets.iter().map(|socket| socket.as_fd());
    sockets.chain(offer.halfway().into_iter().flat_map(|halfway| halfway.fds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_full_where_the_descriptors_of_one_more_do_not_fit_or_it_has_4_mib() {
        // Its two sockets.
        let next = MovedConnection::default();
        for (fds, bytes, full) in
            [(0, 0, false), (251, 4_194_303, false), (252, 0, true), (0, 4_194_304, true)]
        {
            let message = Message { fds, bytes, ..Message::default() };
            assert_eq!(message.is_full(&next), full, "{fds} descriptors, {bytes} bytes");
        }
    }

    #[test]
    fn what_the_other_process_has_not_taken_is_dropped() {
        let taken = |first, answers: &[bool]| {
            let mut all = vec!['a', 'b', 'c'];
            keep_taken(&mut all, first, answers.to_vec());
            all
        };
        assert_eq!(taken(1, &[false, true]), ['a', 'c']);
        assert_eq!(taken(0, &[true]), ['a']);
        assert_eq!(taken(3, &[]), ['a', 'b', 'c']);
    }
}
