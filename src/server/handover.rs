//! What two processes say to each other when one takes over from the other: the old one tells, the new one answers.
//!
//! JSON, so that a field which one of them does not know is skipped. What only a later format has is said only if both know
//! that format.

use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use super::handed_state::{Counts, EarlyState, LastState};
use crate::net::carrier::{Carrier, CarrierError, Message};

/// The formats of what is handed over that this build can write and read.
pub const FORMATS: RangeInclusive<u32> = 1..=1;
/// What this build is.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// The kind of these messages.
const WORD: u8 = 1;
/// The kind of a message that says connections ([`crate::state::moved`]), with their descriptors.
pub(super) const CONNECTIONS: u8 = 2;
/// The kind of a message that says UDP sessions, each with its descriptor. They come first.
pub(super) const SESSIONS: u8 = 3;

/// The first words of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The oldest format that it knows.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
    /// Its version.
    pub build: String,
    /// Its process.
    pub pid: u32,
}

impl Hello {
    /// Of this process.
    pub fn ours() -> Hello {
        let (oldest, newest) = (*FORMATS.start(), *FORMATS.end());
        Hello { oldest, newest, build: BUILD.to_owned(), pid: std::process::id() }
    }

    /// The newest format that both know.
    pub fn format_with(&self, other: &Hello) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// A listening socket. Its descriptor comes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HandedSocket {
    /// Its name in the unit of systemd. Empty if it has none.
    #[serde(default)]
    pub name: String,
    /// systemd has passed it, and holds it as well.
    #[serde(default)]
    pub of_systemd: bool,
}

/// What the old process tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told {
    Hello(Hello),
    /// So many of its listening sockets, each with a descriptor.
    Sockets(Vec<HandedSocket>),
    /// Read the file, and say whether you could serve it: nothing more comes.
    Check,
    /// Read the file, open what it needs, and serve nobody yet.
    Prepare(EarlyState),
    /// Serve.
    Serve(Box<LastState>),
    /// The service manager knows of you, and this is what the old one has counted until now.
    Farewell(Counts),
    /// What the old one has counted since it said so last, while what is open there ends.
    Counted(Counts),
    /// The old one goes on, and you end.
    End,
    /// The old one is about to become the same program as you (execve(2)): then it takes over from you, through this pair.
    TakeBack,
}

/// What the new process answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answered {
    Hello(Hello),
    /// What came is mine.
    Taken,
    /// I could serve the file.
    Ready,
    /// I cannot, and go.
    Refused(String),
    /// I serve.
    Serving,
    /// Of the connections that came, each of these goes on here.
    Took(Vec<bool>),
}

/// Sends a word, with descriptors.
pub(super) async fn say(
    carrier: &Carrier,
    word: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> Result<(), CarrierError> {
    let bytes = serde_json::to_vec(word).map_err(|_| CarrierError::Strange("what we say is no JSON"))?;
    carrier.send(WORD, &bytes, fds).await
}

/// What a message says.
pub(super) fn word<'m, T: Deserialize<'m>>(message: &'m Message) -> Result<T, CarrierError> {
    if message.kind != WORD {
        return Err(CarrierError::Strange("another message is due"));
    }
    serde_json::from_slice(&message.bytes).map_err(|_| CarrierError::Strange("an unknown word"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(oldest: u32, newest: u32) -> Hello {
        Hello { oldest, newest, ..Hello::ours() }
    }

    #[test]
    fn both_use_the_newest_format_that_both_know() {
        assert_eq!(hello(1, 3).format_with(&hello(2, 5)), Some(3));
        assert_eq!(hello(2, 5).format_with(&hello(1, 3)), Some(3));
        assert_eq!(hello(1, 1).format_with(&hello(1, 1)), Some(1));
        assert_eq!(hello(1, 1).format_with(&hello(2, 3)), None);
    }

    #[test]
    fn what_a_later_build_adds_to_a_word_is_skipped() {
        let text = br#"{"hello":{"oldest":1,"newest":7,"build":"9","pid":3,"colour":"blue"}}"#;
        let message = Message { kind: WORD, bytes: text.to_vec(), fds: Vec::new() };
        let Told::Hello(hello) = word(&message).unwrap() else { panic!("another word") };
        assert_eq!((hello.oldest, hello.newest, hello.pid), (1, 7, 3));
        let strange = Message { bytes: br#"{"dance":1}"#.to_vec(), ..message };
        assert!(word::<Told>(&strange).is_err());
    }
}
