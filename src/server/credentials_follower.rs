//! Follows the files of credentials that are in force: takes over what fits together, reports what does not, and warns of
//! what ends soon.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::named_file::NamedFile;
use super::notices::{Logged, Notice, dated, next_change, notices, now, paths};
use super::parts::{Made, PartFault, PartFile, make, place};
use crate::config::Report;
use crate::files::{FollowedFile, Form, FsEventSource, How, Link, Reading, Refused, Seen};
use crate::model::{Credentials, Fault, Part};
use crate::net::tls::SystemRoots;
use crate::net::tls::dates::Dated;
use crate::proxy::upstream::{LiveAcceptor, LiveConnector};

/// A certificate and its key are replaced one after the other: a mismatch is reported only after this time.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);

/// How long a clock that was set may stay unnoticed.
const CLOCK: Duration = Duration::from_secs(3600);

/// The cell that new connections load their TLS setup from.
#[derive(Clone)]
pub(super) enum Live {
    Clients(Arc<LiveAcceptor>),
    Upstream(Arc<LiveConnector>),
}

/// One followed file of the credentials.
struct Followed {
    file: FollowedFile<PartFile>,
    /// The last reading. `None`: it is in force.
    news: Option<News>,
    /// Somebody has asked for a reading that has not come yet.
    asked: bool,
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
    /// Whether an answer is due.
    asked: bool,
    /// When to report the failure, unless the files are usable by then. `None`: there is nothing to report.
    complaint: Option<Instant>,
    /// The warnings about the files in force.
    notices: Vec<Notice>,
    /// When they change by themselves, in seconds after 1970. `None`: never.
    look_again: Option<i64>,
    /// What each of the files in force has that ends some day.
    dated: Vec<Vec<Dated>>,
    logged: Logged,
    link: Arc<Link<Vec<NamedFile>>>,
}

/// Credentials that are in force, with the files that they were made from.
#[derive(Clone)]
pub(super) struct InForce {
    pub credentials: Credentials,
    pub files: Vec<PartFile>,
    pub live: Live,
    pub notices: Vec<Notice>,
}

/// Follows the files of credentials that are in force. They are watched, and shown, from this call on.
pub(super) fn follow(
    in_force: InForce,
    events: FsEventSource,
    logged: Logged,
    link: Arc<Link<Vec<NamedFile>>>,
) -> impl Future<Output = ()> {
    let InForce { credentials, files, live, notices } = in_force;
    let (look_again, dated) = (next_change(&files), files.iter().map(dated).collect());
    let followed = |file: PartFile| {
        let (text, state) = (file.text.clone(), file.state);
        let file = FollowedFile::new(&file.path.clone(), text, state, &events, file);
        let mut file = file.of_form(Form::Blocks);
        file.begin();
        Followed { file, news: None, asked: false }
    };
    let files = files.into_iter().map(followed).collect();
    let (asked, complaint) = (false, None);
    let follower =
        Follower { credentials, files, live, asked, complaint, notices, look_again, dated, logged, link };
    follower.show();
    follower.run()
}

