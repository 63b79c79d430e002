//! Certificates, keys and authorities in files of their own: read with the edit that names them, and watched as long as a
//! route needs them. What does not fit together is never put into force: the ones before stay.

mod notices;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use notices::{Notice, notices, tell};

use super::file;
use super::followed::Followed;
use super::watch::decide::{Look, Text};
use super::watch::{self, Events, Reading, Watch};
use crate::config::{Compiled, Fault, Report};
use crate::model::{Credentials, Part, Table};
use crate::net::tls::{Acceptor, Connector, Unfit, system_roots};
use crate::proxy::{Keyring, LiveAcceptor, LiveConnector};
use crate::tasks::Scope;

/// A certificate and its key are replaced one after the other. For so long what does not fit together is not called wrong.
const PATIENCE: Duration = Duration::from_secs(1);

/// Credentials that were read.
#[derive(Debug)]
pub struct ReadCredentials {
    credentials: Credentials,
    files: Vec<ReadFile>,
    made: Made,
    notices: Vec<Notice>,
}

impl ReadCredentials {
    /// What a person should know of them, although they serve.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        self.notices.iter().map(ToString::to_string)
    }
}

/// One of their files.
#[derive(Clone, Debug)]
struct ReadFile {
    part: Part,
    /// As the routes' file has it.
    written: PathBuf,
    path: PathBuf,
    text: Text,
    look: Look,
}

/// What serves connections.
#[derive(Debug)]
enum Made {
    Clients(Acceptor),
    Upstream(Connector),
}

/// What a table needs.
fn needed(table: &Table) -> BTreeSet<Credentials> {
    table.routes.values().flat_map(|route| route.policy.clients.tls.credentials()).collect()
}

/// Reads what a file names, and shows the faults of what it cannot have. May block.
pub fn read(compiled: &Compiled) -> Result<Vec<ReadCredentials>, Report> {
    read_all(compiled, needed(&compiled.table))
}

fn read_all(compiled: &Compiled, wanted: BTreeSet<Credentials>) -> Result<Vec<ReadCredentials>, Report> {
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for credentials in wanted {
        let one = |(part, written): (Part, &PathBuf)| ReadFile::read(part, written, compiled.folder());
        let files: Vec<ReadFile> = credentials.files().into_iter().map(one).collect();
        match make(&credentials, &files) {
            Ok(made) => {
                let notices = notices(&files);
                read.push(ReadCredentials { credentials, files, made, notices });
            }
            Err((file, fault)) => {
                let written = file.map_or_else(PathBuf::new, |file| file.written.clone());
                let about = file.map_or_else(String::new, |file| format!("{}: ", file.called()));
                faults.push((written, Fault::new(format!("{about}{}", fault.message), fault.help)));
            }
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(compiled.file_faults(&faults)) }
}

impl ReadFile {
    fn read(part: Part, written: &Path, folder: &Path) -> Self {
        let path = folder.join(written);
        let look = watch::look(&path);
        let text = file::read(&path).map(|reading| reading.bytes.into());
        ReadFile { part, written: written.to_owned(), path, text, look }
    }

    fn called(&self) -> String {
        let what = match self.part {
            Part::Certificate => "the certificate",
            Part::Key => "the key",
            Part::Authority => "the authorities",
        };
        format!("{what} {}", self.path.display())
    }
}

/// Makes of files what serves connections; or says which of them is wrong, where it is one. May block.
fn make<'f>(credentials: &Credentials, files: &'f [ReadFile]) -> Result<Made, (Option<&'f ReadFile>, Fault)> {
    for file in files {
        if let Err(fault) = &file.text {
            return Err((Some(file), fault.clone()));
        }
    }
    let find = |part: Part| files.iter().find(|file| file.part == part);
    let text = |part: Part| find(part).and_then(|file| file.text.as_deref().ok());
    let pair = text(Part::Certificate).zip(text(Part::Key));
    let authority = text(Part::Authority);
    let made = match credentials {
        Credentials::Clients(tls) => {
            Acceptor::new(pair.unwrap_or_default(), authority, &tls.alpn).map(Made::Clients)
        }
        Credentials::Upstream(_) => Connector::new(pair, authority, system_roots).map(Made::Upstream),
    };
    made.map_err(|unfit| match unfit {
        Unfit::Certificate(fault) => (find(Part::Certificate), fault),
        Unfit::Key(fault) => (find(Part::Key), fault),
        Unfit::Authority(fault) => (find(Part::Authority), fault),
        Unfit::System(fault) => (None, fault),
    })
}

/// What is in force.
#[derive(Debug)]
pub(super) struct CredentialFiles {
    followed: Followed<Credentials>,
    events: Events,
}

impl CredentialFiles {
    /// None yet.
    pub fn new(events: Events) -> Self {
        CredentialFiles { followed: Followed::default(), events }
    }

    /// Reads what the file names and is not in force yet. Changes nothing.
    pub async fn prepare(&self, compiled: &Compiled) -> Result<Vec<ReadCredentials>, Report> {
        self.followed.read_new(needed(&compiled.table), compiled, ("the certificates", read_all)).await
    }

    /// Puts them into force, and watches them from now on.
    pub fn begin(&mut self, read: Vec<ReadCredentials>, keyring: &mut Keyring, owner: &Scope) {
        for ReadCredentials { credentials, files, made, notices } in read {
            tell(&notices);
            let live = match (&credentials, made) {
                (Credentials::Clients(tls), Made::Clients(acceptor)) => {
                    let live = Arc::new(LiveAcceptor::from_pointee(acceptor));
                    keyring.acceptors.insert(tls.clone(), live.clone());
                    Live::Clients(live)
                }
                (Credentials::Upstream(tls), Made::Upstream(connector)) => {
                    let live = Arc::new(LiveConnector::from_pointee(connector));
                    keyring.connectors.insert(tls.clone(), live.clone());
                    Live::Upstream(live)
                }
                // One is made of the other.
                _ => continue,
            };
            let follower = Follower {
                credentials: credentials.clone(),
                running: files.iter().map(|file| file.text.clone()).collect(),
                files,
                live,
                complaint: None,
                refused: None,
            };
            let mut watches = follower.watches(&self.events);
            watches.iter_mut().for_each(Watch::begin);
            self.followed.begin(credentials, owner, |asked| follower.follow(watches, asked));
        }
    }

