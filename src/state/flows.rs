//! The sessions of one UDP listener: datagrams and time in, decisions out.
//!
//! UDP has no handshake, so anyone can spoof a source address. A session without an answer lives shorter. One whose client
//! goes on after answers is proven. Who gives way when there are too many is for
//! [`FairShare`](super::fair_share::FairShare), over all listeners.

mod parts;
mod said;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parts::Evidence;
pub use parts::{Answer, Counts, Ended, Ends, FlowId, Question, Stage, Terms};

/// The sessions of a listener, each with the caller's state.
#[derive(Debug)]
pub struct Flows<S> {
    index: HashMap<Ends, u32>,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    /// One per lifetime. There are few, since lifetimes come from the file.
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
    evidence: Evidence,
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

/// Sessions of one lifetime, the longest silent first.
#[derive(Debug)]
struct List {
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

    /// The session of datagrams that a client has sent, if there is one. Counts them, and restarts its time.
    pub fn ask(&mut self, ends: &Ends, datagrams: u64, now: Instant) -> Option<Question> {
        let index = *self.index.get(ends)?;
        let slot = self.slots.get_mut(index as usize)?;
        let flow = slot.flow.as_mut()?;
        flow.counts.questions += datagrams;
        let (stage, answered) = (flow.stage, flow.stage == Stage::Answered);
        let proves = answered && flow.asked.is_none() && flow.evidence.goes_on(now);
        let waits = now.saturating_duration_since(*flow.asked.get_or_insert(now));
        let forsaken = answered && waits >= flow.terms.idle;
        let id = FlowId { index, turn: slot.turn };
        self.touch(index, stage, now);
        Some(Question { id, forsaken, proves })
    }

    /// Opens a session. Its first datagrams still have to go to [`Flows::ask`].
    pub fn open(&mut self, ends: Ends, terms: Terms, now: Instant, state: S) -> FlowId {
        if let Some(index) = self.index.get(&ends).copied() {
            drop(self.remove(index));
        }
        let list = self.list(terms.asking());
        let counts = Counts::default();
        let (stage, evidence) = (Stage::Asking, Evidence::none(now));
        let (older, newer) = (NONE, NONE);
        let (last, asked) = (now, None);
        let flow = Flow { ends, terms, stage, evidence, last, asked, counts, list, older, newer, state };
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
        let Counts { questions, answers, .. } = flow.counts;
        let due = flow.terms.replies.map(|replies| questions.saturating_mul(replies.into()));
        let left = due.map_or(u64::MAX, |due| due.saturating_sub(answers));
        let passes = datagrams.min(left);
        flow.counts.answers += passes;
        flow.asked = None;
        self.touch(id.index, Stage::Answered, now);
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

    /// How long the client of a session asks without an answer.
    pub fn waits(&self, id: FlowId, now: Instant) -> Option<Duration> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.turn == id.turn)?;
        Some(now.saturating_duration_since(slot.flow.as_ref()?.asked?))
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
        flow.list = self.list(flow.terms.life(flow.stage));
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
        let list = (!same).then(|| self.list(terms.life(stage)));
        if let Some(flow) = self.flow_at(index) {
            flow.stage = stage;
            flow.list = list.unwrap_or(flow.list);
        }
        self.link(index);
    }

    /// The list of a lifetime. Reuses an empty list, since lifetimes change with the file.
    fn list(&mut self, life: Duration) -> usize {
        let found = self.lists.iter().position(|list| list.life == life);
        let list = || List { life, oldest: NONE, newest: NONE, len: 0 };
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
