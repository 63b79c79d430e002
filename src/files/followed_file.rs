//! One file whose text runs: which text runs, and which edit does not. The rules are the same for the routes' file,
//! lists of networks, certificates and keys.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::warn;

use super::blocking::blocking;
use super::events::FsEventSource;
use super::loss::{Form, Loss};
use super::pending::{LastGood, Pending};
use super::reading::{FileState, How, Reading, Text};
use super::verdict::{Cut, Verdict, verdict};
use super::watch::Watch;
use crate::config::Report;
use crate::model::Fault;

/// A file that is followed, and what its owner keeps with it.
#[derive(Debug)]
pub struct FollowedFile<T> {
    /// The owner's part, such as what a good text is put into.
    pub target: T,
    name: String,
    form: Form,
    watch: Watch,
    /// The text that runs.
    running: Arc<[u8]>,
    /// The text that was judged last.
    last: Text,
    /// The text that was refused last, while the file kept changing.
    snatched: Option<Text>,
    /// What the text that was seen last takes away, if its writer may have been stopped there.
    loss: Option<Loss>,
    pending: Option<Pending>,
    /// The text that was seen last, if it looks cut off or half written.
    held: Option<Arc<[u8]>>,
    /// The last text failed because of something outside of the file, which may come back.
    wanting: bool,
}

/// What a reading means, and what to do with it.
#[derive(Debug)]
pub enum Seen {
    /// It was judged already, or its writer has not finished: there is nothing to do.
    Known,
    /// The file has the running text again.
    Runs,
    /// A text to compile. Then call [`FollowedFile::took`] or [`FollowedFile::refuse`].
    Text(Arc<[u8]>),
    /// There is no text, or it looks cut off. Call [`FollowedFile::refuse`].
    Faulty(Report),
}

/// How a refusal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not to be reported: the text may be half-written. It counts once it is read twice.
    Unsettled,
    /// The same fault as before, after another try.
    Again,
    /// A fault to log.
    New,
}

impl<T> FollowedFile<T> {
    /// A file that was read, and whose text runs or is about to. `state`: what the file looked like before it was read.
    pub fn new(path: &Path, text: Arc<[u8]>, state: FileState, events: &FsEventSource, target: T) -> Self {
        FollowedFile {
            target,
            name: path.display().to_string(),
            form: Form::Tables,
            watch: Watch::new(path, state, events),
            last: Ok(text.clone()),
            running: text,
            snatched: None,
            loss: None,
            pending: None,
            held: None,
            wanting: false,
        }
    }

    /// The same, but not made of tables.
    pub fn of_form(self, form: Form) -> Self {
        FollowedFile { form, ..self }
    }

    /// Its path, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Watches the file from now on.
    pub fn begin(&mut self) {
        self.watch.begin();
    }

