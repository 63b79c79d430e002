//! The puller: keeps a file as a store has it, on a thread of its own, which waits for the network and the disk.
//! [`Pull`] decides, this carries out.

use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::check::check;
use super::log::Logs;
use crate::files;
use crate::model::Fault;
use crate::net::store::{StoreAccess, StoreClient, StoreCutter};
use crate::state::lock;
use crate::state::pull::{Fetched, News, Offer, OnDisk, Pull, PullSettings, Standing, Todo};
use crate::wire::minisign::Signature;

/// How long a stop waits for the thread. A name that is being looked up cannot be cancelled.
const STOP: Duration = Duration::from_secs(1);

/// The interval of a puller that somebody waits for.
const NOW: Duration = Duration::from_millis(100);

/// A text that fared worse than what ran before it.
#[derive(Debug)]
pub(super) struct Undone {
    /// It.
    pub text: Arc<[u8]>,
    /// What runs again.
    pub runs: Arc<[u8]>,
    /// In what way it was worse.
    pub why: String,
}

/// What a puller is to do.
#[derive(Clone, Debug)]
pub struct PullPlan {
    /// The store.
    pub access: StoreAccess,
    /// The file that is written. Its signature is beside it, with `.minisig` behind its name.
    pub file: PathBuf,
    /// The rules.
    pub settings: PullSettings,
    /// The options that say so on a command line.
    pub arguments: Vec<OsString>,
}

/// The puller of a process that serves, if it has one.
#[derive(Debug)]
pub(super) struct Pulling {
    /// What it is to do. `None`: no store has the file.
    pub plan: Option<Box<PullPlan>>,
    /// Works from the start to the stop.
    pub puller: Option<Puller>,
}

impl Pulling {
    /// Fails only if no thread can be started.
    pub fn begin(&mut self) -> io::Result<()> {
        self.puller = self.plan.as_deref().cloned().map(Puller::start).transpose()?;
        Ok(())
    }

    /// Leaves the file to whoever takes over, or to the next start.
    pub fn end(&mut self) {
        self.puller = None;
    }

    /// A text was undone: if the store has it, what runs is written back at once, whatever the store is asked meanwhile.
    pub fn undone(&self, undone: Undone) {
        let Some(Puller { orders: Some(orders), cutter: Some(cutter), .. }) = &self.puller else { return };
        // One that is full has the same order already; one without a receiver has ended.
        cutter.cut_if(|| orders.try_send(undone).is_ok());
    }

    /// What is known of the store.
    pub fn view(&self) -> Option<SourceView> {
        self.puller.as_ref().map(Puller::view)
    }

    /// The options with which a new process does the same.
    pub fn arguments(&self) -> Vec<OsString> {
        self.plan.as_ref().map(|plan| plan.arguments.clone()).unwrap_or_default()
    }
}

/// A puller that runs. Dropping it stops its thread.
#[derive(Debug)]
pub struct Puller {
    name: String,
    standing: Arc<Mutex<Standing>>,
    /// When the file was written last, before this start, by the clock of this start: a later step of the clock changes no
    /// age. `None`: there was none.
    written: Option<Instant>,
    /// Dropped to stop the thread.
    orders: Option<SyncSender<Undone>>,
    cutter: Option<StoreCutter>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of the store, for a view of what runs.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// Its URL.
    pub url: String,
    /// What is known of it.
    pub standing: Standing,
    /// For how long the store has not said that the file is as it has it. `None`: never, and there was no file.
    pub age: Option<Duration>,
}

/// How a single look at a store ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// The file is as it should be.
    Fine,
    /// It is not, and why.
    Not(String),
}

