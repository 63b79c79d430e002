//! The names of the running proxy: each is looked up again and again while a route leads there, by a task of its own,
//! so that no connection waits for a resolver once there was an answer.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::upstreams::Upstreams;
use crate::net::look_up;
use crate::state::Answers;
use crate::state::names::{self, News};
use crate::tasks::Scope;

/// Look-ups at the same time, each on a thread that cannot be called off.
const AT_ONCE: usize = 16;
/// After so long a look-up gives its place to others, as long as there are fewer than [`WEDGED`] of its kind.
const PROMPT: Duration = Duration::from_millis(500);
/// Look-ups that take longer. With [`AT_ONCE`] fewer than the runtime's threads for such work, so that edits are read
/// all the same.
const WEDGED: usize = 240;
/// A look-up that takes longer is worth a message.
const SLOW: Duration = Duration::from_secs(3);

/// A name that somebody leads to. Looked up until it is dropped.
#[derive(Debug)]
pub struct Name {
    known: Arc<Known>,
    task: Scope,
}

#[derive(Debug)]
struct Known {
    host: String,
    /// The addresses in use. Its receivers are woken only when the set changes.
    addrs: watch::Sender<Arc<[IpAddr]>>,
    /// How often that was.
    version: AtomicU64,
    last: Mutex<Last>,
    ask: Notify,
    /// Somebody waits for the end of a look-up, whatever it says.
    asked: AtomicBool,
}

/// The last look-up that has ended.
#[derive(Debug, Default)]
struct Last {
    begun: Option<Instant>,
    /// Why it gave no address.
    error: Option<String>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.kill();
    }
}

impl Name {
    /// Begins to look a name up.
    pub(super) fn watched(host: &str, upstreams: &Arc<Upstreams>) -> Name {
        let known = Arc::new(Known {
            host: host.to_owned(),
            addrs: watch::Sender::new(Arc::default()),
            version: AtomicU64::new(0),
            last: Mutex::default(),
            ask: Notify::new(),
            asked: AtomicBool::new(false),
        });
        let task = upstreams.scope().child();
        task.spawn(keep(known.clone(), upstreams.clone()));
        Name { known, task }
    }

    /// The addresses of the last good answer, in its order; none if there was none.
    pub fn addrs(&self) -> Arc<[IpAddr]> {
        self.known.addrs.borrow().clone()
    }

    /// The same, for those who want to know when they change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<[IpAddr]>> {
        self.known.addrs.subscribe()
    }

    /// How often they have changed.
    pub(super) fn version(&self) -> u64 {
        self.known.version.load(Ordering::Acquire)
    }

    /// An address did not connect: the next look-up comes sooner.
    pub(super) fn ask(&self) {
        self.known.asked.store(true, Ordering::Release);
        self.known.ask.notify_one();
    }

    /// Whether no look-up has ended yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.known.last().begun.is_none()
    }

    /// Whether a look-up that began since then has ended.
    pub(super) fn was_looked_up_since(&self, since: Instant) -> bool {
        self.known.last().begun.is_some_and(|begun| begun >= since)
    }

    /// Why there is no address, or no new answer.
    pub fn error(&self) -> Option<String> {
        let last = self.known.last();
        match (&last.error, last.begun) {
            (None, None) => Some("the resolver has not answered yet".to_owned()),
            (error, _) => error.clone(),
        }
    }
}

impl Known {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks a name up until the task is ended: one look-up at a time.
async fn keep(known: Arc<Known>, upstreams: Arc<Upstreams>) {
    let mut answers = Answers::default();
    loop {
        let begun = Instant::now();
        let found = told_if_slow(&known, &upstreams).await;
        let (found, error) = match found {
            Ok(addrs) if addrs.is_empty() => (None, Some("the name has no address".to_owned())),
            Ok(addrs) => (Some(addrs), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let news = answers.learn(found, Instant::now().into_std());
        if news.changed() {
            known.addrs.send_replace(answers.addrs().clone());
            // After the addresses: who sees the new number sees them.
            known.version.fetch_add(1, Ordering::Release);
            upstreams.forget_unused();
        }
        // After the change: who reads it can rely on it.
        tell(&known.host, &answers, &news, error.as_deref());
        *known.last() = Last { begun: Some(begun), error };
        if known.asked.swap(false, Ordering::AcqRel) || news != News::default() {
            upstreams.news().tell();
        }
        tokio::select! {
            () = sleep_until(begun + names::pause(fastrand::u64(..))) => {}
            () = async {
                known.ask.notified().await;
                sleep_until(begun + names::SOONEST).await;
            } => {}
        }
    }
}

async fn told_if_slow(known: &Known, upstreams: &Upstreams) -> io::Result<Vec<IpAddr>> {
    let begun = Instant::now();
    let mut found = pin!(upstreams.look_ups().look_up(&known.host, upstreams.scope()));
    if let Ok(found) = timeout(SLOW, &mut found).await {
        return found;
    }
    let name = &known.host;
    let kept = known.addrs.borrow().len();
    warn!(name, kept, "the resolver is slow: the last answer stays in use");
    let found = found.await;
    info!(name, took = %humantime::format_duration(whole(begun.elapsed())), "the resolver has answered");
    found
}

/// Says what has changed.
fn tell(name: &str, answers: &Answers, news: &News, error: Option<&str>) {
    if news.fails {
        let kept = answers.addrs().len();
        warn!(
            name,
            error, kept, "the name does not resolve: the last answer stays in use, and it is asked for again"
        );
    }
    if let Some(time) = news.back {
        info!(name, after = %humantime::format_duration(whole(time)), "the name resolves again");
    }
    if news.changed() {
        info!(
            name,
            added = list(&news.added),
            gone = list(&news.gone),
            "the addresses of the name have changed"
        );
    }
}

fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Some addresses for a person.
fn list(addrs: &[IpAddr]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = addrs.iter().take(SHOWN).map(ToString::to_string).collect();
    if addrs.len() > SHOWN {
        shown.push(format!("and {} more", addrs.len() - SHOWN));
    }
    shown.join(" ")
}

/// Bounds the look-ups under way. A thread whose resolver does not answer holds no prompt one up.
#[derive(Debug)]
pub(super) struct LookUps {
    prompt: Arc<Semaphore>,
    wedged: Arc<Semaphore>,
}

impl Default for LookUps {
    fn default() -> Self {
        LookUps { prompt: Arc::new(Semaphore::new(AT_ONCE)), wedged: Arc::new(Semaphore::new(WEDGED)) }
    }
}

impl LookUps {
    /// Looks a name up when it is its turn. What was begun goes on when the future is dropped, and counts until then.
    async fn look_up(&self, host: &str, scope: &Scope) -> io::Result<Vec<IpAddr>> {
        let closed = |_| io::Error::other("it is stopping");
        let place = self.prompt.clone().acquire_owned().await.map_err(closed)?;
        let (answer, found) = oneshot::channel();
        let (host, wedged) = (host.to_owned(), self.wedged.clone());
        scope.spawn(async move {
            let mut found = pin!(look_up(&host));
            let ended = tokio::select! {
                ended = &mut found => ended,
                () = sleep(PROMPT) => match wedged.try_acquire_owned() {
                    Ok(_elsewhere) => {
                        drop(place);
                        found.await
                    }
                    Err(_) => found.await,
                },
            };
            // Nobody waits where the name was dropped.
            drop(answer.send(ended));
        });
        found.await.map_err(|_| io::Error::other("it is stopping"))?
    }
}