    /// Forgets what no route needs any more.
    pub fn forget_unused(&mut self, table: &Table, keyring: &mut Keyring) {
        if self.followed.is_empty() {
            return;
        }
        let needed = needed(table);
        keyring.acceptors.retain(|tls, _| needed.contains(&Credentials::Clients(tls.clone())));
        keyring.connectors.retain(|tls, _| needed.contains(&Credentials::Upstream(tls.clone())));
        self.followed.keep(&needed);
    }

    /// Reads all of them again, whatever they look like.
    pub fn ask(&self) {
        self.followed.ask();
    }
}

/// What connections load.
enum Live {
    Clients(Arc<LiveAcceptor>),
    Upstream(Arc<LiveConnector>),
}

/// What of some credentials is in force, and what was last seen of their files.
struct Follower {
    credentials: Credentials,
    files: Vec<ReadFile>,
    /// The texts that are in force.
    running: Vec<Text>,
    live: Live,
    /// When what does not fit is called wrong, if nothing better comes.
    complaint: Option<Instant>,
    /// The texts that were last called wrong.
    refused: Option<Vec<Text>>,
}

impl Follower {
    fn watches(&self, events: &Events) -> Vec<Watch> {
        self.files.iter().map(|file| Watch::new(&file.path, file.look, events)).collect()
    }

    async fn follow(mut self, mut watches: Vec<Watch>, asked: Arc<Notify>) {
        loop {
            let complaint = self.complaint;
            let due = async {
                match complaint {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (index, reading) = next(&mut watches) => {
                    let now = Instant::now();
                    if let Some(watch) = watches.get_mut(index) {
                        watch.pace.judged(reading.look, reading.how, now);
                        if reading.text.is_err() {
                            watch.pace.unreadable(now);
                        }
                    }
                    if let Some(file) = self.files.get_mut(index) {
                        (file.text, file.look) = (reading.text, reading.look);
                    }
                    self.judge(false).await;
                }
                () = asked.notified() => {
                    watches.iter_mut().for_each(Watch::ask);
                    // The system's authorities have no watch.
                    if watches.is_empty() {
                        self.judge(true).await;
                    }
                }
                () = due => self.complain().await,
            }
        }
    }

    fn texts(&self) -> Vec<Text> {
        self.files.iter().map(|file| file.text.clone()).collect()
    }

    /// Puts into force what fits together.
    async fn judge(&mut self, asked: bool) {
        let texts = self.texts();
        if texts == self.running && !asked {
            self.complaint = None;
            if self.refused.take().is_some() {
                info!(file = self.name(), "certificate healed: what is in force is what the files say");
            }
            return;
        }
        match self.make().await {
            Ok(made) => {
                match (&self.live, made) {
                    (Live::Clients(live), Made::Clients(acceptor)) => live.store(Arc::new(acceptor)),
                    (Live::Upstream(live), Made::Upstream(connector)) => live.store(Arc::new(connector)),
                    _ => return,
                }
                (self.running, self.complaint, self.refused) = (texts, None, None);
                info!(file = self.name(), "certificate taken over");
                let files = self.files.clone();
                // It has served its purpose if it fails.
                tell(&tokio::task::spawn_blocking(move || notices(&files)).await.unwrap_or_default());
            }
            Err(_) if self.refused.as_ref() == Some(&texts) => {}
            Err(_) => self.complaint = Some(Instant::now() + PATIENCE),
        }
    }

    /// Says what is wrong.
    async fn complain(&mut self) {
        self.complaint = None;
        if let Err(report) = self.make().await {
            self.refused = Some(self.texts());
            warn!(
                headline = report.headline(),
                report = %report,
                "certificate refused: the one before stays in force, until the files are mended"
            );
        }
    }

    async fn make(&self) -> Result<Made, Report> {
        let (credentials, files, name) = (self.credentials.clone(), self.files.clone(), self.name());
        let made = tokio::task::spawn_blocking(move || {
            make(&credentials, &files).map_err(|(file, fault)| {
                let name = file.map_or(name, |file| file.path.display().to_string());
                Report::about_file(&name, fault)
            })
        });
        let gone =
            || Fault::new("it could not be read: reading it failed inside Portway", "report this as a bug");
        made.await.unwrap_or_else(|_| Err(Report::about_file(&self.name(), gone())))
    }

    /// The first file: the certificate, where there is one.
    fn name(&self) -> String {
        let first = self.files.first().map(|file| file.path.display().to_string());
        first.unwrap_or_else(|| "the authorities of this system".to_owned())
    }
}

/// The next reading of one of them. Dropping the future loses nothing.
async fn next(watches: &mut [Watch]) -> (usize, Reading) {
    let mut nexts: Vec<Pin<Box<dyn Future<Output = Reading> + Send + '_>>> = Vec::new();
    for watch in watches {
        nexts.push(Box::pin(watch.next()));
    }
    poll_fn(|cx| {
        for (index, next) in nexts.iter_mut().enumerate() {
            if let Poll::Ready(reading) = next.as_mut().poll(cx) {
                return Poll::Ready((index, reading));
            }
        }
        Poll::Pending
    })
    .await
}