impl Puller {
    /// Starts the thread. Fails only if there can be none.
    pub fn start(plan: PullPlan) -> io::Result<Puller> {
        warn_of(&plan);
        let standing = Arc::new(Mutex::new(Standing::default()));
        // A file of the future, by a clock that was wrong, is as old as this start.
        let age = |written: SystemTime| written.elapsed().unwrap_or_default();
        let written = std::fs::metadata(&plan.file).and_then(|file| file.modified()).ok();
        let written = written.and_then(|written| now().checked_sub(age(written)));
        let name = plan.access.url.to_string();
        let mut work = Work::new(plan, standing.clone());
        let cutter = work.client.cutter();
        let ((orders, ordered), (ends, ended)) = (sync_channel(1), channel::<()>());
        let run = move || {
            // Dropped when the thread ends, even by a panic.
            let _ends = ends;
            work.run(&ordered, tell, |_| false);
        };
        let thread = Some(thread::Builder::new().name("portway-pull".to_owned()).spawn(run)?);
        Ok(Puller { name, standing, written, orders: Some(orders), cutter: Some(cutter), ended, thread })
    }

    /// What is known of the store.
    pub fn view(&self) -> SourceView {
        let standing = lock(&self.standing).clone();
        let age = standing.confirmed.or(self.written).map(|then| now().saturating_duration_since(then));
        SourceView { url: self.name.clone(), standing, age }
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(cutter) = self.cutter.take() {
            cutter.cut();
        }
        // Nothing is sent: it is the end that counts.
        let ended = self.ended.recv_timeout(STOP) != Err(RecvTimeoutError::Timeout);
        if let Some(thread) = self.thread.take().filter(|_| ended) {
            // A join fails only if the thread has panicked, and that was shown.
            drop(thread.join());
        }
    }
}

/// Pulls in this thread, with a log of its own: for ever, or if `once` until the file is as the store has it, or it is clear
/// that it is not. Fails only if no log can be started.
pub fn main(mut plan: PullPlan, once: bool) -> io::Result<Once> {
    let logs = Logs::start()?;
    warn_of(&plan);
    if once {
        plan.settings.every = NOW;
    }
    let (_orders, ordered) = sync_channel(0);
    let standing = Arc::new(Mutex::new(Standing::default()));
    let mut work = Work::new(plan, standing);
    work.run(&ordered, tell, |standing| {
        once && (standing.confirmed.is_some() || standing.away.is_some() || standing.refused.is_some())
    });
    logs.finish();
    let Standing { refused, away, .. } = work.pull.standing().clone();
    Ok(refused.or(away).map_or(Once::Fine, |trouble| Once::Not(trouble.why)))
}

/// Pulls in this thread until there is a file. `say`: told why there is none yet, before there are logs.
pub fn until_there(plan: PullPlan, say: impl Fn(&str)) {
    let (_orders, ordered) = sync_channel(0);
    let standing = Arc::new(Mutex::new(Standing::default()));
    let tell = |_: &Work, news: &News| {
        if let News::Away(why) | News::Refused(why) = news {
            say(why);
        }
    };
    Work::new(plan, standing).run(&ordered, tell, |standing| standing.confirmed.is_some());
}

/// Warns of what nobody signs.
fn warn_of(plan: &PullPlan) {
    if plan.settings.key.is_none() {
        warn!(
            url = %plan.access.url,
            "no --key: whoever can write to the store changes what runs here; minisign -S signs, and --key verifies"
        );
    }
}

/// The work of the thread.
struct Work {
    pull: Pull,
    client: StoreClient,
    url: String,
    file: PathBuf,
    standing: Arc<Mutex<Standing>>,
}

impl Work {
    fn new(plan: PullPlan, standing: Arc<Mutex<Standing>>) -> Work {
        let PullPlan { access, file, settings, .. } = plan;
        let url = access.url.to_string();
        let client = StoreClient::new(access, settings.seed);
        let pull = Pull::new(settings, on_disk(&file), now());
        *lock(&standing) = pull.standing().clone();
        Work { pull, client, url, file, standing }
    }

