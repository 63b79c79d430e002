// The sessions of several listeners that share so many places, against a plain list: any bytes are a story of datagrams and
// time, both must tell it alike, and whoever gives way must be the one who should.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use portway::state::ClientKey;
use portway::state::fair_share::{FairShare, PlaceId, Standing};
use portway::state::flows::{Answer, Ended, Ends, FlowId, Flows, Question, Stage, Terms};

const LISTENERS: usize = 3;

/// A session as the list has it.
struct Plain {
    listener: usize,
    id: FlowId,
    place: PlaceId,
    ends: Ends,
    terms: Terms,
    stage: Stage,
    began: Instant,
    last: Instant,
    /// When its client was heard last.
    heard: Instant,
    questions: u64,
    answers: u64,
    /// The first question since the last answer.
    asked: Option<Instant>,
    /// How often its client went on after an answer.
    turns: u64,
    proven: bool,
}

impl Plain {
    fn deadline(&self) -> Instant {
        self.last + if self.stage == Stage::Asking { self.terms.asking() } else { self.terms.idle }
    }

    fn client(&self) -> IpAddr {
        self.ends.client.ip()
    }
}

struct Story {
    flows: [Flows<PlaceId>; LISTENERS],
    places: FairShare,
    plain: Vec<Plain>,
    now: Instant,
    most: usize,
    spared: usize,
}

/// The first two bytes are the bounds, then each pair is an event.
pub fn flows(bytes: &[u8]) {
    let [most, part, events @ ..] = bytes else { return };
    let (most, part) = (usize::from(*most % 32) + 1, usize::from(*part % 8) + 1);
    let mut story = Story {
        flows: std::array::from_fn(|_| Flows::default()),
        places: FairShare::new(most).sparing(part),
        plain: Vec::new(),
        now: Instant::now(),
        most,
        spared: most / part,
    };
    for event in events.chunks_exact(2) {
        story.happens(event[0], event[1]);
        story.agrees();
    }
}

impl Story {
    fn happens(&mut self, kind: u8, value: u8) {
        // No two events at one time: then who was silent the longest has one answer.
        self.passes(Duration::from_nanos(1));
        match kind % 8 {
            0..=3 => self.asks(value, kind),
            4 | 5 => self.answers(value, u64::from(kind / 8 % 3) + 1),
            6 => self.passes(Duration::from_millis(u64::from(value) * 50)),
            _ => {
                if let Some(at) = (!self.plain.is_empty()).then(|| usize::from(value) % self.plain.len()) {
                    let (listener, id) = (self.plain[at].listener, self.plain[at].id);
                    let ended = self.flows[listener].end(id);
                    self.ended(at, ended);
                    let flows = &mut self.flows[listener];
                    assert!(flows.end(id).is_none() && flows.answer(id, 1, self.now).is_none());
                }
            }
        }
    }

