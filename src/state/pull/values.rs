//! What goes into the steps of a [`Pull`](super::Pull), and what comes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::StorePart;
use crate::wire::minisign::{PublicKey, Release};

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullSettings {
    /// Whose signature a text must have. `None`: none.
    pub key: Option<PublicKey>,
    /// The name of this node: with a serial it decides in which stage the node takes a text.
    pub node: String,
    /// Time between two looks at a store that has no long poll. What many nodes would do at the same moment is spread over
    /// it, too.
    pub every: Duration,
    /// Where chance begins. Two nodes have two of them.
    pub seed: u64,
}

/// What a node has of earlier runs.
#[derive(Clone, Debug, Default)]
pub struct OnDisk {
    /// The file. `None`: there is none.
    pub text: Option<Arc<[u8]>>,
    /// The serial of its signature. `None`: it has none.
    pub serial: Option<u64>,
}

/// What to do next.
#[derive(Clone, Debug)]
pub enum Todo {
    /// Nothing for so long; then ask again.
    Wait(Duration),
    /// Fetch, and call [`Pull::fetched`](super::Pull::fetched).
    Fetch(Fetch),
    /// Compile this text, and call [`Pull::checked`](super::Pull::checked).
    Check(Arc<[u8]>),
    /// Write this, and call [`Pull::written`](super::Pull::written).
    Write(Offer),
}

/// One request to the store.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The text or its signature.
    pub part: StorePart,
    /// What the last answer was known by. Without change the store need not send it again.
    pub mark: Mark,
    /// For how long the store may wait for a change. `None`: it answers at once.
    pub wait: Option<Duration>,
}

/// What a store calls a state of a part. Empty: nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The `ETag` of HTTP.
    pub etag: Option<String>,
    /// Consul's index, or etcd's revision: the store can wait for a later one.
    pub index: Option<u64>,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// As before.
    Same(Mark),
    /// The content, which may be new.
    Content(Arc<[u8]>, Mark),
    /// The store answers, and has no such thing.
    Missing,
    /// The store answers, but not with what was asked for: why.
    Unfit(String),
    /// There is no answer: why.
    Failed(String),
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The text.
    pub text: Arc<[u8]>,
    /// Its signature, which goes beside it. `None`: what is there stays.
    pub signature: Option<Arc<[u8]>>,
    /// The serial that the node has then.
    pub serial: Option<u64>,
}

/// What is worth a line of the log. Each is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The store does not answer.
    Away(String),
    /// It does again.
    Back,
    /// It has something that this node does not take, and why.
    Refused(String),
    /// What was refused is no longer what the store has.
    Healed,
    /// The file was written.
    Took(Option<Release>),
    /// A text that this node takes at a later stage.
    Held(Release),
}

/// What is wrong, and since when.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// When it began.
    pub since: Instant,
    /// What it is.
    pub why: String,
}

/// What is known of the store, for whoever looks.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// When the store last said that this node has what it should have. `None`: not since the start.
    pub confirmed: Option<Instant>,
    /// The serial of the file. `None`: it has none.
    pub serial: Option<u64>,
    /// What the store's signature says. `None`: no signature is asked for, or it was not read yet.
    pub offered: Option<Release>,
    /// Why the store cannot be asked. `None`: it answers.
    pub away: Option<Trouble>,
    /// Why this node does not take what the store has. `None`: it does.
    pub refused: Option<Trouble>,
}

pub(super) fn missing(part: StorePart) -> String {
    match part {
        StorePart::Text => "the store has no such text: was it removed?".to_owned(),
        StorePart::Signature => {
            "there is no signature beside the text, under its name and .minisig".to_owned()
        }
    }
}

/// What was undone.
#[derive(Clone, Debug)]
pub(super) struct Undone {
    /// Its text.
    pub text: Arc<[u8]>,
    /// What is said of it.
    pub why: String,
}
