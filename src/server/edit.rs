//! Takes in edits of the routes' file ([`Edits::take_in`]). `files` notices them, `apply` carries them out.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::history::{FileView, History, Judged, Reloaded};
use super::running::Server;
use crate::config::{self, Compiled, Plan, Report};
use crate::files::{FollowedFile, FsEventSource, How, Pending, Reading, Refused, Seen, look, read_and_look};
use crate::model::Fault;

/// The routes' file of a running proxy, and the history of its edits.
#[derive(Debug)]
pub(super) struct Edits {
    file: FollowedFile<History>,
}

impl Edits {
    /// Reads and compiles the file at the start. Nothing runs yet.
    pub async fn open(path: &Path, events: &FsEventSource) -> Result<(Edits, Compiled), Report> {
        let (name, state) = (path.display().to_string(), look(path));
        let (text, _) = read_and_look(path.to_owned()).await;
        let text = text.map_err(|fault| Report::about_file(&name, fault))?;
        let compiled = config::compile(&name, &text)?;
        Ok((Edits { file: FollowedFile::new(path, text, state, events, History::new()) }, compiled))
    }

    /// Watches the file from now on.
    pub fn begin(&mut self) {
        self.file.begin();
    }

    /// Resolves with the next text to judge. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Reading {
        self.file.next().await
    }

    /// Makes [`Edits::next`] read the file now, even if it looks unchanged.
    pub fn ask(&mut self) {
        self.file.ask();
    }

    /// Notes that something was removed from what runs although the file still has it.
    pub fn diverge(&mut self) {
        self.file.diverge();
    }

    /// Whether there is something to do, or somebody waits for the outcome.
    pub fn is_news(&self, reading: &Reading) -> bool {
        self.file.is_news(reading)
    }

    /// The state of the file, for a view of what runs.
    pub fn view(&self) -> FileView {
        FileView {
            name: self.file.name().to_owned(),
            history: self.file.target.clone(),
            pending: self.file.pending().cloned(),
            stale: self.file.is_stale(),
        }
    }

    /// The answer to a request to reload.
    pub fn reloaded(&self, generation: u64) -> Reloaded {
        match (&self.file.target.last, self.file.pending()) {
            (Judged::Refused, Some(pending)) => Reloaded::Refused(generation, pending.report.clone()),
            (Judged::Reloaded(changed), _) => Reloaded::Taken(generation, Some(changed.clone())),
            _ => Reloaded::Taken(generation, None),
        }
    }

    /// Takes in one reading: changed? → whole? → compile → plan, prepare, commit → generation + 1.
    /// A failure at any step leaves what runs as it was. Returns whether what runs has changed.
    pub async fn take_in(&mut self, mut reading: Reading, server: &mut Server) -> bool {
        let text = match self.file.see(&mut reading).await {
            Seen::Known => return false,
            Seen::Runs => {
                self.runs(&reading, server);
                return false;
            }
            Seen::Faulty(report) => {
                self.refuse(&reading, report, false);
                return false;
            }
            Seen::Text(text) => text,
        };
        let compiled = match compile(self.file.name(), &text).await {
            Ok(compiled) => compiled,
            Err(report) => {
                self.refuse(&reading, report, false);
                return false;
            }
        };
        match server.apply(&compiled).await {
            Ok(plan) => {
                self.took(&reading, text, &plan, server);
                !plan.is_empty()
            }
            // The cause may be a socket that another program gives back: it is tried again.
            Err(report) => {
                self.refuse(&reading, report, true);
                false
            }
        }
    }

    /// Records and logs an edit that was applied.
    fn took(&mut self, reading: &Reading, text: Arc<[u8]>, plan: &Plan, server: &Server) {
        let healed = self.file.took(reading, text);
        let generation = server.generation();
        if plan.is_empty() {
            info!(generation, "nothing changed: the file says the same as before");
            self.file.target.note(Judged::Unchanged);
        } else {
            let (routes, listeners) = (server.table().routes.len(), server.listeners());
            let changed = summary(plan);
            info!(generation, plan = changed, routes, listeners, "reloaded");
            self.file.target.note(Judged::Reloaded(changed));
        }
        log_healed(healed, generation);
    }

    /// Records that the file has the running text again.
    fn runs(&mut self, reading: &Reading, server: &Server) {
        let healed = self.file.took(reading, self.file.running().clone());
        if reading.how == How::Asked {
            info!(generation = server.generation(), "nothing changed: the file is what runs");
        }
        self.file.target.note(Judged::Unchanged);
        log_healed(healed, server.generation());
    }

    /// Records an edit that was refused. Logs it once per text, and again for whoever asks.
    fn refuse(&mut self, reading: &Reading, report: Report, wanting: bool) {
        if self.file.refuse(reading, report.clone(), wanting) == Refused::New {
            self.file.target.note(Judged::Refused);
            warn!(
                headline = report.headline(),
                report = %report,
                "edit refused: what runs goes on as before, until the file is mended"
            );
        }
    }
}

fn log_healed(healed: Option<Pending>, generation: u64) {
    if let Some(pending) = healed {
        info!(generation, fault = pending.headline, "fault healed: what runs is what the file says");
    }
}

/// Compiles on a blocking thread: a large file takes time, and a text that makes the compiler panic must not end what
/// runs.
async fn compile(name: &str, text: &Arc<[u8]>) -> Result<Compiled, Report> {
    let (own_name, text) = (name.to_owned(), text.clone());
    let fault = || Fault::new("Portway failed to read this file", "please report it, with the file");
    let compiled = tokio::task::spawn_blocking(move || config::compile(&own_name, &text)).await;
    compiled.unwrap_or_else(|_| Err(Report::about_file(name, fault())))
}

/// What an edit does, in one line: `added app; removed db; changed web`.
fn summary(plan: &Plan) -> String {
    let mut line = String::new();
    let mut part = |what: &str, names: Vec<&String>| {
        const SHOWN: usize = 10;
        if names.is_empty() {
            return;
        }
        let shown = names.iter().take(SHOWN).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let gap = if line.is_empty() { "" } else { "; " };
        let _ = write!(line, "{gap}{what} {shown}");
        if names.len() > SHOWN {
            let _ = write!(line, " and {} more", names.len() - SHOWN);
        }
    };
    part("added", plan.routes.added.keys().collect());
    part("removed", plan.routes.removed.keys().collect());
    part("changed", plan.routes.changed.keys().collect());
    if plan.disabled.is_some() {
        part("changed", vec![&"what has enabled = false".to_owned()]);
    }
    let sockets: Vec<String> = plan.access().map(|(addr, ..)| addr.to_string()).collect();
    part("changed", sockets.iter().collect());
    if plan.log.is_some() {
        part("changed", vec![&"[log]".to_owned()]);
    }
    if plan.limits.is_some() {
        part("changed", vec![&"[limits]".to_owned()]);
    }
    if plan.admin.is_some() {
        part("changed", vec![&"[admin]".to_owned()]);
    }
    line
}
