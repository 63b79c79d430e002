//! The process that is to take over from this one, as long as it is not yet sure that it does.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::stdio::dup2_stdin;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::handed_sockets::ToHand;
use super::handed_state::{Counts, LastState};
use super::handover::{Answered, BUILD, FORMATS, Hello, Told, say, word};
use crate::net::carrier::{Carrier, CarrierError, MOST_FDS};
use crate::net::user::passing_rights_on;
use crate::net::within;

/// The option of `portway run` that makes it take over from whoever has started it.
pub const TAKE_OVER: &str = "--take-over";

/// How long the new process may take to read its files and to open its sockets, even if it says that it lives.
const MOST: Duration = Duration::from_secs(60);
/// How long a process that was killed is waited for.
const DEATH: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(2);

/// What a new process is started with.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// The program.
    pub binary: PathBuf,
    /// The file of the routes.
    pub file: PathBuf,
    /// Further arguments: how the file is pulled.
    pub more: Vec<OsString>,
}

/// Why the new process has not taken over. What runs goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum NotTakenOver {
    /// It cannot be started.
    #[error("`{}` cannot be started: {error}", binary.display())]
    Start {
        /// The program.
        binary: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It has ended.
    #[error("`{}` has ended before it could take over ({})", binary.display(), ended(*status))]
    Ended {
        /// The program.
        binary: PathBuf,
        /// How. `None`: nobody knows.
        status: Option<ExitStatus>,
    },
    /// It says nothing, or takes nothing.
    #[error("`{}` has not taken over: {error}", binary.display())]
    Carrier {
        /// The program.
        binary: PathBuf,
        /// What is wrong.
        error: CarrierError,
    },
    /// The two have no format in common.
    #[error("Portway {build} does not read what Portway {} hands over", BUILD)]
    Gap {
        /// The version of the new one.
        build: String,
        /// The formats that it knows.
        formats: (u32, u32),
    },
    /// It cannot serve the file.
    #[error("Portway {build} cannot serve this file")]
    Refused {
        /// The version of the new one.
        build: String,
        /// Every fault, as a picture.
        report: String,
    },
}

fn ended(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "nobody knows how".to_owned(), |status| status.to_string())
}

impl NotTakenOver {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            NotTakenOver::Start { .. } => {
                "give the path of a Portway for this machine that this user may execute".to_owned()
            }
            NotTakenOver::Ended { .. } => {
                "see what it has said on standard error; is it a Portway, for this machine?".to_owned()
            }
            NotTakenOver::Carrier { .. } => {
                "is it a Portway, and is this machine too busy? try again".to_owned()
            }
            NotTakenOver::Gap { formats: (oldest, newest), .. } => format!(
                "it knows the formats {oldest} to {newest}, this one {} to {}: stop this one and start the other",
                FORMATS.start(),
                FORMATS.end()
            ),
            NotTakenOver::Refused { .. } => "mend the file: nothing has changed".to_owned(),
        }
    }
}

/// The new process. Dropping it ends it, unless it was released.
#[derive(Debug)]
pub(super) struct Successor {
    child: Newborn,
    carrier: Carrier,
    binary: PathBuf,
    /// Who it says it is.
    pub hello: Hello,
}

impl Successor {
    /// Starts it, and greets it.
    pub async fn start(start: Start) -> Result<Successor, NotTakenOver> {
        let binary = start.binary.clone();
        let failed = |error| NotTakenOver::Start { binary: binary.clone(), error };
        let (carrier, theirs) = Carrier::pair().map_err(failed)?;
        // A program on a disk that hangs keeps only this thread waiting.
        let child = spawn_blocking(move || spawn(&start, theirs)).await;
        let child = child.map_err(io::Error::other).and_then(|child| child).map_err(failed)?;
        Successor::greet(Newborn { child: Some(child), released: false }, carrier, binary).await
    }

    /// Greets a process that this one has not started.
    pub async fn over(carrier: Carrier, binary: PathBuf) -> Result<Successor, NotTakenOver> {
        Successor::greet(Newborn { child: None, released: false }, carrier, binary).await
    }

    async fn greet(child: Newborn, carrier: Carrier, binary: PathBuf) -> Result<Successor, NotTakenOver> {
        let mut new = Successor { child, carrier, binary, hello: Hello::ours() };
        let ours = Hello::ours();
        let Answered::Hello(theirs) = new.ask(Told::Hello(ours.clone())).await? else {
            return Err(new.strange().await);
        };
        if ours.format_with(&theirs).is_none() {
            return Err(NotTakenOver::Gap { formats: (theirs.oldest, theirs.newest), build: theirs.build });
        }
        new.hello = theirs;
        Ok(new)
    }

    /// Hands listening sockets over. It may not accept from them yet.
    pub async fn hand(&mut self, sockets: &[ToHand]) -> Result<(), NotTakenOver> {
        for part in sockets.chunks(MOST_FDS) {
            let words = part.iter().map(|socket| socket.said.clone()).collect();
            let fds: Vec<_> = part.iter().map(|socket| socket.as_fd()).collect();
            let said = say(&self.carrier, &Told::Sockets(words), &fds).await;
            match self.answer(said).await? {
                Answered::Taken => {}
                _ => return Err(self.strange().await),
            }
        }
        Ok(())
    }

    /// Makes it read the file, and prepare to serve it or only say whether it could.
    pub async fn judge(&mut self, order: Told) -> Result<(), NotTakenOver> {
        let most = if self.child.child.is_some() { MOST } else { Duration::MAX };
        let answered = within(most, self.ask(order)).await;
        match answered.unwrap_or_else(|_| Err(self.failure(CarrierError::Silent)))? {
            Answered::Ready => Ok(()),
            Answered::Refused(report) => {
                Err(NotTakenOver::Refused { build: self.hello.build.clone(), report })
            }
            _ => Err(self.strange().await),
        }
    }

