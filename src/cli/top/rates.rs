//! How fast things move: the difference of two looks at counters. The proxy's own clock (its uptime) measures the time
//! between them, so it does not matter when an answer arrives.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::View;
use crate::admin::api::Traffic;

/// How many looks are remembered: a minute of them, at one per second.
pub(super) const REMEMBERED: usize = 60;

/// What happened between two looks, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Connections that were opened.
    pub opened: f64,
    /// Bytes to upstreams.
    pub up: f64,
    /// Bytes to clients.
    pub down: f64,
}

/// The recent samples of one thing, the latest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    last: Traffic,
    pub samples: VecDeque<Sample>,
}

impl Track {
    fn of(traffic: Traffic) -> Track {
        Track { last: traffic, samples: VecDeque::new() }
    }

    fn note(&mut self, traffic: Traffic, seconds: f64) {
        let per_second = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        self.samples.push_back(Sample {
            opened: per_second(traffic.opened, self.last.opened),
            up: per_second(traffic.bytes_up, self.last.bytes_up),
            down: per_second(traffic.bytes_down, self.last.bytes_down),
        });
        if self.samples.len() > REMEMBERED {
            self.samples.pop_front();
        }
        self.last = traffic;
    }

    /// The latest sample.
    pub(super) fn now(&self) -> Sample {
        self.samples.back().copied().unwrap_or_default()
    }
}

/// The rates of everything on the screen.
#[derive(Debug, Default)]
pub(super) struct Rates {
    seen: Option<(u32, f64)>,
    pub all: Track,
    routes: BTreeMap<String, Track>,
    upstreams: BTreeMap<(String, String), Track>,
    /// Bytes of each connection so far, and per second.
    connections: HashMap<u64, (u64, f64)>,
}

impl Rates {
    /// Takes in the answers of one look.
    pub(super) fn note(&mut self, view: &View) {
        let (pid, uptime) = (view.status.pid, view.status.uptime);
        let seconds = match self.seen {
            Some((before, at)) if before == pid && uptime > at => uptime - at,
            // The same look again. Another process, below, has counters of its own.
            Some((before, _)) if before == pid => return,
            _ => {
                *self = Rates { all: Track::of(view.status.traffic), ..Rates::default() };
                0.0
            }
        };
        self.seen = Some((pid, uptime));
        if seconds > 0.0 {
            self.all.note(view.status.traffic, seconds);
        }
        let routes = view.routes.routes.iter().map(|route| (route.name.clone(), route.traffic));
        follow(&mut self.routes, routes, seconds);
        let key = |route: &str, upstream: &str| (route.to_owned(), upstream.to_owned());
        let upstreams = view.upstreams.upstreams.iter();
        let upstreams =
            upstreams.map(|upstream| (key(&upstream.route, &upstream.upstream), upstream.traffic));
        follow(&mut self.upstreams, upstreams, seconds);
        let Some(open) = &view.connections else { return self.connections.clear() };
        let before = std::mem::take(&mut self.connections);
        self.connections.extend(open.connections.iter().map(|open| {
            let bytes = open.bytes_up + open.bytes_down;
            let moved = before.get(&open.id).map_or(0, |(old, _)| bytes.saturating_sub(*old));
            (open.id, (bytes, if seconds > 0.0 { moved as f64 / seconds } else { 0.0 }))
        }));
    }

    pub(super) fn route(&self, name: &str) -> Option<&Track> {
        self.routes.get(name)
    }

    pub(super) fn upstream(&self, route: &str, upstream: &str) -> Option<&Track> {
        self.upstreams.get(&(route.to_owned(), upstream.to_owned()))
    }

    /// Bytes per second, both ways.
    pub(super) fn connection(&self, id: u64) -> f64 {
        self.connections.get(&id).map_or(0.0, |(_, rate)| *rate)
    }
}

/// Updates the tracks of what is there now, and forgets the others.
fn follow<K: Ord>(tracks: &mut BTreeMap<K, Track>, now: impl Iterator<Item = (K, Traffic)>, seconds: f64) {
    let mut before = std::mem::take(tracks);
    for (key, traffic) in now {
        let track = match before.remove(&key) {
            Some(mut track) if seconds > 0.0 => {
                track.note(traffic, seconds);
                track
            }
            _ => Track::of(traffic),
        };
        tracks.insert(key, track);
    }
}

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PLAIN_BARS: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '#', '@'];

/// A line of bars, the latest at its right end, scaled to the highest. `plain`: in ASCII.
pub(super) fn bars(values: impl DoubleEndedIterator<Item = f64>, width: usize, plain: bool) -> String {
    let mut latest: Vec<f64> = values.rev().take(width).collect();
    latest.resize(width, 0.0);
    let most = latest.iter().copied().fold(0.0, f64::max);
    let signs = if plain { PLAIN_BARS } else { BARS };
    let bar = |value: &f64| match *value {
        value if most > 0.0 && value > 0.0 => signs[((value / most * 8.0).ceil() as usize).clamp(1, 8)],
        _ => signs[0],
    };
    latest.iter().rev().map(bar).collect()
}
