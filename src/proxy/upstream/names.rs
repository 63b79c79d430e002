//! The names of upstreams. Each is looked up periodically by its own task while a route uses it, so that no connection
//! waits for a resolver after the first answer.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::context::Context;
use crate::model::units;
use crate::net::within;
use crate::state::names::{self, News};
use crate::state::{Answers, lock};
use crate::tasks::Scope;

/// A look-up that takes longer than this is logged.
const SLOW: Duration = Duration::from_secs(3);

/// A name that a route uses. Looked up until it is dropped.
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
    /// How often the set of addresses has changed.
    version: AtomicU64,
    last: Mutex<Last>,
    ask: Notify,
    /// Somebody waits for the end of a look-up, whatever its result.
    asked: AtomicBool,
}

/// The last look-up that has ended.
#[derive(Debug, Default)]
struct Last {
    begun: Option<Instant>,
    /// Why it gave no address. `None`: it gave one.
    error: Option<String>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.kill();
    }
}

impl Name {
    /// Starts the look-ups of a name. `said`: the answer of another process, which holds until there is another one.
    pub(super) fn watched(host: &str, said: Option<Vec<IpAddr>>, context: &Arc<Context>) -> Name {
        let begun = said.as_ref().map(|_| Instant::now());
        let known = Arc::new(Known {
            host: host.to_owned(),
            addrs: watch::Sender::new(said.unwrap_or_default().into()),
            version: AtomicU64::new(0),
            last: Mutex::new(Last { begun, error: None }),
            ask: Notify::new(),
            asked: AtomicBool::new(false),
        });
        let task = context.scope.child();
        let (kept, context) = (known.clone(), context.clone());
        task.keep(move || keep(kept.clone(), context.clone()));
        Name { known, task }
    }

    /// The addresses of the last good answer, in its order; none if there was none.
    pub fn addrs(&self) -> Arc<[IpAddr]> {
        self.known.addrs.borrow().clone()
    }

    /// The same addresses. Receivers are woken when they change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<[IpAddr]>> {
        self.known.addrs.subscribe()
    }

    /// How often they have changed.
    pub fn version(&self) -> u64 {
        self.known.version.load(Ordering::Acquire)
    }

    /// Asks for an earlier look-up, because an address did not connect.
    pub fn ask(&self) {
        self.known.asked.store(true, Ordering::Release);
        self.known.ask.notify_one();
    }

    /// Whether no look-up has ended yet.
    pub fn is_unknown(&self) -> bool {
        self.known.last().begun.is_none()
    }

    /// Whether a look-up that began since then has ended.
    pub fn was_looked_up_since(&self, since: Instant) -> bool {
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
        lock(&self.last)
    }
}

/// Looks a name up until the task is killed: one look-up at a time.
async fn keep(known: Arc<Known>, context: Arc<Context>) {
    let mut answers = Answers::of(known.addrs.borrow().clone());
    loop {
        let begun = Instant::now();
        let found = look_up(&known, &context).await;
        let (found, error) = match found {
            Ok(addrs) if addrs.is_empty() => (None, Some("the name has no address".to_owned())),
            Ok(addrs) => (Some(addrs), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let news = answers.learn(found, Instant::now().into_std());
        if news.changed() {
            known.addrs.send_replace(answers.addrs().clone());
            // After the addresses: whoever reads the new version sees them.
            known.version.fetch_add(1, Ordering::Release);
            context.names_changed.notify_one();
        }
        // Log after the change: whoever reads the message can rely on it.
        tell(&known.host, &answers, &news, error.as_deref());
        *known.last() = Last { begun: Some(begun), error };
        if known.asked.swap(false, Ordering::AcqRel) || news != News::default() {
            context.news.send();
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

/// Looks a name up, and logs if the resolver is slow.
async fn look_up(known: &Known, context: &Context) -> io::Result<Vec<IpAddr>> {
    let begun = Instant::now();
    let mut found = pin!(context.resolver.look_up(&known.host, &context.scope));
    if let Ok(found) = within(SLOW, &mut found).await {
        return found;
    }
    let name = &known.host;
    let kept = known.addrs.borrow().len();
    warn!(name, kept, "the resolver is slow: the last answer stays in use");
    let found = found.await;
    info!(name, took = %units::show_millis(begun.elapsed()), "the resolver has answered");
    found
}

/// Logs what has changed.
fn tell(name: &str, answers: &Answers, news: &News, error: Option<&str>) {
    if news.fails {
        let kept = answers.addrs().len();
        warn!(
            name,
            error, kept, "the name does not resolve: the last answer stays in use, and it is asked for again"
        );
    }
    if let Some(time) = news.back {
        info!(name, after = %units::show_millis(time), "the name resolves again");
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

/// The first addresses, as text for the log.
fn list(addrs: &[IpAddr]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = addrs.iter().take(SHOWN).map(ToString::to_string).collect();
    if addrs.len() > SHOWN {
        shown.push(format!("and {} more", addrs.len() - SHOWN));
    }
    shown.join(" ")
}