    /// Resolves with the next text to judge. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Reading {
        self.watch.next().await
    }

    /// Makes [`FollowedFile::next`] read the file now, even if it looks unchanged.
    pub fn ask(&mut self) {
        self.watch.ask();
    }

    /// Makes [`FollowedFile::next`] try the text again, if it failed for a reason outside of the file that may be gone.
    pub fn again(&mut self) {
        if self.wanting {
            self.watch.again();
        }
    }

    /// Why the file is not what runs. `None`: it is.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The text that was seen last, if it looks cut off or half written: nobody else may take it either.
    pub fn held(&self) -> Option<&Arc<[u8]>> {
        self.held.as_ref()
    }

    /// Whether it was replaced outside of its mount, where that cannot be seen.
    pub fn is_stale(&self) -> bool {
        self.watch.is_stale()
    }

    /// The text that runs.
    pub fn running(&self) -> &Arc<[u8]> {
        &self.running
    }

    /// Whether there is something to do, or somebody waits for the outcome. Most readings only confirm the last one.
    pub fn is_news(&self, reading: &Reading) -> bool {
        reading.how == How::Asked || reading.text != self.last
    }

    /// What a reading means. Marks one that was seen twice as settled.
    pub async fn see(&mut self, reading: &mut Reading) -> Seen {
        let empty = reading.text.as_ref().is_ok_and(|text| text.is_empty());
        if reading.how == How::Snatched && self.snatched.as_ref() == Some(&reading.text) && !empty {
            // The file keeps changing, but its text does not. (An empty text never settles so: every save in place
            // empties the file first.)
            reading.how = How::Settled;
        }
        self.loss = None;
        let verdict = self.verdict(reading.clone()).await;
        match verdict {
            Verdict::Known => {}
            Verdict::Unfinished | Verdict::CutOff(_) => self.held = reading.text.clone().ok(),
            _ => self.held = None,
        }
        match verdict {
            Verdict::Known => {
                self.judged(reading);
                Seen::Known
            }
            Verdict::Unfinished => {
                self.watch.schedule.wait();
                Seen::Known
            }
            Verdict::Runs => Seen::Runs,
            Verdict::Unreadable(fault) => Seen::Faulty(Report::about_file(&self.name, fault)),
            Verdict::CutOff(cut) => Seen::Faulty(cut_off(self, &reading.text, &cut)),
            Verdict::New(text, loss) => {
                self.loss = loss;
                Seen::Text(text)
            }
        }
    }

    /// On a blocking thread: a large text takes time, and one that makes a parser panic must not end what runs.
    async fn verdict(&self, reading: Reading) -> Verdict {
        let (form, running, last, text) =
            (self.form, self.running.clone(), self.last.clone(), reading.text.clone());
        let judged = blocking(move || verdict(form, &reading, &running, &last)).await;
        judged.unwrap_or_else(|| text.map_or_else(Verdict::Unreadable, |text| Verdict::New(text, None)))
    }

    /// Notes that the text runs, now or still. Returns the pending faults that this heals.
    pub fn took(&mut self, reading: &Reading, text: Arc<[u8]>) -> Option<Pending> {
        self.wanting = false;
        self.running = text;
        if let Some(loss) = self.loss.take() {
            warn!(
                file = self.name,
                "the file ends after `{}` now, and {} gone: if its writer was stopped there, save it again",
                loss.ends_after.as_deref().unwrap_or_default(),
                gone(&loss),
            );
        }
        self.judged(reading);
        self.pending.take()
    }

    /// Notes that the text does not run. `wanting`: the cause is outside of the file, so it is tried again.
    pub fn refuse(&mut self, reading: &Reading, report: Report, wanting: bool) -> Refused {
        if reading.how == How::Snatched {
            self.snatched = Some(reading.text.clone());
            return Refused::Unsettled;
        }
        self.wanting = wanting;
        // As it is shown: of another file it may have a whole text, which changes.
        let shown = report.to_string();
        let told = self.pending.as_ref().is_some_and(|pending| pending.report.to_string() == shown);
        let refused = if told && reading.how == How::Again { Refused::Again } else { Refused::New };
        let since = self.pending.take().map_or_else(SystemTime::now, |pending| pending.since);
        self.pending = Some(Pending { since, ..Pending::new(report, self.instead()) });
        self.judged(reading);
        refused
    }

    /// Notes that this text of the file runs: whoever has read it has put it into force. The next reading confirms it.
    pub fn runs(&mut self, text: Arc<[u8]>) {
        self.running = text;
        let instead = self.instead();
        self.pending.iter_mut().for_each(|pending| pending.instead = instead.clone());
        self.again();
    }

    /// Notes that this former text runs again in place of its successor, for this reason.
    pub fn undo(&mut self, former: Arc<[u8]>, report: Report) {
        let successor = std::mem::replace(&mut self.running, former);
        let instead = self.instead();
        // Another text may have come since, with faults of its own.
        if self.last == Ok(successor) {
            self.pending = Some(Pending::new(report, instead));
        } else if let Some(pending) = &mut self.pending {
            pending.instead = instead;
        }
    }

    fn instead(&self) -> Option<LastGood> {
        Some(LastGood { path: self.watch.path().to_owned(), text: self.running.clone() })
    }

    fn judged(&mut self, reading: &Reading) {
        let now = Instant::now();
        // A text that runs is kept once.
        self.last = match &reading.text {
            Ok(text) if *text == self.running => Ok(self.running.clone()),
            other => other.clone(),
        };
        self.snatched = None;
        self.watch.judged(reading.state, reading.how, now);
        if reading.text.is_err() {
            self.watch.schedule.unreadable(now);
        }
        if self.wanting {
            self.watch.schedule.again(now);
        }
    }
}

/// The fault of a text that looks cut off, shown at its end unless it is a secret.
fn cut_off<T>(file: &FollowedFile<T>, text: &Text, cut: &Cut) -> Report {
    let take = format!("`portway reload`, or kill -HUP {}", std::process::id());
    let fault = match cut {
        Cut::InLine => Fault::new(
            "the file looks cut off: its last line has no end",
            format!(
                "write the rest; if this is all of it, end the last line with a newline, or take it as it is: {take}"
            ),
        ),
        Cut::InTable(loss) => Fault::new(
            format!(
                "the file looks cut off: it ends within `{}`, without its {}, and {} gone",
                loss.ends_after.as_deref().unwrap_or_default(),
                listed(&loss.keys),
                gone(loss),
            ),
            format!("write the rest; if this is all of it, take it as it is: {take}"),
        ),
    };
    if !file.form.is_shown() {
        return Report::about_file(&file.name, fault);
    }
    let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default());
    Report::at(&file.name, &text, text.len()..text.len(), fault)
}

/// What is gone: `db` is, `db` and `mail` are.
fn gone(loss: &Loss) -> String {
    format!("{} {}", listed(&loss.gone), if loss.gone.len() == 1 { "is" } else { "are" })
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
