//! The sessions of one UDP listener: datagrams and time in, decisions out.
//!
//! UDP has no handshake, so anyone can spoof a source address. What a session has shown ([`Stage`]) decides what it may
//! cost. A session without an answer lives shorter and is evicted first. One whose client has sent again after an
//! answer, and so has seen it, is never evicted.

mod parts;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use parts::{Answer, Counts, Ended, Ends, FlowId, Placement, Question, Stage, Terms};

/// The sessions of a listener, each with the caller's state.
#[derive(Debug)]
pub struct Flows<S> {
    index: HashMap<Ends, u32>,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    /// One per stage and lifetime. There are few, since lifetimes come from the file.
    lists: Vec<List>,
    /// No session may be silent for longer than this. `None`: only its own terms apply.
    longest: Option<Duration>,
}

#[derive(Debug)]
struct Slot<S> {
    turn: u32,
    flow: Option<Flow<S>>,
}

/// A session of a table, or on its way from one to another.
#[derive(Debug)]
pub struct Flow<S> {
    ends: Ends,
    terms: Terms,
    stage: Stage,
    last: Instant,
    /// The first question since the last answer. `None`: none is open.
    asked: Option<Instant>,
    counts: Counts,
    /// Its list, and its neighbours there, by index.
    list: usize,
    older: u32,
    newer: u32,
    state: S,
}

/// Sessions of one stage and one lifetime, the longest silent first.
#[derive(Debug)]
struct List {
    stage: Stage,
    life: Duration,
    oldest: u32,
    newest: u32,
    len: usize,
}

/// The index of no session.
const NONE: u32 = u32::MAX;

impl<S> From<Flow<S>> for Ended<S> {
    fn from(flow: Flow<S>) -> Ended<S> {
        let Flow { ends, stage, state, counts, .. } = flow;
        Ended { ends, stage, state, counts }
    }
}

impl<S> Flow<S> {
    /// The caller's state.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S> Default for Flows<S> {
    fn default() -> Self {
        Flows { index: HashMap::new(), slots: Vec::new(), free: Vec::new(), lists: Vec::new(), longest: None }
    }
}

impl<S> Flows<S> {
    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many sessions have had no answer.
    pub fn asking(&self) -> usize {
        self.lists.iter().filter(|list| list.stage == Stage::Asking).map(|list| list.len).sum()
    }

    /// The session of datagrams that a client has sent, if there is one. Counts them, and restarts its time.
    pub fn ask(&mut self, ends: &Ends, datagrams: u64, now: Instant) -> Option<Question> {
        let index = *self.index.get(ends)?;
        let slot = self.slots.get_mut(index as usize)?;
        let flow = slot.flow.as_mut()?;
        flow.counts.questions += datagrams;
        let stage = if flow.stage == Stage::Asking { Stage::Asking } else { Stage::Settled };
        let waits = now.saturating_duration_since(*flow.asked.get_or_insert(now));
        let forsaken = stage == Stage::Settled && waits >= flow.terms.idle;
        let id = FlowId { index, turn: slot.turn };
        self.touch(index, stage, now);
        Some(Question { id, forsaken })
    }

    /// Decides whether one more session may be opened, and evicts another if that must make way. `room`: whether the
    /// limits outside this table allow one more. `asking`: how many sessions without an answer are allowed.
    pub fn admit(&mut self, room: bool, asking: usize) -> Placement<S> {
        if self.asking() >= asking.max(1) {
            return Placement::Open(self.evict(Stage::Asking));
        }
        if room {
            return Placement::Open(None);
        }
        match self.evict(Stage::Asking).or_else(|| self.evict(Stage::Answered)) {
            None => Placement::Full,
            evicted => Placement::Open(evicted),
        }
    }

    /// Opens a session that [`Flows::admit`] has admitted. Its first datagrams still have to go to [`Flows::ask`].
    pub fn open(&mut self, ends: Ends, terms: Terms, now: Instant, state: S) -> FlowId {
        if let Some(index) = self.index.get(&ends).copied() {
            drop(self.remove(index));
        }
        let list = self.list(Stage::Asking, terms.asking());
        let counts = Counts::default();
        let stage = Stage::Asking;
        let (older, newer) = (NONE, NONE);
        let flow = Flow { ends, terms, stage, last: now, asked: None, counts, list, older, newer, state };
        self.insert(flow)
    }

