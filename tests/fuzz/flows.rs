// The flow table against a plain list: any bytes are a story of datagrams and time, and both must tell it alike.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use portway::state::flows::{Answer, Ended, Ends, FlowId, Flows, Placement, Question, Stage, Terms};

/// A session as the list has it.
struct Plain {
    id: FlowId,
    ends: Ends,
    terms: Terms,
    stage: Stage,
    last: Instant,
    order: u64,
    questions: u64,
    answers: u64,
    /// The first question since the last answer.
    asked: Option<Instant>,
}

impl Plain {
    fn deadline(&self) -> Instant {
        self.last + if self.stage == Stage::Asking { self.terms.asking() } else { self.terms.idle }
    }
}

struct Story {
    flows: Flows<u64>,
    plain: Vec<Plain>,
    now: Instant,
    order: u64,
    most: usize,
    asking: usize,
}

/// The first two bytes are the bounds, then each pair is an event.
pub fn flows(bytes: &[u8]) {
    let [most, asking, events @ ..] = bytes else { return };
    let mut story = Story {
        flows: Flows::default(),
        plain: Vec::new(),
        now: Instant::now(),
        order: 0,
        most: usize::from(*most % 32) + 1,
        asking: usize::from(*asking % 16) + 1,
    };
    for event in events.chunks_exact(2) {
        story.happens(event[0], event[1]);
        story.agrees();
    }
}

impl Story {
    fn happens(&mut self, kind: u8, value: u8) {
        self.order += 1;
        // No two events at one time: then who was silent the longest has one answer.
        self.passes(Duration::from_nanos(1));
        match kind % 8 {
            0..=3 => self.asks(value, kind),
            4 | 5 => self.answers(value, u64::from(kind / 8 % 3) + 1),
            6 => self.passes(Duration::from_millis(u64::from(value) * 50)),
            _ => {
                if let Some(at) = (!self.plain.is_empty()).then(|| usize::from(value) % self.plain.len()) {
                    let id = self.plain[at].id;
                    let ended = self.flows.end(id);
                    self.ended(at, ended);
                    assert!(self.flows.end(id).is_none() && self.flows.answer(id, 1, self.now).is_none());
                }
            }
        }
    }

    fn asks(&mut self, value: u8, kind: u8) {
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + u8::from(value.is_multiple_of(5))));
        let ends = Ends { client: SocketAddr::from(([192, 0, 2, value / 8], 9)), local };
        let known = self.flows.ask(&ends, 1, self.now);
        let at = self.plain.iter().position(|plain| plain.ends == ends);
        assert_eq!(known.map(|question| question.id), at.map(|at| self.plain[at].id));
        if let Some(at) = at {
            let plain = &mut self.plain[at];
            plain.questions += 1;
            (plain.last, plain.order) = (self.now, self.order);
            if plain.stage != Stage::Asking {
                plain.stage = Stage::Settled;
            }
            let since = *plain.asked.get_or_insert(self.now);
            let forsaken = plain.stage != Stage::Asking && since + plain.terms.idle <= self.now;
            assert_eq!(known.map(|question| question.forsaken), Some(forsaken));
            return;
        }
        let asking = self.plain.iter().filter(|plain| plain.stage == Stage::Asking).count();
        let room = self.plain.len() < self.most;
        let oldest = |stage| {
            let of = self.plain.iter().enumerate().filter(move |(_, plain)| plain.stage == stage);
            of.min_by_key(|(_, plain)| plain.order).map(|(at, _)| at)
        };
        let gives_way = match (asking >= self.asking, room) {
            (true, _) => oldest(Stage::Asking),
            (false, true) => None,
            (false, false) => oldest(Stage::Asking).or_else(|| oldest(Stage::Answered)),
        };
        match self.flows.admit(room, self.asking) {
            Placement::Full => {
                assert!(!room && self.plain.iter().all(|plain| plain.stage == Stage::Settled));
                return;
            }
            Placement::Open(None) => assert!(gives_way.is_none() && room),
            Placement::Open(ended) => self.ended(gives_way.unwrap(), ended),
        }
        let replies = [None, None, Some(1), Some(2)][usize::from(kind / 8 % 4)];
        let terms = Terms { idle: Duration::from_secs([6, 60][usize::from(value % 2)]), replies };
        let id = self.flows.open(ends, terms, self.now, self.order);
        assert_eq!(self.flows.ask(&ends, 1, self.now), Some(Question { id, forsaken: false }));
        let (stage, last, order) = (Stage::Asking, self.now, self.order);
        let asked = Some(self.now);
        self.plain.push(Plain { id, ends, terms, stage, last, order, questions: 1, answers: 0, asked });
    }

    fn answers(&mut self, value: u8, datagrams: u64) {
        if self.plain.is_empty() {
            return;
        }
        let at = usize::from(value) % self.plain.len();
        let plain = &mut self.plain[at];
        // No more than were asked for.
        let due = plain.terms.replies.map(|replies| plain.questions * u64::from(replies) - plain.answers);
        let passes = due.map_or(datagrams, |due| datagrams.min(due));
        plain.answers += passes;
        plain.asked = None;
        (plain.last, plain.order) = (self.now, self.order);
        if plain.stage == Stage::Asking {
            plain.stage = Stage::Answered;
        }
        let last =
            plain.terms.replies.is_some_and(|replies| plain.answers >= plain.questions * u64::from(replies));
        let id = plain.id;
        let said = self.flows.answer(id, datagrams, self.now);
        assert_eq!(said, Some(Answer { passes, last }));
        if last {
            let ended = self.flows.end(id);
            self.ended(at, ended);
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        while let Some(ended) = self.flows.expire(self.now) {
            let at = self.plain.iter().position(|plain| plain.ends == ended.ends).unwrap();
            assert!(self.plain[at].deadline() <= self.now, "too early");
            self.ended(at, Some(ended));
        }
        assert!(self.plain.iter().all(|plain| plain.deadline() > self.now), "too late");
    }

    fn ended(&mut self, at: usize, ended: Option<Ended<u64>>) {
        let (plain, ended) = (self.plain.remove(at), ended.unwrap());
        assert_eq!((ended.ends, ended.stage), (plain.ends, plain.stage));
        assert_eq!((ended.counts.questions, ended.counts.answers), (plain.questions, plain.answers));
    }

    fn agrees(&self) {
        let asking = self.plain.iter().filter(|plain| plain.stage == Stage::Asking).count();
        assert_eq!((self.flows.len(), self.flows.asking()), (self.plain.len(), asking));
        assert!(self.plain.len() <= self.most && asking <= self.asking);
        assert_eq!(self.flows.next_deadline(), self.plain.iter().map(Plain::deadline).min());
        for plain in &self.plain {
            assert_eq!(self.flows.stage(plain.id), Some(plain.stage));
        }
    }
}
