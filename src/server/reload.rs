//! A reload that somebody asks for: every followed file is read again, and the answer tells of all of them. Which of them are
//! not what runs is asked before an upgrade, too.

use tokio::sync::oneshot;

use super::edit::Edits;
use super::history::{Judged, Reloaded};
use super::running::Server;
use super::upgrade_order::NotUpgraded;
use crate::config::Report;
use crate::files::Pending;

impl Edits {
    /// Makes every followed file be read now, even if it looks unchanged. `reply`: whoever waits for the outcome.
    pub fn ask(&mut self, server: &Server, reply: Option<oneshot::Sender<Reloaded>>) {
        server.ask_files();
        self.file.ask();
        self.includes.ask();
        self.asked = true;
        self.waiting.extend(reply);
    }

    /// Takes the files as they are from now on, until those have their answer who ask: no edit is rolled back.
    pub fn keep(&mut self, server: &Server) {
        server.lists.keep();
        self.probation.keeps = true;
        self.probation.pass();
        self.includes.rolled_back.clear();
    }

    /// Answers those who wait, once all that was asked for is read.
    pub fn answer(&mut self, server: &Server) {
        let read = !self.asked && self.includes.have_answered() && server.files_have_answered();
        if self.waiting.is_empty() || !read {
            return;
        }
        let reloaded = self.reloaded(server);
        for waiting in self.waiting.drain(..) {
            // Whoever has given up needs no answer.
            drop(waiting.send(reloaded.clone()));
        }
        self.probation.keeps = false;
    }

    /// The answer to a request to reload.
    fn reloaded(&self, server: &Server) -> Reloaded {
        let main = match &self.file.target.last {
            Judged::Reloaded(changed) => Some(changed.clone()),
            _ => None,
        };
        let files = server.files_taken().into_iter().map(|file| format!("changed {file}"));
        let changed: Vec<String> =
            main.into_iter().chain(self.includes.changes.iter().cloned()).chain(files).collect();
        let changed = (!changed.is_empty()).then(|| changed.join("; "));
        let (generation, pending) = (server.generation(), self.all_pending(server));
        match joined(pending.into_iter().map(|pending| pending.report)) {
            Some(report) => Reloaded::Refused(generation, report, changed),
            None => Reloaded::Taken(generation, changed),
        }
    }

    /// Whether another process that reads the files now serves what runs here.
    pub async fn settled(&self, server: &Server) -> Result<(), NotUpgraded> {
        let mut reports = Vec::new();
        for pending in self.all_pending(server) {
            if !pending.is_over().await {
                reports.push(pending.report);
            }
        }
        match joined(reports.into_iter()) {
            Some(report) => Err(NotUpgraded::Pending(report.render(false))),
            None if self.probation.is_watching() => Err(NotUpgraded::OnProbation),
            None => Ok(()),
        }
    }

    /// Every followed file that is not what runs: the main one, those that it includes, and those that they name.
    fn all_pending(&self, server: &Server) -> Vec<Pending> {
        let others = self.pending().into_iter().chain(server.named_files()).filter_map(|file| file.pending);
        self.file.pending().cloned().into_iter().chain(others).collect()
    }
}

/// All of them in one, each once: files that do not fit together have one report.
fn joined(reports: impl Iterator<Item = Report>) -> Option<Report> {
    let mut all: Vec<Report> = Vec::new();
    for report in reports {
        if !all.contains(&report) {
            all.push(report);
        }
    }
    all.into_iter().reduce(Report::and)
}
