//! The order to let another program take over, and what comes of it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use super::handover::BUILD;
use super::successor::NotTakenOver;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct UpgradeOrder {
    /// The program that is to take over. `None`: the file that this one was started from, as it is now.
    pub binary: Option<PathBuf>,
    /// Only find out whether it could.
    pub check: bool,
    /// Keep the process: it becomes the program. The first process of a container always stays.
    pub in_place: bool,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Upgraded {
    /// Nothing was: it only could be.
    pub checked: bool,
    /// The new process stands in until this one has become the same program.
    pub in_place: bool,
    /// The new process.
    pub pid: u32,
    /// Its version.
    pub build: String,
    /// How many connections have moved.
    pub moved: usize,
    /// How many UDP sessions have moved.
    pub sessions: usize,
    /// What ends in the old process.
    pub draining: Unmoved,
    /// How long they have.
    pub at_most: Duration,
    /// For how long nobody accepted, or for how long a connection stood still while it moved: the longer time.
    pub pause: Duration,
}

/// Connections and sessions that have not moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmoved {
    /// How many there are.
    pub all: usize,
    /// Those with TLS: nobody else could go on with it.
    pub tls: usize,
    /// UDP sessions.
    pub sessions: usize,
}

/// Why nothing was done. What runs goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum NotUpgraded {
    /// Its routes are of the command line.
    #[error("there is no file that another process could read: its routes were given on the command line")]
    NoFile,
    /// One at a time.
    #[error("another upgrade is under way")]
    UnderWay,
    /// It ends.
    #[error("Portway is stopping")]
    Stopping,
    /// A file was edited, and is not what runs: a new process would serve it all the same. With every fault, as a picture.
    #[error("a file is not what runs, and a new process would serve it")]
    Pending(String),
    /// A new process would know nothing of what was before the edit.
    #[error("an edit is on probation")]
    OnProbation,
    /// It is not known which program runs.
    #[error("the program that runs cannot be found: {0}")]
    NoProgram(io::Error),
    /// No descriptor is left.
    #[error("the listening sockets cannot be handed over: {0}")]
    Sockets(#[from] io::Error),
    /// The new process has failed.
    #[error(transparent)]
    NotTakenOver(#[from] NotTakenOver),
}

impl NotUpgraded {
    /// What to do about it.
    pub fn help(&self) -> String {
        let help = match self {
            NotUpgraded::NoFile => "start the new version instead of this one",
            NotUpgraded::UnderWay => "wait until it is done",
            NotUpgraded::Stopping => "start the new version",
            NotUpgraded::Pending(_) => {
                "mend the file, or put back what runs; `portway reload --keep` takes what was rolled back"
            }
            NotUpgraded::OnProbation => {
                "wait until `portway status` says that it has passed, or keep it: `portway reload --keep`"
            }
            NotUpgraded::NoProgram(_) => "give its path",
            NotUpgraded::Sockets(_) => "raise the limit of descriptors (LimitNOFILE=, `ulimit -Hn`)",
            NotUpgraded::NotTakenOver(why) => return why.help(),
        };
        help.to_owned()
    }

    /// Every fault of the file, as a picture, if it has faults.
    pub fn report(&self) -> Option<&str> {
        match self {
            NotUpgraded::NotTakenOver(NotTakenOver::Refused { report, .. })
            | NotUpgraded::Pending(report) => Some(report),
            _ => None,
        }
    }
}
