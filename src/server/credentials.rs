//! Certificates, keys and authorities. Their files are read with the edit that names them, and followed as long as a
//! route needs them. Files that do not fit together are never put into force: the previous ones stay.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::notices::{self, Notice, notices};
use super::parts::{Made, PartFault, PartFile, called, make};
use crate::config::{Compiled, Report};
use crate::files::{FollowedFile, Followers, Form, FsEventSource, How, Pending, Reading, Refused, Seen};
use crate::model::{Credentials, Fault, Part, Table};
use crate::proxy::upstream::{LiveAcceptor, LiveConnector, TlsStore};
use crate::tasks::Scope;

/// A certificate and its key are replaced one after the other: a mismatch is reported only after this time.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);

/// Credentials that were read and fit together, not in force yet.
#[derive(Debug)]
pub struct ReadCredentials {
    credentials: Credentials,
    files: Vec<PartFile>,
    made: Made,
    notices: Vec<Notice>,
}

impl ReadCredentials {
    /// Warnings about credentials that are usable all the same, each as one line.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        self.notices.iter().map(ToString::to_string)
    }
}

/// The credentials that the routes of a table need.
fn needed(table: &Table) -> BTreeSet<Credentials> {
    table.routes.values().flat_map(|route| route.policy.tls.credentials()).collect()
}

/// Reads the credentials that a file names. The report shows every one that is unusable. May block.
pub fn read(compiled: &Compiled) -> Result<Vec<ReadCredentials>, Report> {
    read_all(compiled, needed(&compiled.table))
}