    /// Makes it serve. Once this has returned it does.
    pub async fn serve(&mut self, last: LastState) -> Result<(), NotTakenOver> {
        match self.ask(Told::Serve(Box::new(last))).await? {
            Answered::Serving => Ok(()),
            _ => Err(self.strange().await),
        }
    }

    /// Hands connections or sessions over, as `kind` says. Returns for each whether it goes on there.
    pub async fn take(
        &mut self,
        kind: u8,
        said: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<bool>, NotTakenOver> {
        let said = self.carrier.send(kind, said, fds).await;
        match self.answer(said).await? {
            Answered::Took(took) => Ok(took),
            _ => Err(self.strange().await),
        }
    }

    /// Lets it live when this process ends: the service manager knows of it. `counts`: what this process has counted.
    pub async fn release(&mut self, counts: Counts) {
        self.child.released = true;
        // If it has ended meanwhile, the service manager starts another.
        drop(say(&self.carrier, &Told::Farewell(counts), &[]).await);
    }

    /// Tells it what was counted since that was told last. Fails if it does not listen any more.
    pub async fn tell(&self, counts: Counts) -> Result<(), CarrierError> {
        say(&self.carrier, &Told::Counted(counts), &[]).await
    }

    /// Ends it, and waits until it has ended: then nobody else accepts.
    pub async fn end(mut self) {
        match &mut self.child.child {
            Some(child) => {
                drop(child.kill());
                self.status(DEATH).await;
            }
            // It ends when it is told, whatever it waits for, and its end is heard.
            None => {
                drop(say(&self.carrier, &Told::End, &[]).await);
                while within(DEATH, self.carrier.receive_late()).await.is_ok_and(|said| said.is_ok()) {}
            }
        }
    }

    /// Its process, if this one has started it.
    pub fn pid(&self) -> Option<u32> {
        self.child.child.as_ref().map(Child::id)
    }

    /// Waits until it has ended, however long that takes.
    pub async fn ended(mut self) {
        while self.child.status().is_ok_and(|status| status.is_none()) {
            sleep(LOOK).await;
        }
    }

    /// Tells it that this process is about to become the same program, and returns this end of the pair for that.
    pub async fn take_back(self) -> Result<OwnedFd, CarrierError> {
        say(&self.carrier, &Told::TakeBack, &[]).await?;
        Ok(self.carrier.into_socket())
    }

    async fn ask(&mut self, word: Told) -> Result<Answered, NotTakenOver> {
        let said = say(&self.carrier, &word, &[]).await;
        self.answer(said).await
    }

    /// What it answers to what was said.
    async fn answer(&mut self, said: Result<(), CarrierError>) -> Result<Answered, NotTakenOver> {
        let answered = async {
            said?;
            word(&self.carrier.receive().await?)
        };
        match answered.await {
            Ok(answered) => Ok(answered),
            Err(CarrierError::Gone) => {
                let status = self.status(DEATH).await;
                Err(NotTakenOver::Ended { binary: self.binary.clone(), status })
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    async fn strange(&mut self) -> NotTakenOver {
        self.failure(CarrierError::Strange("another answer is due"))
    }

    fn failure(&self, error: CarrierError) -> NotTakenOver {
        NotTakenOver::Carrier { binary: self.binary.clone(), error }
    }

    /// How it has ended. `None`: it has not, within this time.
    async fn status(&mut self, most: Duration) -> Option<ExitStatus> {
        let ended = async {
            loop {
                match self.child.status() {
                    Ok(None) => sleep(LOOK).await,
                    status => return status.ok().flatten(),
                }
            }
        };
        within(most, ended).await.ok().flatten()
    }
}

/// The process itself. Dropping it ends it, unless it was released.
#[derive(Debug)]
struct Newborn {
    /// `None`: somebody else has started it.
    child: Option<Child>,
    released: bool,
}

impl Newborn {
    /// How it has ended. `None`: it has not. Fails if nobody knows.
    fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or_else(|| Err(io::ErrorKind::NotFound.into()), Child::try_wait)
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_mut().filter(|_| !self.released) {
            // What has ended is taken away with the orphans.
            drop(child.kill());
            drop(child.try_wait());
        }
    }
}

/// A program that this process becomes, at the end of its life, with the end of a pair as its standard input.
#[derive(Debug)]
pub(super) struct Becomes {
    pub start: Start,
    pub socket: OwnedFd,
}

impl Becomes {
    /// Becomes it (execve(2)). Returns only if that fails.
    pub fn exec(self) -> io::Error {
        if let Err(errno) = dup2_stdin(&self.socket) {
            return errno.into();
        }
        passing_rights_on(|| command(&self.start).exec())
    }
}

/// Starts the program: its standard input is its end of the pair, since a descriptor of any other number could not be told
/// from one that somebody has left open.
fn spawn(start: &Start, socket: OwnedFd) -> io::Result<Child> {
    let mut command = command(start);
    command.stdin(Stdio::from(socket));
    // systemd means this process by it.
    command.env_remove("WATCHDOG_PID").env_remove("LISTEN_FDNAMES");
    passing_rights_on(|| command.spawn())
}

fn command(start: &Start) -> Command {
    let mut command = Command::new(program(&start.binary));
    command.args(["run", TAKE_OVER, "--config"]).arg(&start.file).args(&start.more);
    command
}

/// The path of a program, which is never looked for in `PATH`.
fn program(binary: &Path) -> PathBuf {
    if binary.is_absolute() { binary.to_owned() } else { Path::new(".").join(binary) }
}