    fn insert(&mut self, flow: Flow<S>) -> FlowId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, flow: None });
            // As many sessions as descriptors: far fewer than 2^32.
            (self.slots.len() - 1) as u32
        });
        self.index.insert(flow.ends, index);
        let mut id = FlowId { index, turn: 0 };
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.flow = Some(flow);
            id.turn = slot.turn;
        }
        self.link(index);
        id
    }

    /// Counts answers of the upstream, and says how many pass. `None`: the session has ended.
    pub fn answer(&mut self, id: FlowId, datagrams: u64, now: Instant) -> Option<Answer> {
        let flow = self.flow_mut(id)?;
        let stage = if flow.stage == Stage::Settled { Stage::Settled } else { Stage::Answered };
        let Counts { questions, answers, .. } = flow.counts;
        let due = flow.terms.replies.map(|replies| questions.saturating_mul(replies.into()));
        let left = due.map_or(u64::MAX, |due| due.saturating_sub(answers));
        let passes = datagrams.min(left);
        flow.counts.answers += passes;
        flow.asked = None;
        self.touch(id.index, stage, now);
        Some(Answer { passes, last: passes == left })
    }

    /// The caller's state of a session, its ends, and its counts.
    pub fn get_mut(&mut self, id: FlowId) -> Option<(&mut S, Ends, &mut Counts)> {
        let flow = self.flow_mut(id)?;
        Some((&mut flow.state, flow.ends, &mut flow.counts))
    }

    /// The stage of a session. `None`: it has ended.
    pub fn stage(&self, id: FlowId) -> Option<Stage> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.turn == id.turn)?;
        slot.flow.as_ref().map(|flow| flow.stage)
    }

    /// Ends a session. `None`: it had ended before.
    pub fn end(&mut self, id: FlowId) -> Option<Ended<S>> {
        self.flow_mut(id)?;
        self.remove(id.index)
    }

    /// The sessions that were written to at one of these addresses.
    pub fn at(&self, local: impl Fn(IpAddr) -> bool) -> Vec<FlowId> {
        self.found(|flow| local(flow.ends.local))
    }

    /// Takes a session out, to go on in another table. `None`: it has ended.
    pub fn take(&mut self, id: FlowId) -> Option<Flow<S>> {
        self.flow_mut(id)?;
        self.take_out(id.index)
    }

    /// Takes a session in from another table. Its silence begins anew, since lists are in the order of arrival. Fails with
    /// the session if one between the same ends is there already.
    pub fn put(&mut self, mut flow: Flow<S>, now: Instant) -> Result<FlowId, Ended<S>> {
        if self.index.contains_key(&flow.ends) {
            return Err(flow.into());
        }
        flow.last = now;
        flow.list = self.list(flow.stage, flow.terms.life(flow.stage));
        Ok(self.insert(flow))
    }

    /// Ends one session whose time is over. Call it until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<Ended<S>> {
        let due = |list: &List| self.deadline(list).is_some_and(|deadline| deadline <= now);
        let index = self.lists.iter().find(|list| due(list))?.oldest;
        self.remove(index)
    }

    /// When the next session's time is over, if nothing happens until then.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lists.iter().filter_map(|list| self.deadline(list)).min()
    }

    /// From now on silence ends a session after this time at the latest.
    pub fn hurry(&mut self, longest: Duration) {
        self.longest = Some(longest);
    }

    /// The sessions whose state satisfies `holds`.
    pub fn of(&self, holds: impl Fn(&S) -> bool) -> Vec<FlowId> {
        self.found(|flow| holds(&flow.state))
    }

    fn found(&self, holds: impl Fn(&Flow<S>) -> bool) -> Vec<FlowId> {
        let slots = self.slots.iter().zip(0..);
        let found = slots.filter(|(slot, _)| slot.flow.as_ref().is_some_and(&holds));
        found.map(|(slot, index)| FlowId { index, turn: slot.turn }).collect()
    }

    /// Ends the longest silent session of a stage.
    fn evict(&mut self, stage: Stage) -> Option<Ended<S>> {
        let heads = self.lists.iter().filter(|list| list.stage == stage && list.len > 0);
        let oldest = heads.min_by_key(|list| self.flow(list.oldest).map(|flow| flow.last))?.oldest;
        self.remove(oldest)
    }

    fn deadline(&self, list: &List) -> Option<Instant> {
        let life = self.longest.map_or(list.life, |longest| longest.min(list.life));
        self.flow(list.oldest)?.last.checked_add(life)
    }

    fn flow(&self, index: u32) -> Option<&Flow<S>> {
        self.slots.get(index as usize)?.flow.as_ref()
    }

    fn flow_at(&mut self, index: u32) -> Option<&mut Flow<S>> {
        self.slots.get_mut(index as usize)?.flow.as_mut()
    }

    fn flow_mut(&mut self, id: FlowId) -> Option<&mut Flow<S>> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.turn == id.turn)?.flow.as_mut()
    }

    fn remove(&mut self, index: u32) -> Option<Ended<S>> {
        self.take_out(index).map(Ended::from)
    }

    fn take_out(&mut self, index: u32) -> Option<Flow<S>> {
        self.unlink(index);
        let slot = self.slots.get_mut(index as usize)?;
        let flow = slot.flow.take()?;
        slot.turn = slot.turn.wrapping_add(1);
        self.index.remove(&flow.ends);
        self.free.push(index);
        Some(flow)
    }

    /// Notes that a datagram has moved: sets the stage of its session, and moves it to the end of its list.
    fn touch(&mut self, index: u32, stage: Stage, now: Instant) {
        let Some(flow) = self.flow_at(index) else { return };
        flow.last = now;
        if flow.stage == stage && flow.newer == NONE {
            return;
        }
        let (same, terms) = (flow.stage == stage, flow.terms);
        self.unlink(index);
        let list = (!same).then(|| self.list(stage, terms.life(stage)));
        if let Some(flow) = self.flow_at(index) {
            flow.stage = stage;
            flow.list = list.unwrap_or(flow.list);
        }
        self.link(index);
    }

    /// The list of a stage and a lifetime. Reuses an empty list, since lifetimes change with the file.
    fn list(&mut self, stage: Stage, life: Duration) -> usize {
        let same = |list: &List| list.stage == stage && list.life == life;
        let found = self.lists.iter().position(same);
        let list = || List { stage, life, oldest: NONE, newest: NONE, len: 0 };
        if let Some(at) = found {
            return at;
        }
        if let Some(at) = self.lists.iter().position(|list| list.len == 0) {
            self.lists[at] = list();
            return at;
        }
        self.lists.push(list());
        self.lists.len() - 1
    }

    /// Puts a session at the end of its list.
    fn link(&mut self, index: u32) {
        let Some(list) = self.flow(index).map(|flow| flow.list) else { return };
        let Some(list) = self.lists.get_mut(list) else { return };
        let before = std::mem::replace(&mut list.newest, index);
        list.len += 1;
        if before == NONE {
            list.oldest = index;
        }
        if let Some(flow) = self.flow_at(before) {
            flow.newer = index;
        }
        if let Some(flow) = self.flow_at(index) {
            (flow.older, flow.newer) = (before, NONE);
        }
    }

    /// Takes a session out of its list.
    fn unlink(&mut self, index: u32) {
        let Some((list, older, newer)) = self.flow(index).map(|flow| (flow.list, flow.older, flow.newer))
        else {
            return;
        };
        if let Some(flow) = self.flow_at(older) {
            flow.newer = newer;
        }
        if let Some(flow) = self.flow_at(newer) {
            flow.older = older;
        }
        let Some(list) = self.lists.get_mut(list) else { return };
        list.len -= 1;
        if list.oldest == index {
            list.oldest = newer;
        }
        if list.newest == index {
            list.newest = older;
        }
    }
}

#[cfg(test)]
mod tests;
