//! The files that the routes' file names: read with the edit that names them, and followed as long as a route needs
//! them.

use std::collections::{BTreeMap, BTreeSet};
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
}

#[derive(Debug)]
struct Follower<V> {
    task: Scope,
    link: Arc<Link<V>>,
}

/// What a task that follows files shares with others.
#[derive(Debug, Default)]
pub struct Link<V> {
    asked: Notify,
    shown: Mutex<V>,
}

impl<V> Link<V> {
    /// Resolves when the files are to be read again, even if they look unchanged.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Replaces what others see.
    pub fn show(&self, value: V) {
        *lock(&self.shown) = value;
    }
}

impl<K: Ord + Send + 'static, V: Clone + Default + Send + 'static> Followers<K, V> {
    /// Follows nothing yet. `what`: what the files are called in a fault.
    pub fn new(what: &'static str) -> Self {
        Followers { what, known: BTreeMap::new() }
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
        let (task, link) = (owner.child(), Arc::<Link<V>>::default());
        let followed = link.clone();
        task.keep(move || follow(followed.clone()));
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
        self.known.values().for_each(|follower| follower.link.asked.notify_one());
    }

    /// What each task shows of its files.
    pub fn shown(&self) -> impl Iterator<Item = V> {
        self.known.values().map(|follower| lock(&follower.link.shown).clone())
    }
}