    fn asks(&mut self, value: u8, kind: u8) {
        let listener = usize::from(kind / 8) % LISTENERS;
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + u8::from(value.is_multiple_of(5))));
        let client = SocketAddr::from(([192, 0, 2, value / 32], 9 + u16::from(value / 8 % 4)));
        let ends = Ends { client, local };
        let known = self.flows[listener].ask(&ends, 1, self.now);
        let at = self.plain.iter().position(|plain| (plain.listener, plain.ends) == (listener, ends));
        assert_eq!(known.map(|question| question.id), at.map(|at| self.plain[at].id));
        let Some((at, known)) = at.zip(known) else { return self.opens(listener, ends, kind, value) };
        let plain = &mut self.plain[at];
        plain.questions += 1;
        (plain.last, plain.heard) = (self.now, self.now);
        let answered = plain.stage == Stage::Answered;
        plain.turns += u64::from(answered && plain.asked.is_none());
        let since = *plain.asked.get_or_insert(self.now);
        let forsaken = answered && since + plain.terms.idle <= self.now;
        let shows = answered && since == self.now;
        let proves = shows
            && !plain.proven
            && plain.turns >= 2
            && self.now - plain.began >= Duration::from_millis(500);
        assert_eq!((known.forsaken, known.proves), (forsaken, proves));
        if proves {
            plain.proven = true;
            self.places.stand(plain.place, Standing::InUse, self.now);
        }
    }

    fn opens(&mut self, listener: usize, ends: Ends, kind: u8, value: u8) {
        let client = Some(ClientKey::of(ends.client.ip()));
        let place = self.places.enter(client, self.now).unwrap_or_else(|| {
            assert!(self.plain.len() >= self.most, "there is room");
            let heard = |id| self.plain.iter().find(|plain| plain.place == id).map(|plain| plain.heard);
            let gives_way = self.places.gives_way_late(heard).expect("somebody always gives way");
            let at = self.plain.iter().position(|plain| plain.place == gives_way).unwrap();
            self.is_fair(at);
            let ended = self.flows[self.plain[at].listener].end(self.plain[at].id);
            let place = self.places.enter_for(gives_way, client, self.now);
            self.ended(at, ended);
            place
        });
        let replies = [None, None, Some(1), Some(2)][usize::from(kind / 8 % 4)];
        let terms = Terms { idle: Duration::from_secs([6, 60][usize::from(value % 2)]), replies };
        let id = self.flows[listener].open(ends, terms, self.now, place);
        let first = self.flows[listener].ask(&ends, 1, self.now);
        assert_eq!(first, Some(Question { id, forsaken: false, proves: false }));
        let (now, stage) = (self.now, Stage::Asking);
        self.plain.push(Plain {
            listener,
            id,
            place,
            ends,
            terms,
            stage,
            began: now,
            last: now,
            heard: now,
            questions: 1,
            answers: 0,
            asked: Some(now),
            turns: 0,
            proven: false,
        });
    }

    /// Whether the right one gives way.
    fn is_fair(&self, at: usize) {
        let gives_way = &self.plain[at];
        let alike = || self.plain.iter().filter(|plain| plain.proven == gives_way.proven);
        let (unproven, all) = (self.plain.iter().filter(|plain| !plain.proven).count(), self.plain.len());
        match gives_way.proven {
            true => assert!(unproven <= self.spared, "a proven one gave way to a flood"),
            false => assert!(unproven > self.spared || unproven == all, "the spared part was taken"),
        }
        let free = if gives_way.proven { 0 } else { self.spared };
        let excess = |client| alike().filter(|plain| plain.client() == client).count().saturating_sub(free);
        let own = excess(gives_way.client());
        assert!(alike().all(|plain| excess(plain.client()) <= own), "another holds more");
        let rivals = alike().filter(|plain| excess(plain.client()) == own);
        assert_eq!(rivals.map(|plain| plain.heard).min(), Some(gives_way.heard), "another is longer silent");
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
        (plain.last, plain.stage) = (self.now, Stage::Answered);
        let last =
            plain.terms.replies.is_some_and(|replies| plain.answers >= plain.questions * u64::from(replies));
        let (listener, id) = (plain.listener, plain.id);
        let said = self.flows[listener].answer(id, datagrams, self.now);
        assert_eq!(said, Some(Answer { passes, last }));
        if last {
            let ended = self.flows[listener].end(id);
            self.ended(at, ended);
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        for listener in 0..LISTENERS {
            while let Some(ended) = self.flows[listener].expire(self.now) {
                let same = |plain: &Plain| (plain.listener, plain.ends) == (listener, ended.ends);
                let at = self.plain.iter().position(same).unwrap();
                assert!(self.plain[at].deadline() <= self.now, "too early");
                self.ended(at, Some(ended));
            }
        }
        assert!(self.plain.iter().all(|plain| plain.deadline() > self.now), "too late");
    }

    fn ended(&mut self, at: usize, ended: Option<Ended<PlaceId>>) {
        let (plain, ended) = (self.plain.remove(at), ended.unwrap());
        assert_eq!((ended.ends, ended.stage, ended.state), (plain.ends, plain.stage, plain.place));
        assert_eq!((ended.counts.questions, ended.counts.answers), (plain.questions, plain.answers));
        self.places.leave(plain.place);
    }

    fn agrees(&self) {
        let of = |listener| self.plain.iter().filter(move |plain| plain.listener == listener);
        for (listener, flows) in self.flows.iter().enumerate() {
            assert_eq!(flows.len(), of(listener).count());
            assert_eq!(flows.next_deadline(), of(listener).map(Plain::deadline).min());
            assert!(of(listener).all(|plain| flows.stage(plain.id) == Some(plain.stage)));
        }
        assert_eq!(self.places.len(), self.plain.len());
        assert!(self.plain.len() <= self.most);
    }
}
