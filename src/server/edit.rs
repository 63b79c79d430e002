//! The story of one edit, from the text on. How it is noticed is told in `watch`, how it is carried out in
//! `apply`.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Server;
use super::handle::{FileView, Reloaded};
use super::watch::decide::{Cut, How, Running, Text, Verdict, verdict};
use super::watch::{self, Events, Reading, Watch};
use crate::config::{self, Compiled, Fault, Plan, Report};

/// The file is not what runs, and why.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The first fault in one line.
    pub headline: String,
    /// All of them.
    pub report: Report,
    /// When the first fault came after the last good text.
    pub since: SystemTime,
}

/// What became of the edits of a file.
#[derive(Clone, Debug)]
pub struct History {
    /// When it was last judged, or read for the start.
    pub at: SystemTime,
    /// What became of it then.
    pub last: Judged,
    /// Edits that were carried out.
    pub succeeded: u64,
    /// Edits that were refused.
    pub refused: u64,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It was read for the start.
    Started,
    /// It runs; what it has changed, in one line.
    Reloaded(String),
    /// It says what runs already.
    Unchanged,
    /// It was refused.
    Refused,
}

impl History {
    fn note(&mut self, judged: Judged) {
        match judged {
            Judged::Reloaded(_) => self.succeeded += 1,
            Judged::Refused => self.refused += 1,
            Judged::Started | Judged::Unchanged => {}
        }
        (self.at, self.last) = (SystemTime::now(), judged);
    }
}

/// The file of a running proxy: what of it runs, and what does not.
#[derive(Debug)]
pub struct Edits {
    name: String,
    watch: Watch,
    running: Running,
    /// What was judged last.
    last: Text,
    /// What was refused last, while the file did not keep still.
    snatched: Option<Text>,
    pending: Option<Pending>,
    /// The last text failed for want of a socket: another program may give it back.
    wanting: bool,
    /// What runs is not what its text says: a route was taken out.
    diverged: bool,
    history: History,
}

impl Edits {
    /// Reads the file for the start. What it says does not run yet.
    pub(super) async fn open(path: &Path, events: &Events) -> Result<(Edits, Compiled), Report> {
        let name = path.display().to_string();
        let look = watch::look(path);
        let (text, _) = watch::read(path.to_owned()).await;
        let text = text.map_err(|fault| Report::about_file(&name, fault))?;
        let compiled = config::compile(&name, &text)?;
        let edits = Edits {
            watch: Watch::new(path, look, events),
            running: Running { text: text.clone(), file: look.ok() },
            last: Ok(text),
            snatched: None,
            pending: None,
            wanting: false,
            diverged: false,
            history: History { at: SystemTime::now(), last: Judged::Started, succeeded: 0, refused: 0 },
            name,
        };
        Ok((edits, compiled))
    }

    /// Watches the file from now on.
    pub fn begin(&mut self) {
        self.watch.begin();
    }