    /// Works until the sender of `ordered` is dropped, or until what is known is enough.
    fn run(
        &mut self,
        ordered: &Receiver<Undone>,
        tell: impl Fn(&Work, &News),
        enough: impl Fn(&Standing) -> bool,
    ) {
        loop {
            let news;
            match self.pull.next(now()) {
                Todo::Wait(pause) => match self.rest(ordered, pause) {
                    Some(of_order) => news = of_order.unwrap_or_default(),
                    None => return,
                },
                Todo::Fetch(fetch) => {
                    // Whatever a server sends: its answer must not end what runs.
                    let fetched = catch_unwind(AssertUnwindSafe(|| self.client.fetch(&fetch)));
                    let fetched =
                        fetched.unwrap_or_else(|_| Fetched::Failed("the client failed inside".to_owned()));
                    news = match self.rest(ordered, Duration::ZERO) {
                        None => return,
                        Some(None) => self.pull.fetched(fetched, now()),
                        // The order has cut it off. It is asked for again.
                        Some(Some(of_order)) => of_order,
                    };
                }
                Todo::Check(text) => {
                    let checked = catch_unwind(|| fits(&self.file, &text));
                    let checked =
                        checked.unwrap_or_else(|_| Err("Portway failed to read this text".to_owned()));
                    news = self.pull.checked(checked, now());
                }
                Todo::Write(offer) => news = self.pull.written(write(&self.file, &offer), now()),
            }
            let standing = self.pull.standing().clone();
            *lock(&self.standing) = standing.clone();
            news.iter().for_each(|news| tell(self, news));
            if enough(&standing) {
                return;
            }
        }
    }

    /// Waits so long for an order, and carries it out: `Some(None)` if none has come. `None`: the thread is to stop.
    fn rest(&mut self, ordered: &Receiver<Undone>, pause: Duration) -> Option<Option<Vec<News>>> {
        match ordered.recv_timeout(pause) {
            Ok(Undone { text, runs, why }) => {
                self.client.renew();
                Some(Some(self.pull.undone(&text, &runs, &why, now())))
            }
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Logs it.
fn tell(work: &Work, news: &News) {
    let (url, file) = (&work.url, work.file.display());
    match news {
        News::Away(why) => {
            warn!(url, why, "the store does not answer: what runs goes on, and it is asked again and again");
        }
        News::Back => info!(url, "the store answers again"),
        News::Refused(why) => warn!(url, why, "text of the store refused: what runs goes on as before"),
        News::Healed => info!(url, "the store has again what the file has"),
        News::Took(None) => info!(url, %file, "the file is written as the store has it"),
        News::Took(Some(release)) => {
            info!(url, %file, serial = release.serial, "the file is written as the store has it");
        }
        News::Held(release) => {
            let (serial, stage) = (release.serial, format!("{}%", release.stage.percent()));
            info!(url, serial, stage, "a text for other nodes first: this one waits for a later stage");
        }
    }
}

/// What is there of earlier runs. The serial counts even if the text is another one, as after a crash between both: a text
/// must have a higher one.
fn on_disk(file: &Path) -> OnDisk {
    let read = |path: &Path| files::read(path).ok().map(|content| content.bytes);
    let signature = read(&beside(file)).and_then(|bytes| Signature::read(&bytes).ok());
    OnDisk { text: read(file).map(Into::into), serial: signature.map(|signature| signature.release.serial) }
}

/// Where the signature of a file is.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Whether a text could run here, as `portway check` says.
fn fits(file: &Path, text: &[u8]) -> Result<(), String> {
    let name = file.display().to_string();
    let checked = check(&name, text).map_err(|report| report.headline().replacen(&name, "the text", 1))?;
    let table = &checked.compiled.table;
    match table.routes.is_empty() && table.disabled.is_empty() {
        true => Err("the text has no routes at all".to_owned()),
        false => Ok(()),
    }
}

/// The text first: a crash before the signature leaves the lower serial, and the text is written again.
fn write(file: &Path, offer: &Offer) -> Result<(), String> {
    let to = |path: &Path, bytes: &[u8]| {
        let error = |error: io::Error| {
            let fault = Fault::new(error.to_string(), "let this user write to the folder");
            format!("{} cannot be written: {}; {}", path.display(), fault.message, fault.help)
        };
        files::replace(path, bytes).map_err(error)
    };
    to(file, &offer.text)?;
    offer.signature.as_ref().map_or(Ok(()), |signature| to(&beside(file), signature))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
