//! Ten thousand nodes, each the real state machine, and a store: what a rollout costs the store, how long it takes, and how
//! much harm a bad text does. Time is made up, and chance is seeded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portway::model::StorePart;
use portway::state::pull::{Fetch, Fetched, Mark, OnDisk, Pull, PullSettings, Todo};
use portway::wire::minisign::PublicKey;

use super::signer::Signer;

const NODES: usize = 10_000;

/// Of a fleet of this size: `--every 20s`.
const EVERY: Duration = Duration::from_secs(20);

/// When a node whose text fares worse has seen enough.
const PROBATION: Duration = Duration::from_secs(20);

const WHY: &str = "undone: it fared worse";

struct Node {
    pull: Pull,
    /// Events of earlier ones do not count any more.
    epoch: u64,
    /// The text that runs, and since when.
    runs: (u64, Duration),
}

enum Event {
    Wake,
    Answer(Fetched),
    Undo,
}

/// What the store has, and who waits for a change.
struct Source {
    up: bool,
    /// Whether it can wait for a change.
    waits: bool,
    text: Arc<[u8]>,
    signature: Arc<[u8]>,
    index: u64,
    waiting: BTreeMap<usize, Fetch>,
    /// Requests in each second.
    requests: Vec<u32>,
}

pub struct World {
    signer: Signer,
    begin: Instant,
    now: Duration,
    nodes: Vec<Node>,
    events: BTreeMap<(Duration, u64), (usize, u64, Event)>,
    number: u64,
    source: Source,
    /// The bad text, and whether a node sees that it is.
    pub bad: Option<u64>,
    pub undoes: bool,
    /// Time that nodes have spent with the bad text.
    pub harm: Duration,
    /// How many nodes run a text, each time that one of them changes.
    pub running: Vec<(Duration, u64, i64)>,
}

fn text(serial: u64) -> Arc<[u8]> {
    format!("# {serial}\n[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\n").into_bytes().into()
}

fn serial_of(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text)[2..].lines().next().unwrap().parse().unwrap()
}

impl World {
    /// Every node runs the first text, and the store has it.
    pub fn new(waits: bool, every: Duration) -> World {
        let signer = Signer::new(1);
        let key = PublicKey::read(&signer.public()).unwrap();
        let begin = Instant::now();
        let node = |number: usize| {
            let (key, seed) = (Some(key.clone()), number as u64);
            let settings = PullSettings { key, node: format!("edge-{number}"), every, seed };
            let on_disk = OnDisk { text: Some(text(1)), serial: Some(1) };
            Node { pull: Pull::new(settings, on_disk, begin), epoch: 0, runs: (1, Duration::ZERO) }
        };
        let mut world = World {
            nodes: (0..NODES).map(node).collect(),
            signer,
            begin,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            number: 0,
            source: Source {
                up: true,
                waits,
                text: text(1),
                signature: Arc::new([]),
                index: 0,
                waiting: BTreeMap::new(),
                requests: Vec::new(),
            },
            bad: None,
            undoes: true,
            harm: Duration::ZERO,
            running: Vec::new(),
        };
        world.publish(1, "100%");
        (0..NODES).for_each(|node| world.step(node));
        world
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    /// Puts a text into the store, or another stage of the one that it has.
    pub fn publish(&mut self, serial: u64, stage: &str) {
        let (text, comment) = (text(serial), format!("serial={serial} stage={stage}"));
        let signature = self.signer.sign(std::str::from_utf8(&text).unwrap(), &comment);
        let source = &mut self.source;
        (source.text, source.signature, source.index) =
            (text, signature.into_bytes().into(), source.index + 1);
        for (node, fetch) in std::mem::take(&mut source.waiting) {
            let answer = self.answer(&fetch);
            self.after(self.latency(node), node, Event::Answer(answer));
        }
    }

    /// The store goes away, or comes back.
    pub fn set_up(&mut self, up: bool) {
        self.source.up = up;
        if !up {
            for (node, _) in std::mem::take(&mut self.source.waiting) {
                self.after(Duration::ZERO, node, Event::Answer(Fetched::Failed("reset".to_owned())));
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), (node, epoch, event)) = entry.remove_entry();
            self.now = at;
            let now = self.begin + at;
            let it = &mut self.nodes[node];
            match event {
                Event::Undo => {
                    let bad = text(self.bad.unwrap_or_default());
                    it.pull.undone(&bad, &text(self.bad.unwrap_or_default() - 1), WHY, now);
                    it.epoch += 1;
                    self.source.waiting.remove(&node);
                }
                _ if epoch != it.epoch => continue,
                Event::Wake => it.epoch += 1,
                Event::Answer(fetched) => {
                    it.epoch += 1;
                    it.pull.fetched(fetched, now);
                    self.source.waiting.remove(&node);
                }
            }
            self.step(node);
        }
        self.now = until;
    }