fn read_all(compiled: &Compiled, wanted: BTreeSet<Credentials>) -> Result<Vec<ReadCredentials>, Report> {
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for credentials in wanted {
        let written = credentials.files();
        let one = |(part, written): &(Part, &PathBuf)| PartFile::read(*part, written, compiled.folder());
        let files = written.iter().map(one).collect::<Result<Vec<PartFile>, PartFault>>();
        match files.and_then(|files| make(&credentials, &files).map(|made| (files, made))) {
            Ok((files, made)) => {
                let notices = notices(&files);
                read.push(ReadCredentials { credentials, files, made, notices });
            }
            Err(PartFault { part, fault }) => {
                let file = written.iter().find(|(of, _)| Some(*of) == part);
                let about = file.map(|(part, path)| called(*part, &compiled.folder().join(path)) + ": ");
                let message = format!("{}{}", about.unwrap_or_default(), fault.message);
                let written = file.map(|(_, path)| PathBuf::clone(path)).unwrap_or_default();
                faults.push((written, Fault::new(message, fault.help)));
            }
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(compiled.file_faults(&faults)) }
}

/// The credentials in force, and the tasks that follow their files.
#[derive(Debug)]
pub(super) struct CredentialFiles {
    followers: Followers<Credentials>,
    events: FsEventSource,
}

impl CredentialFiles {
    /// Starts without credentials.
    pub fn new(events: FsEventSource) -> Self {
        CredentialFiles { followers: Followers::new("the certificates"), events }
    }

    /// Reads the credentials that the file names and that are not in force yet. Changes nothing.
    pub async fn prepare(&self, compiled: &Compiled) -> Result<Vec<ReadCredentials>, Report> {
        self.followers.read_new(needed(&compiled.table), compiled, read_all).await
    }

    /// Puts credentials into force, and follows their files from now on.
    pub fn begin(&mut self, read: Vec<ReadCredentials>, store: &mut TlsStore, owner: &Scope) {
        for ReadCredentials { credentials, files, made, notices } in read {
            notices::log(&notices);
            let live = match (&credentials, made) {
                (Credentials::Clients(tls), Made::Clients(acceptor)) => {
                    let live = Arc::new(LiveAcceptor::from_pointee(acceptor));
                    store.acceptors.insert(tls.clone(), live.clone());
                    Live::Clients(live)
                }
                (Credentials::Upstream(tls), Made::Upstream(connector)) => {
                    let live = Arc::new(LiveConnector::from_pointee(connector));
                    store.connectors.insert(tls.clone(), live.clone());
                    Live::Upstream(live)
                }
                // Not reached: `make` returns the kind that it was asked for.
                _ => continue,
            };
            let follow = |file: PartFile| {
                let (text, state) = (file.text.clone(), file.state);
                let file = FollowedFile::new(&file.path.clone(), text, state, &self.events, file);
                let mut file = file.of_form(Form::Delimited);
                file.begin();
                Followed { file, news: None }
            };
            let files = files.into_iter().map(follow).collect();
            let follower = Follower { credentials: credentials.clone(), files, live, complaint: None };
            self.followers.begin(credentials, owner, |asked| follower.follow(asked));
        }
    }

    /// Forgets the credentials that no route needs any more.
    pub fn forget_unused(&mut self, table: &Table, store: &mut TlsStore) {
        if self.followers.is_empty() {
            return;
        }
        let needed = needed(table);
        store.acceptors.retain(|tls, _| needed.contains(&Credentials::Clients(tls.clone())));
        store.connectors.retain(|tls, _| needed.contains(&Credentials::Upstream(tls.clone())));
        self.followers.keep(&needed);
    }

    /// Reads every file again, even if it looks unchanged.
    pub fn ask(&self) {
        self.followers.ask();
    }
}

/// The cell that new connections load their TLS setup from.
enum Live {
    Clients(Arc<LiveAcceptor>),
    Upstream(Arc<LiveConnector>),
}

/// One followed file of the credentials.
struct Followed {
    file: FollowedFile<PartFile>,
    /// The last reading. `None`: it is in force.
    news: Option<News>,
}

struct News {
    reading: Reading,
    text: Result<Arc<[u8]>, Report>,
}

/// Follows the files of one set of credentials, and stores what fits together in `live`.
struct Follower {
    credentials: Credentials,
    files: Vec<Followed>,
    live: Live,
    /// When to report the failure, unless the files are usable by then. `None`: there is nothing to report.
    complaint: Option<Instant>,
}

impl Follower {
    async fn follow(mut self, asked: Arc<Notify>) {
        loop {
            let complaint = self.complaint;
            let due = async {
                match complaint {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (index, reading) = next(&mut self.files) => self.take_in(index, reading).await,
                () = asked.notified() => {
                    self.files.iter_mut().for_each(|followed| followed.file.ask());
                    // The system's authorities are not in a followed file: load them now.
                    if self.files.is_empty() {
                        self.judge().await;
                    }
                }
                () = due => self.complain().await,
            }
        }
    }

    /// Takes in a reading of one of the files.
    async fn take_in(&mut self, index: usize, mut reading: Reading) {
        let Some(Followed { file, news }) = self.files.get_mut(index) else { return };
        // The watch reads it again and again until it is taken or refused.
        if news.as_ref().is_some_and(|news| news.reading.text == reading.text) && reading.how != How::Asked {
            return;
        }
        *news = match file.see(&mut reading) {
            Seen::Known => return,
            Seen::Runs => {
                log_healed(file.took(&reading, file.running().clone()), file.name());
                None
            }
            Seen::Text(text) => Some(News { reading, text: Ok(text) }),
            Seen::Faulty(report) => Some(News { reading, text: Err(report) }),
        };
        match self.files.iter().any(|followed| followed.news.is_some()) {
            true => self.judge().await,
            false => self.complaint = None,
        }
    }

    /// Puts the files into force if they fit together. Otherwise schedules a report.
    async fn judge(&mut self) {
        let Ok((made, files)) = self.make().await else {
            self.complaint = Some(Instant::now() + REPLACED_WITHIN);
            return;
        };
        match (&self.live, made) {
            (Live::Clients(live), Made::Clients(acceptor)) => live.store(Arc::new(acceptor)),
            (Live::Upstream(live), Made::Upstream(connector)) => live.store(Arc::new(connector)),
            _ => return,
        }
        self.complaint = None;
        for followed in &mut self.files {
            if let Some(News { reading, text: Ok(text) }) = followed.news.take() {
                // This clears the pending fault; the line below reports it.
                drop(followed.file.took(&reading, text));
            }
        }
        info!(file = self.name(), "certificate taken over");
        // Best effort: if this task panics there are no notices.
        notices::log(&tokio::task::spawn_blocking(move || notices(&files)).await.unwrap_or_default());
    }

    /// Logs why the files are not in force, if that is new.
    async fn complain(&mut self) {
        self.complaint = None;
        let Err(report) = self.make().await else { return };
        let mut is_new = false;
        for followed in &mut self.files {
            if let Some(News { reading, .. }) = &followed.news {
                is_new |= followed.file.refuse(reading, report.clone(), false) == Refused::New;
            }
        }
        if is_new {
            warn!(
                headline = report.headline(),
                report = %report,
                "certificate refused: the one before stays in force, until the files are mended"
            );
        }
    }

    /// Builds TLS from the current texts of the files. Returns it with those texts.
    async fn make(&self) -> Result<(Made, Vec<PartFile>), Report> {
        let mut files = Vec::new();
        for Followed { file, news } in &self.files {
            let text = match news {
                None => file.running().clone(),
                Some(news) => news.text.clone()?,
            };
            files.push(PartFile { text, ..file.target.clone() });
        }
        let (credentials, name) = (self.credentials.clone(), self.name());
        let made = tokio::task::spawn_blocking(move || match make(&credentials, &files) {
            Ok(made) => Ok((made, files)),
            Err(PartFault { part, fault }) => {
                let file = files.iter().find(|file| Some(file.part) == part);
                let name = file.map_or(name, |file| file.path.display().to_string());
                Err(Report::about_file(&name, fault))
            }
        });
        let gone =
            || Fault::new("it could not be read: reading it failed inside Portway", "report this as a bug");
        made.await.unwrap_or_else(|_| Err(Report::about_file(&self.name(), gone())))
    }

    /// The name for logs: that of the first file, which is the certificate if there is one.
    fn name(&self) -> String {
        let first = self.files.first().map(|followed| followed.file.name().to_owned());
        first.unwrap_or_else(|| "the authorities of this system".to_owned())
    }
}

fn log_healed(healed: Option<Pending>, name: &str) {
    if healed.is_some() {
        info!(file = name, "certificate healed: what is in force is what the files say");
    }
}

/// The next reading of any of the files, with the index of the file. Dropping the future loses nothing.
async fn next(files: &mut [Followed]) -> (usize, Reading) {
    let mut nexts: Vec<Pin<Box<dyn Future<Output = Reading> + Send + '_>>> = Vec::new();
    for followed in files {
        nexts.push(Box::pin(followed.file.next()));
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
