//! Follows one included file: compiles what is new, and asks the server to put it into force.

use std::future::pending;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::config::{Report, RouteFile};
use crate::files::{
    FileState, FollowedFile, Found, FsEventSource, How, Pending, Reading, Refused, Seen, blocking, look,
};
use crate::model::Fault;
use crate::state::lock;

/// How long a file may be gone until its routes are: some programs remove a file and write it anew.
const GRACE: Duration = Duration::from_secs(2);

/// Stands for the running text of a file of which nothing runs. No file has this text.
const NOTHING: &[u8] = b"\0";

/// What the tasks that follow included files tell the server.
#[derive(Debug)]
pub(super) enum Told {
    /// A text that is to run. The answer says whether it does.
    Text(PathBuf, Box<RouteFile>, Answer),
    /// The file is gone, and its routes are to go.
    Gone(PathBuf, Answer),
    /// A text was refused.
    Refused,
    /// What was asked for with this number is done.
    Answered(PathBuf, u64),
    /// What the patterns mean now; with the number of what was asked for.
    Found(Found, u64),
}

/// Where the server says whether something is in force.
pub(super) type Answer = oneshot::Sender<Result<(), Report>>;

/// What a task shares with the server.
#[derive(Debug, Default)]
pub(super) struct FileLink {
    asked: Notify,
    /// The number of what was asked for last.
    wanted: AtomicU64,
    again: Notify,
    pending: Mutex<Option<Pending>>,
    held: Mutex<Option<Arc<[u8]>>>,
}

impl FileLink {
    /// Makes the task read its file now, even if it looks unchanged, and then answer with this number.
    pub fn ask(&self, number: u64) {
        self.wanted.store(number, Ordering::Relaxed);
        self.asked.notify_one();
    }

    /// Makes the task try a text again that others were in the way of.
    pub fn again(&self) {
        self.again.notify_one();
    }

    /// Resolves when something is asked for, with its number.
    pub async fn asked(&self) -> u64 {
        self.asked.notified().await;
        self.wanted()
    }

    /// The number of what was asked for last. A task that begins answers it, also if one before it has not lived to.
    pub fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Why the file is not what runs. `None`: it is.
    pub fn pending(&self) -> Option<Pending> {
        lock(&self.pending).clone()
    }

    /// Whether the task holds this text for cut off, or half written.
    pub fn holds(&self, text: &str) -> bool {
        lock(&self.held).as_deref() == Some(text.as_bytes())
    }

    fn tells_of(&self, file: &FollowedFile<()>) {
        *lock(&self.pending) = file.pending().cloned();
        *lock(&self.held) = file.held().cloned();
    }
}

/// An included file, and how its task reaches the server.
#[derive(Clone, Debug)]
pub(super) struct IncludedFile {
    /// Its path, as the pattern has it: from the folder of the main file.
    pub path: PathBuf,
    /// The path to open.
    pub at: PathBuf,
    pub events: FsEventSource,
    pub tell: mpsc::Sender<Told>,
    pub link: Arc<FileLink>,
}

/// A text that runs, and what its file looked like before it was read.
#[derive(Clone, Debug)]
pub(super) struct RunningText {
    pub text: Arc<[u8]>,
    pub state: FileState,
}

impl RunningText {
    /// One whose file may be another by now.
    pub fn read_before(text: &str) -> RunningText {
        RunningText { text: text.as_bytes().into(), state: Err(ErrorKind::NotFound) }
    }
}

/// Follows a file. `runs`: the text of it that runs; `None`: none does.
pub(super) async fn follow(of: IncludedFile, runs: Option<RunningText>) {
    let runs = runs.unwrap_or(RunningText { text: NOTHING.into(), state: Err(ErrorKind::NotFound) });
    let mut file = FollowedFile::new(&of.at, runs.text, runs.state, &of.events, ());
    file.begin();
    let asked = of.link.wanted();
    if asked > 0 {
        file.ask();
    }
    Follower { of, file, asked, gone: None }.run().await;
}

struct Follower {
    of: IncludedFile,
    file: FollowedFile<()>,
    /// The number of what was asked for last.
    asked: u64,
    /// When the file has been gone for long enough, and what was read first. `None`: it is there.
    gone: Option<(Instant, Reading)>,
}

