//! The files that the routes' file names: read with the edit that names them, and followed as long as a route needs
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::config::{Compiled, Report};
use crate::model::Fault;
use crate::tasks::Scope;

/// What is in force, by key, each with the task that follows its files.
#[derive(Debug)]
pub struct Followers<K> {
    /// What the files are called in a fault.
    what: &'static str,
    known: BTreeMap<K, Follower>,
}

#[derive(Debug)]
struct Follower {
    task: Scope,
    asked: Arc<Notify>,
}

impl<K: Ord + Send + 'static> Followers<K> {
    /// Follows nothing yet. `what`: what the files are called in a fault.
    pub fn new(what: &'static str) -> Self {
        Followers { what, known: BTreeMap::new() }
    }

    /// Reads what is needed and not in force yet. Changes nothing.
    pub async fn read_new<R: Send + 'static>(
        &self,
        mut needed: BTreeSet<K>,
        compiled: &Compiled,
        read: impl FnOnce(&Compiled, BTreeSet<K>) -> Result<Vec<R>, Report> + Send + 'static,
    ) -> Result<Vec<R>, Report> {
        needed.retain(|key| !self.known.contains_key(key));
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

    /// Follows the files of `key` from now on. [`Followers::ask`] wakes `follow` through the `Notify`.
    pub fn begin<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        key: K,
        owner: &Scope,
        follow: impl FnOnce(Arc<Notify>) -> F,
    ) {
        let (task, asked) = (owner.child(), Arc::new(Notify::new()));
        task.spawn(follow(asked.clone()));
        self.known.insert(key, Follower { task, asked });
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
        self.known.values().for_each(|follower| follower.asked.notify_one());
    }
}