    /// Resolves when there is a text to be judged. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Reading {
        self.watch.next().await
    }

    /// Asks for a reading now.
    pub fn ask(&mut self) {
        self.watch.ask();
    }

    /// Something was taken out of what runs that the file still has.
    pub(super) fn diverge(&mut self) {
        self.diverged = true;
    }

    /// What others see of it.
    pub fn view(&self) -> FileView {
        FileView {
            name: self.name.clone(),
            history: self.history.clone(),
            pending: self.pending.clone(),
            stale: self.watch.is_stale(),
        }
    }

    /// What is said to those who have asked for a reading.
    pub(super) fn reloaded(&self, generation: u64) -> Reloaded {
        match (&self.history.last, &self.pending) {
            (Judged::Refused, Some(pending)) => Reloaded::Refused(generation, pending.report.clone()),
            (Judged::Reloaded(changed), _) => Reloaded::Taken(generation, Some(changed.clone())),
            _ => Reloaded::Taken(generation, None),
        }
    }

    /// Whether there is something to do, or somebody waits for the outcome. Most readings only confirm the last one.
    pub(super) fn is_news(&self, reading: &Reading) -> bool {
        reading.how == How::Asked || reading.text != self.last
    }

    /// The story of one edit: read → changed? → whole? → compile → plan, prepare, commit → generation + 1.
    /// Whatever goes wrong on the way leaves what runs as it was. Returns whether what runs has changed.
    pub(super) async fn take_in(&mut self, mut reading: Reading, server: &mut Server) -> bool {
        let empty = reading.text.as_ref().is_ok_and(|text| text.is_empty());
        if reading.how == How::Snatched && self.snatched.as_ref() == Some(&reading.text) && !empty {
            // The file is touched again and again, but its text keeps still. (Every save in place empties it first.)
            reading.how = How::Settled;
        }
        let mut wanting = false;
        let verdict = match verdict(&reading.text, reading.look, reading.how, &self.running, &self.last) {
            Verdict::Runs if self.diverged => Verdict::New(self.running.text.clone()),
            verdict => verdict,
        };
        let report = match verdict {
            Verdict::Known => {
                self.judged(&reading);
                return false;
            }
            Verdict::Runs => {
                self.back(&reading, server);
                return false;
            }
            Verdict::Unreadable(fault) => Report::about_file(&self.name, fault),
            Verdict::CutOff(cut) => cut_off(&self.name, &reading.text, cut),
            Verdict::New(text) => match compile(&self.name, &text).await {
                Err(report) => report,
                Ok(compiled) => match server.apply(&compiled).await {
                    Ok(plan) => {
                        self.took(&reading, text, &plan, server);
                        return !plan.is_empty();
                    }
                    Err(report) => {
                        wanting = true;
                        report
                    }
                },
            },
        };
        self.refuse(reading, report, wanting);
        false
    }

    /// The edit runs.
    fn took(&mut self, reading: &Reading, text: Arc<[u8]>, plan: &Plan, server: &Server) {
        (self.wanting, self.diverged) = (false, false);
        self.running = Running { text, file: reading.look.ok() };
        self.judged(reading);
        let generation = server.generation();
        if plan.is_empty() {
            info!(generation, "nothing changed: the file says the same as before");
            self.history.note(Judged::Unchanged);
        } else {
            let (routes, listeners) = (server.table().routes.len(), server.listeners());
            let changed = summary(plan);
            info!(generation, plan = changed, routes, listeners, "reloaded");
            self.history.note(Judged::Reloaded(changed));
        }
        self.heal(generation);
    }

    /// The file says again what runs.
    fn back(&mut self, reading: &Reading, server: &Server) {
        self.wanting = false;
        self.running.file = reading.look.ok();
        self.judged(reading);
        if reading.how == How::Asked {
            info!(generation = server.generation(), "nothing changed: the file is what runs");
        }
        self.history.note(Judged::Unchanged);
        self.heal(server.generation());
    }

    fn heal(&mut self, generation: u64) {
        if let Some(pending) = self.pending.take() {
            info!(generation, fault = pending.headline, "fault healed: what runs is what the file says");
        }
    }

    /// The edit does not run. Said once per text, and to whoever asks.
    fn refuse(&mut self, reading: Reading, report: Report, wanting: bool) {
        if reading.how == How::Snatched {
            // Perhaps half of something. It counts when it is seen twice.
            self.snatched = Some(reading.text);
            return;
        }
        self.wanting = wanting;
        let told = self.pending.as_ref().is_some_and(|pending| pending.report == report);
        if !(told && reading.how == How::Again) {
            self.history.note(Judged::Refused);
            warn!(
                headline = report.headline(),
                report = %report,
                "edit refused: what runs goes on as before, until the file is mended"
            );
        }
        let since = self.pending.take().map_or_else(SystemTime::now, |pending| pending.since);
        self.pending = Some(Pending { headline: report.headline(), report, since });
        self.judged(&reading);
    }

    fn judged(&mut self, reading: &Reading) {
        let now = Instant::now();
        self.last = reading.text.clone();
        self.snatched = None;
        self.watch.pace.judged(reading.look, reading.how, now);
        if reading.text.is_err() {
            self.watch.pace.unreadable(now);
        }
        if self.wanting {
            self.watch.pace.again(now);
        }
    }
}

/// Compiles on a thread of its own: a large file takes its time, and a text that finds a fault of Portway itself must not
/// end what runs.
async fn compile(name: &str, text: &Arc<[u8]>) -> Result<Compiled, Report> {
    let (own_name, text) = (name.to_owned(), text.clone());
    let fault = || Fault::new("Portway failed to read this file", "please report it, with the file");
    let compiled = tokio::task::spawn_blocking(move || config::compile(&own_name, &text)).await;
    compiled.unwrap_or_else(|_| Err(Report::about_file(name, fault())))
}

/// The fault of a text that looks cut off, shown at its end.
pub(super) fn cut_off(name: &str, text: &Text, cut: Cut) -> Report {
    let Cut { bytes, lines, in_place } = cut;
    let part = if lines.0 < lines.1 {
        format!("the first {} of {} lines", lines.0, lines.1)
    } else {
        format!("the first {} of {} bytes", bytes.0, bytes.1)
    };
    let (why, cure) = if in_place {
        ("and was written in place", "put it there by rename (mv)")
    } else {
        ("and its last line has no end", "end the last line with a newline")
    };
    let fault = Fault::new(
        format!("the file is {part} of what runs, {why}: it looks cut off"),
        format!(
            "write the rest; if this is all of it, take it as it is: kill -HUP {}, or {cure}",
            std::process::id()
        ),
    );
    let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default());
    Report::at(name, &text, text.len()..text.len(), fault)
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
