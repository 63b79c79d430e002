//! A relay between two turns, which goes on later: in this process, or in another that gets its descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::pipe::Pipe;
use super::traffic::Traffic;
use crate::state::moved::{MovedConnection, MovedFlow};

/// All that a relay knows beside its sockets and its rules.
#[derive(Debug, Default)]
pub struct Halfway {
    /// What the client sends, and what the upstream sends.
    pub(super) flows: [HalfFlow; 2],
    /// Which side sent FIN first: 0 none, 1 the client, 2 the upstream.
    pub(super) first_fin: u8,
    /// How long no byte has moved, if a time limit needs it.
    pub(super) silent: Duration,
}

/// One direction of it.
#[derive(Debug, Default)]
pub(super) struct HalfFlow {
    /// What has become of the sender.
    pub fate: u8,
    /// Nothing more comes from it.
    pub ended: bool,
    pub held: Held,
    pub bulk: u8,
    pub no_splice: bool,
    /// The tokens of its bandwidth limit. `None`: it has none.
    pub tokens: Option<u64>,
}

/// Bytes that were read and not yet taken by the other side.
#[derive(Debug, Default)]
pub(super) enum Held {
    #[default]
    Nothing,
    Bytes(Box<Rest>),
    Piped(Box<Pipe>),
}

/// Bytes, and how many of them were sent.
#[derive(Debug)]
pub(super) struct Rest {
    pub bytes: Vec<u8>,
    pub sent: usize,
}

impl Held {
    /// Holds these bytes.
    pub fn bytes(bytes: Vec<u8>) -> Held {
        if bytes.is_empty() { Held::Nothing } else { Held::Bytes(Box::new(Rest { bytes, sent: 0 })) }
    }

    /// The bytes, for a path without pipes.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Held::Nothing => Vec::new(),
            Held::Bytes(rest) => rest.bytes.get(rest.sent..).unwrap_or_default().to_vec(),
            Held::Piped(pipe) => pipe.into_bytes(),
        }
    }
}

impl Halfway {
    /// Whether it holds no bytes.
    pub(super) fn holds_nothing(&self) -> bool {
        self.flows.iter().all(|flow| matches!(flow.held, Held::Nothing))
    }

    /// Says what it is, and how the bytes were moved so far.
    pub fn say(&self, traffic: &Traffic, moved: &mut MovedConnection) {
        moved.first_fin = self.first_fin;
        moved.silent = u64::try_from(self.silent.as_millis()).unwrap_or(u64::MAX);
        moved.flows = self.flows.each_ref().map(HalfFlow::said);
        (moved.up, moved.down) = (traffic.bytes().up, traffic.bytes().down);
        moved.path = traffic.moved();
    }

    /// The descriptors that go with it, beside its sockets.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = self.flows.iter().filter_map(|flow| match &flow.held {
            Held::Piped(pipe) => Some(pipe),
            Held::Nothing | Held::Bytes(_) => None,
        });
        pipes.flat_map(|pipe| pipe.ends().map(AsFd::as_fd))
    }

    /// What another process has said. `None`: the descriptors are not those that it needs.
    pub fn heard(moved: &MovedConnection, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<Halfway> {
        let mut flows = moved.flows.iter().map(|flow| HalfFlow::heard(flow, fds));
        let flows = [flows.next()??, flows.next()??];
        let silent = Duration::from_millis(moved.silent);
        Some(Halfway { flows, first_fin: moved.first_fin.min(2), silent })
    }
}

impl HalfFlow {
    fn said(&self) -> MovedFlow {
        let HalfFlow { fate, ended, held, bulk, no_splice, tokens } = self;
        let (piped, held) = match held {
            Held::Nothing => (0, Vec::new()),
            Held::Bytes(rest) => (0, rest.bytes.get(rest.sent..).unwrap_or_default().to_vec()),
            Held::Piped(pipe) => (u32::try_from(pipe.len()).unwrap_or(u32::MAX), Vec::new()),
        };
        MovedFlow {
            fate: *fate,
            ended: *ended,
            bulk: *bulk,
            no_splice: *no_splice,
            piped,
            tokens: *tokens,
            held: held.into(),
        }
    }

    fn heard(flow: &MovedFlow, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<HalfFlow> {
        let held = match usize::try_from(flow.piped).ok()? {
            0 => Held::bytes(flow.held.as_slice().to_vec()),
            length => Held::Piped(Box::new(Pipe::adopt(fds.next()?, fds.next()?, length))),
        };
        let &MovedFlow { fate, ended, bulk, no_splice, tokens, .. } = flow;
        Some(HalfFlow { fate: fate.min(2), ended, held, bulk, no_splice, tokens })
    }
}