impl Follower {
    async fn run(mut self) {
        let link = self.link.clone();
        loop {
            let (complaint, look_again) = (self.complaint, self.look_again);
            let due = async {
                match complaint {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let aged = async {
                match look_again {
                    Some(at) => sleep(until(at).min(CLOCK)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (index, reading) = next(&mut self.files) => {
                    let asked = reading.how == How::Asked;
                    self.take_in(index, reading).await;
                    self.files.get_mut(index).into_iter().for_each(|followed| followed.asked &= !asked);
                }
                () = link.asked() => {
                    self.asked = true;
                    for followed in &mut self.files {
                        followed.file.ask();
                        followed.asked = true;
                    }
                    // The system's authorities are not in a followed file: load them now.
                    if self.files.is_empty() {
                        self.judge().await;
                    }
                }
                () = due => self.complain().await,
                () = aged => {
                    if look_again.is_some_and(|at| until(at).is_zero()) {
                        self.note(self.running()).await;
                    }
                    continue;
                }
            }
            self.answer().await;
            self.show();
        }
    }

    /// Answers whoever has asked, once every file is read. Who asks does not wait for files that may still come.
    async fn answer(&mut self) {
        if !self.asked || self.files.iter().any(|followed| followed.asked) {
            return;
        }
        self.asked = false;
        if self.complaint.is_some() {
            self.complain().await;
        }
        self.show();
        self.link.answer();
    }

    /// Looks for warnings about the files in force, and logs new ones.
    async fn note(&mut self, files: Vec<PartFile>) {
        let logged = self.logged.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let notices = notices(&files);
            logged.log(paths(&files), &notices);
            (notices, next_change(&files), files.iter().map(dated).collect())
        });
        // Best effort: if this task panics there are no notices.
        (self.notices, self.look_again, self.dated) = looked.await.unwrap_or_default();
        self.show();
    }

    /// The files as they are in force.
    fn running(&self) -> Vec<PartFile> {
        let running = |Followed { file, .. }: &Followed| PartFile {
            text: file.running().clone(),
            ..file.target.clone()
        };
        self.files.iter().map(running).collect()
    }

    /// Shows others what is in force and what is not. Before the log says so: who reads a line looks there next.
    fn show(&self) {
        let named = self.files.iter().enumerate().map(|(index, Followed { file, .. })| {
            let dated = |part: Part| match self.dated.get(index) {
                Some(dated) if file.target.part == part => dated.clone(),
                _ => Vec::new(),
            };
            NamedFile {
                name: file.name().to_owned(),
                pending: file.pending().cloned(),
                certificates: dated(Part::Certificate),
                revocations: dated(Part::Revocations),
                notices: self
                    .notices
                    .iter()
                    .filter(|notice| notice.file == file.target.path)
                    .cloned()
                    .collect(),
            }
        });
        self.link.show(named.collect());
    }

    /// Takes in a reading of one of the files.
    async fn take_in(&mut self, index: usize, mut reading: Reading) {
        let Some(Followed { file, news, .. }) = self.files.get_mut(index) else { return };
        // The watch reads it again and again until it is taken or refused.
        if news.as_ref().is_some_and(|news| news.reading.text == reading.text) && reading.how != How::Asked {
            return;
        }
        let mut healed = None;
        *news = match file.see(&mut reading).await {
            Seen::Known => return,
            Seen::Runs => {
                healed = file.took(&reading, file.running().clone()).map(|_| file.name().to_owned());
                None
            }
            Seen::Text(text) => Some(News { reading, text: Ok(text) }),
            Seen::Faulty(report) => Some(News { reading, text: Err(report) }),
        };
        if let Some(name) = healed {
            self.show();
            info!(file = name, "certificate healed: what is in force is what the files say");
        }
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
                self.link.took(followed.file.name());
            }
        }
        self.show();
        info!(file = self.name(), "certificate taken over");
        self.note(files).await;
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
        self.show();
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
        for Followed { file, news, .. } in &self.files {
            let text = match news {
                None => file.running().clone(),
                Some(news) => news.text.clone()?,
            };
            files.push(PartFile { text, ..file.target.clone() });
        }
        let (credentials, name) = (self.credentials.clone(), self.name());
        let made =
            tokio::task::spawn_blocking(move || match make(&credentials, &files, &SystemRoots::default()) {
                Ok(made) => Ok((made, files)),
                Err(PartFault { file, line, fault }) => {
                    let file = file.and_then(|index| files.get(index));
                    let name = file.map_or(name, |file| place(&file.path, line).display().to_string());
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

/// How long until then. Zero: it is past.
fn until(moment: i64) -> Duration {
    Duration::from_secs(moment.saturating_sub(now()).try_into().unwrap_or_default())
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