    fn after(&mut self, time: Duration, node: usize, event: Event) {
        self.number += 1;
        self.events.insert((self.now + time, self.number), (node, self.nodes[node].epoch, event));
    }

    fn latency(&self, node: usize) -> Duration {
        Duration::from_micros(10_000 + node as u64 * 7 % 30_000)
    }

    fn step(&mut self, node: usize) {
        loop {
            let now = self.begin + self.now;
            let it = &mut self.nodes[node];
            match it.pull.next(now) {
                Todo::Wait(time) => return self.after(time, node, Event::Wake),
                Todo::Fetch(fetch) => return self.ask(node, fetch),
                Todo::Check(_) => drop(it.pull.checked(Ok(()), now)),
                Todo::Write(offer) => {
                    it.pull.written(Ok(()), now);
                    self.takes(node, serial_of(&offer.text));
                }
            }
        }
    }

    fn ask(&mut self, node: usize, fetch: Fetch) {
        let second = usize::try_from(self.now.as_secs()).unwrap();
        let requests = &mut self.source.requests;
        requests.resize(requests.len().max(second + 1), 0);
        requests[second] += 1;
        let latency = self.latency(node);
        if !self.source.up {
            return self.after(latency, node, Event::Answer(Fetched::Failed("refused".to_owned())));
        }
        let answer = self.answer(&fetch);
        match (fetch.wait, &answer) {
            (Some(wait), Fetched::Same(_)) => {
                // As Consul does: up to a sixteenth more.
                let wait = wait + wait * u32::try_from(node % 16).unwrap() / 256;
                self.after(wait, node, Event::Answer(answer));
                self.source.waiting.insert(node, fetch);
            }
            _ => self.after(latency * 2, node, Event::Answer(answer)),
        }
    }

    fn answer(&self, fetch: &Fetch) -> Fetched {
        let Source { text, signature, index, waits, .. } = &self.source;
        let mark = match waits {
            true => Mark { etag: None, index: Some(*index) },
            false => Mark { etag: Some(index.to_string()), index: None },
        };
        match fetch.part {
            _ if fetch.mark == mark => Fetched::Same(mark),
            StorePart::Text => Fetched::Content(text.clone(), mark),
            StorePart::Signature => Fetched::Content(signature.clone(), mark),
        }
    }

    fn takes(&mut self, node: usize, serial: u64) {
        let (before, since) = std::mem::replace(&mut self.nodes[node].runs, (serial, self.now));
        if Some(before) == self.bad {
            self.harm += self.now - since;
        }
        self.running.extend([(self.now, before, -1), (self.now, serial, 1)]);
        if Some(serial) == self.bad && self.undoes {
            self.after(PROBATION, node, Event::Undo);
        }
    }

    /// How many nodes run a text.
    pub fn count(&self, serial: u64) -> usize {
        self.nodes.iter().filter(|node| node.runs.0 == serial).count()
    }

    /// How many nodes say that they have undone one.
    pub fn undone(&self) -> usize {
        let undone =
            |node: &&Node| node.pull.standing().refused.as_ref().is_some_and(|trouble| trouble.why == WHY);
        self.nodes.iter().filter(undone).count()
    }

    /// When the last node took a text.
    pub fn last(&self, serial: u64) -> Duration {
        self.nodes.iter().filter(|node| node.runs.0 == serial).map(|node| node.runs.1).max().unwrap()
    }

    /// The requests per second of a time: the mean, and the most.
    pub fn requests(&self, from: Duration, until: Duration) -> (f64, u32) {
        let seconds = |time: Duration| usize::try_from(time.as_secs()).unwrap();
        let all = &self.source.requests;
        let of = &all[seconds(from).min(all.len())..seconds(until).min(all.len())];
        let mean = f64::from(of.iter().sum::<u32>()) / (until - from).as_secs_f64();
        (mean, of.iter().copied().max().unwrap_or_default())
    }
}

/// What a fleet of this size is started with.
pub fn every() -> Duration {
    EVERY
}
