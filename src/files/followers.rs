//! The files that the routes' file names: read with the edit that names them, and followed as long as a route needs
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::config::{Compiled, Report};
use crate::model::Fault;
use crate::state::lock;
use crate::tasks::Scope;

/// What is in force, by key, each with the task that follows its files. `V`: what a task shows of them.
#[derive(Debug)]
pub struct Followers<K, V> {
    /// What the files are called in a fault.
    what: &'static str,
    known: BTreeMap<K, Follower<V>>,
    news: Arc<Notify>,
}

#[derive(Debug)]
struct Follower<V> {
    task: Scope,
    link: Arc<Link<V>>,
}

/// What a task that follows files shares with others.
#[derive(Debug)]
pub struct Link<V> {
    asked: Notify,
    /// The number of what was asked for last.
    wanted: AtomicU64,
    /// The number of what the task has begun to read last, and of what it has answered.
    begun: AtomicU64,
    answered: AtomicU64,
    /// The files of which a new text was taken since somebody asked.
    taken: Mutex<BTreeSet<String>>,
    shown: Mutex<V>,
    /// Notified when a new text was taken, and with each answer. All tasks have the same.
    news: Arc<Notify>,
}

impl<V> Link<V> {
    /// Resolves when the files are to be read again, even if they look unchanged. [`Link::answer`] is due then.
    pub async fn asked(&self) {
        self.asked.notified().await;
        self.begun.store(self.wanted.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn ask(&self) {
        lock(&self.taken).clear();
        self.wanted.fetch_add(1, Ordering::Relaxed);
        self.asked.notify_one();
    }

    /// Says that a new text of this file is in force.
    pub fn took(&self, file: &str) {
        if self.owes() {
            lock(&self.taken).insert(file.to_owned());
        }
        self.news.notify_one();
    }

    /// Says that everything was read that was asked for when [`Link::asked`] resolved, and that others see what came of it.
    pub fn answer(&self) {
        self.answered.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
        self.news.notify_one();
    }

    /// Whether an answer is due.
    fn owes(&self) -> bool {
        self.answered.load(Ordering::Relaxed) < self.wanted.load(Ordering::Relaxed)
    }

    /// Replaces what others see.
    pub fn show(&self, value: V) {
        *lock(&self.shown) = value;
    }
}

impl<K: Ord + Send + 'static, V: Clone + Default + Send + 'static> Followers<K, V> {
    /// Follows nothing yet. `what`: what the files are called in a fault. `news`: notified when a new text was taken, and when
    /// a task has answered.
    pub fn new(what: &'static str, news: Arc<Notify>) -> Self {
        Followers { what, known: BTreeMap::new(), news }
    }

    /// What is needed and not in force yet.
    pub fn missing(&self, mut needed: BTreeSet<K>) -> BTreeSet<K> {
        needed.retain(|key| !self.known.contains_key(key));
        needed
    }

    /// Reads what is needed and not in force yet. Changes nothing.
    pub async fn read_new<R: Send + 'static>(
        &self,
        needed: BTreeSet<K>,
        compiled: &Compiled,
        read: impl FnOnce(&Compiled, BTreeSet<K>) -> Result<Vec<R>, Report> + Send + 'static,
    ) -> Result<Vec<R>, Report> {
        let needed = self.missing(needed);
        if needed.is_empty() {
            return Ok(Vec::new());
        }
        let compiled = compiled.clone();
        // A disk may be slow.
        let all = tokio::task::spawn_blocking(move || read(&compiled, needed)).await;
        all.unwrap_or_else(|_| {
            let gone = "they could not be read: reading failed inside Portway";
            Err(Report::about_file(self.what, Fault::new(gone, "report this as a bug")))
        })
    }

    /// Follows the files of `key` from now on.
    pub fn begin<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        key: K,
        owner: &Scope,
        follow: impl Fn(Arc<Link<V>>) -> F + Send + 'static,
    ) {
        let link = Arc::new(Link {
            asked: Notify::new(),
            wanted: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            taken: Mutex::default(),
            shown: Mutex::default(),
            news: self.news.clone(),
        });
        let (task, followed) = (owner.child(), link.clone());
        task.keep(move || {
            // One before it may not have lived to its answer.
            if followed.owes() {
                followed.asked.notify_one();
            }
            follow(followed.clone())
        });
        self.known.insert(key, Follower { task, link });
    }

    /// Stops following what is not `needed`.
    pub fn keep(&mut self, needed: &BTreeSet<K>) {
        self.known.retain(|key, follower| {
            let keep = needed.contains(key);
            if !keep {
                follower.task.kill();
            }
            keep
        });
    }

    /// Whether nothing is followed.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Makes every task read its files again, even if they look unchanged.
    pub fn ask(&self) {
        self.known.values().for_each(|follower| follower.link.ask());
    }

    /// Whether all have answered that were asked.
    pub fn have_answered(&self) -> bool {
        !self.known.values().any(|follower| follower.link.owes())
    }

    /// The files of which a new text was taken since somebody asked.
    pub fn taken(&self) -> impl Iterator<Item = String> {
        self.known.values().flat_map(|follower| lock(&follower.link.taken).clone())
    }

    /// What each task shows of its files.
    pub fn shown(&self) -> impl Iterator<Item = V> {
        self.known.values().map(|follower| lock(&follower.link.shown).clone())
    }
}