impl Follower {
    async fn run(mut self) {
        let link = self.of.link.clone();
        loop {
            link.tells_of(&self.file);
            let mut reading = tokio::select! {
                biased;
                asked = link.asked() => {
                    self.asked = asked;
                    self.file.ask();
                    continue;
                }
                () = link.again.notified() => {
                    self.file.again();
                    continue;
                }
                () = until(self.gone.as_ref().map(|(until, _)| *until)) => {
                    if let Some((_, reading)) = self.gone.take()
                        && self.leave(&reading).await
                    {
                        return;
                    }
                    continue;
                }
                reading = self.file.next() => reading,
            };
            #[cfg(test)]
            crate::tasks::faults::here(self.file.name());
            let asked = reading.how == How::Asked;
            let is_removed = self.is_removed(&mut reading).await;
            if !is_removed || reading.how == How::Settled && !self.file.is_news(&reading) {
                self.gone = None;
                self.take_in(reading).await;
            } else if !asked {
                self.gone.get_or_insert_with(|| (Instant::now() + GRACE, reading));
            } else if self.leave(&reading).await {
                return;
            } else {
                self.gone = None;
            }
            if asked {
                link.tells_of(&self.file);
                self.tell(Told::Answered(self.of.path.clone(), self.asked)).await;
            }
        }
    }

    async fn tell(&self, told: Told) {
        // Nobody listens any more: the process is stopping.
        drop(self.of.tell.send(told).await);
    }

    /// Whether the file is gone, and its routes may go. If more has happened, they go only if somebody asks: the fault says so.
    async fn is_removed(&self, reading: &mut Reading) -> bool {
        let Err(fault) = &mut reading.text else { return false };
        if !is_missing(&reading.state) {
            return false;
        }
        let at = self.of.at.clone();
        let is_removed = reading.how == How::Asked || blocking(move || is_removed(&at)).await.unwrap_or(true);
        if !is_removed {
            fault.help += "; or take it as it is, without its routes: `portway reload`";
        }
        is_removed
    }

    /// Lets the routes go, if the file is still gone. Returns whether they are.
    async fn leave(&mut self, reading: &Reading) -> bool {
        let path = self.of.at.clone();
        let there = blocking(move || !is_missing(&look(&path))).await;
        if there.unwrap_or(true) {
            return false;
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Told::Gone(self.of.path.clone(), reply)).await;
        let Ok(Err(report)) = answer.await else { return true };
        self.refuse(reading, report, true).await;
        false
    }

    async fn take_in(&mut self, mut reading: Reading) {
        let text = match self.file.see(&mut reading).await {
            Seen::Known => return,
            Seen::Runs => return self.took(&reading, self.file.running().clone()),
            Seen::Faulty(report) => return self.refuse(&reading, report, false).await,
            Seen::Text(text) => text,
        };
        let compiled = match self.compile(&text).await {
            Ok(compiled) => compiled,
            Err(report) => return self.refuse(&reading, report, false).await,
        };
        let (reply, answer) = oneshot::channel();
        self.tell(Told::Text(self.of.path.clone(), Box::new(compiled), reply)).await;
        match answer.await {
            Ok(Ok(())) => self.took(&reading, text),
            // Another file, or a socket, may give way: it is tried again.
            Ok(Err(report)) => self.refuse(&reading, report, true).await,
            // The server follows this file no longer.
            Err(_) => {}
        }
    }

    /// On a blocking thread: a large text takes time, and one that makes the compiler panic must not end this task.
    async fn compile(&self, text: &Arc<[u8]>) -> Result<RouteFile, Report> {
        let (name, path, text) = (self.file.name().to_owned(), self.of.path.clone(), text.clone());
        let compiled = blocking(move || RouteFile::included(&name, &text, &path)).await;
        let fault = || Fault::new("Portway failed to read this file", "please report it, with the file");
        compiled.unwrap_or_else(|| Err(Report::about_file(self.file.name(), fault())))
    }

    fn took(&mut self, reading: &Reading, text: Arc<[u8]>) {
        if let Some(pending) = self.file.took(reading, text) {
            let (file, fault) = (self.file.name(), pending.headline);
            info!(file, fault, "fault healed: what runs is what the file says");
        }
    }

    /// Records an edit that was refused, and logs it if it is new.
    async fn refuse(&mut self, reading: &Reading, report: Report, wanting: bool) {
        if self.file.refuse(reading, report.clone(), wanting) != Refused::New {
            return;
        }
        warn!(
            file = self.file.name(),
            headline = report.headline(),
            report = %report,
            "edit refused: what runs goes on as before, until the file is mended"
        );
        self.tell(Told::Refused).await;
    }
}

/// Whether somebody has removed a file. If its folder is gone too, or it is a link that leads nowhere, more has happened than that:
/// like the main file it is refused, and its routes go on. May block.
pub(super) fn is_removed(path: &Path) -> bool {
    path.parent().is_none_or(|folder| folder.join(".").exists()) && path.symlink_metadata().is_err()
}

fn is_missing(state: &FileState) -> bool {
    matches!(state, Err(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => pending().await,
    }
}
