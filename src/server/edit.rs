//! Takes in edits of the routes' file ([`Edits::take_in`]), and of those that it includes. `files` notices them, `apply` carries
//! them out.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use super::apply::Prepared;
use super::beside;
use super::handed_state::Reloads;
use super::history::{FileView, History, Judged, Reloaded};
use super::include_edit::Taken;
use super::include_set::{self, join_fitting, joined};
use super::included_file::Told;
use super::includes::{Includes, Started};
use super::named_file::NamedFile;
use super::probation::{EditProbation, Former};
use super::running::Server;
use super::summary::summary;
use crate::config::{Compiled, Plan, Report, RouteFile, RouteFiles};
use crate::files::{FollowedFile, FsEventSource, How, Pending, Reading, Refused, Seen, look, read_and_look};
use crate::model::Fault;

/// The routes' file of a running proxy with those that it includes, and the history of their edits.
#[derive(Debug)]
pub(super) struct Edits {
    pub(super) file: FollowedFile<History>,
    pub(super) includes: Includes,
    pub(super) probation: EditProbation,
    /// Notified when there is news of the files that the routes' file names.
    named_news: Arc<Notify>,
    /// What the start has read of them, until they are followed.
    started: Started,
    /// Whether somebody has asked for a reading of the main file that has not begun yet.
    pub(super) asked: bool,
    /// Those who wait for readings that begin after their request.
    pub(super) waiting: Vec<oneshot::Sender<Reloaded>>,
}

/// What there is to take in.
#[derive(Debug)]
pub(super) enum News {
    /// A text of the main file.
    Main(Reading),
    /// What those say who follow the included files.
    Included(Vec<Told>),
    /// It is time to look at what is on probation.
    Look,
    /// A file that the routes' file names was taken over, or was read because somebody asked.
    Named,
}

impl Edits {
    /// Reads and compiles the file at the start, with those that it includes. Nothing runs yet. An included file with a
    /// fault stays out: who follows it reports it. But if another process serves (`takes_over`), what has faults must not take its
    /// place. `from_store`: whether the texts of the file come from a store.
    pub async fn open(
        path: &Path,
        from_store: bool,
        takes_over: bool,
        events: &FsEventSource,
    ) -> Result<(Edits, Compiled), Report> {
        let (name, state) = (path.display().to_string(), look(path));
        let (text, _) = read_and_look(path.to_owned()).await;
        let text = text.map_err(|fault| Report::about_file(&name, fault))?;
        let main = RouteFile::main(&name, &text)?;
        let gone = Fault::new("reading it failed inside Portway", "please report it, with the file");
        // A thousand files, and a disk that may be slow.
        let set = tokio::task::spawn_blocking(move || include_set::read(main)).await;
        let set = set.unwrap_or_else(|_| Err(Report::about_file(&name, gone)))?;
        let (started, compiled, faults) = Started::of(set);
        if let Some(report) = faults.filter(|_| takes_over) {
            return Err(report);
        }
        let file = FollowedFile::new(path, text, state, events, History::new());
        let includes = Includes::new(events);
        let probation = EditProbation::new(from_store);
        Ok((
            Edits {
                file,
                includes,
                probation,
                named_news: Arc::default(),
                started,
                asked: false,
                waiting: Vec::new(),
            },
            compiled,
        ))
    }

    /// Prepares the table of the start. Included files whose addresses cannot be opened stay out.
    pub async fn prepare(
        &self,
        mut compiled: Compiled,
        server: &Server,
    ) -> Result<(Compiled, Prepared), Report> {
        loop {
            let report = match server.prepare_file(&compiled).await {
                Ok(prepared) => return Ok((compiled, prepared)),
                Err(report) => report,
            };
            let mut files = compiled.into_files();
            let before = files.included().len();
            files.remove_all(|file| report.about(file.name()).is_some());
            if report.about(files.main().name()).is_some() || files.included().len() == before {
                return Err(report);
            }
            (compiled, _) = join_fitting(files, 0)?;
        }
    }

    /// Follows the files from now on: the table of the start is in force.
    pub fn begun(mut self, compiled: Compiled, server: &Server) -> Edits {
        self.file.begin();
        self.named_news = server.named_news.clone();
        self.probation.set(server.table().edits, now(), server);
        let files = compiled.into_files();
        if !files.main().include().is_empty() {
            self.started.keep(&files);
            self.includes.begin(files, std::mem::take(&mut self.started), &server.root);
        }
        self
    }

    /// Resolves with what there is to take in. Dropping the future loses nothing.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            reading = self.file.next() => News::Main(reading),
            told = self.includes.next() => News::Included(told),
            () = self.named_news.notified() => News::Named,
            () = beside::until(self.probation.next()) => News::Look,
        }
    }

    /// Whether there is something to do, or somebody waits for the outcome.
    pub fn is_news(&self, news: &News) -> bool {
        match news {
            News::Main(reading) => self.file.is_news(reading),
            News::Included(told) => told.iter().any(|told| matches!(told, Told::Text(..) | Told::Gone(..))),
            News::Look | News::Named => false,
        }
    }

    /// Takes news in. Returns whether what runs has changed.
    pub async fn take_in(&mut self, news: News, server: &mut Server) -> bool {
        let changed = self.take(news, server).await;
        if changed {
            self.probation.set(server.table().edits, now(), server);
        }
        changed
    }

    async fn take(&mut self, news: News, server: &mut Server) -> bool {
        match news {
            News::Look => self.look(server).await,
            News::Named => {
                self.probation.lists_edited(self.former(), now(), server);
                false
            }
            News::Main(reading) => {
                if reading.how == How::Asked {
                    self.asked = false;
                }
                self.take_in_main(reading, server).await
            }
            News::Included(told) => {
                let (former, keeps) = (self.former(), self.probation.keeps);
                let undone = self.probation.undone.iter().filter(|_| !keeps).map(|(text, _)| text);
                let held = undone.chain(self.file.held()).cloned().collect();
                let Taken { edited, refused } = self.includes.take_in(told, held, server).await;
                self.file.target.count(0, refused);
                let Some(edited) = edited else { return false };
                self.probation.edited(&edited.plan, former, now(), server);
                self.file.target.count(edited.files(), 0);
                let (changed, main) = (!edited.plan.is_empty(), edited.main.clone());
                let what = summary(&edited.plan);
                self.includes.took(edited, server).await;
                if let Some(text) = main {
                    self.file.runs(text);
                    self.file.target.note(Judged::Reloaded(what));
                }
                if changed {
                    // An included file may have been in its way.
                    self.file.again();
                }
                changed
            }
        }
    }

    /// How many edits there were.
    pub fn reloads(&self) -> Reloads {
        let History { succeeded, refused, .. } = self.file.target;
        Reloads { succeeded, refused }
    }

    /// Goes on counting from those of another process.
    pub fn go_on_from(&mut self, Reloads { succeeded, refused }: Reloads) {
        self.file.target.count(succeeded, refused);
    }

    /// The included files as they run. `None`: the file includes none.
    pub fn files(&self) -> Option<Arc<RouteFiles>> {
        self.includes.running.clone()
    }

    /// The included files that are not what runs.
    pub fn pending(&self) -> Vec<NamedFile> {
        self.includes.pending()
    }

    /// What runs now.
    fn former(&self) -> Former {
        let lists = self.probation.lists.clone();
        Former { main: self.file.running().clone(), files: self.includes.running.clone(), lists }
    }

    /// The state of the file, for a view of what runs.
    pub fn view(&self) -> FileView {
        FileView {
            name: self.file.name().to_owned(),
            history: self.file.target.clone(),
            pending: self.file.pending().cloned(),
            stale: self.file.is_stale(),
            probation: self.probation.ends(),
        }
    }

    /// Takes in one reading: changed? → whole? → compile → join, plan, prepare, commit → generation + 1.
    /// A failure at any step leaves what runs as it was. Returns whether what runs has changed.
    async fn take_in_main(&mut self, mut reading: Reading, server: &mut Server) -> bool {
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
        if let Some((_, report)) = self.probation.undone.clone().filter(|(undone, _)| *undone == text)
            && !self.probation.keeps
        {
            // It is known, and was told.
            let _ = self.file.refuse(&reading, report, false);
            return false;
        }
        let former = self.former();
        let main = match compile(self.file.name(), &text).await {
            Ok(main) => main,
            Err(report) => {
                self.refuse(&reading, report, false);
                return false;
            }
        };
        let said = main.shared_text();
        match self.includes.put_main(main, reading.how == How::Again, server).await {
            Ok((plan, files)) => {
                self.includes.main_waits = None;
                // Before anybody hears of it: who comes then is a client of the new text.
                self.probation.edited(&plan, former, now(), server);
                self.took(&reading, text, &plan, server);
                let others = self.includes.others(&files, &[], &[]);
                self.includes.runs(files, &others, &server.root).await;
                if !plan.is_empty() {
                    self.includes.again();
                }
                !plan.is_empty()
            }
            // The cause may be a socket that another program gives back, or another file: it is tried again.
            Err(misfits) => {
                self.includes.main_waits = Some(said);
                self.refuse(&reading, joined(misfits), true);
                false
            }
        }
    }

    /// Records and logs an edit that was applied.
    fn took(&mut self, reading: &Reading, text: Arc<[u8]>, plan: &Plan, server: &Server) {
        let healed = self.file.took(reading, text);
        self.probation.undone = None;
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
        self.probation.undone = None;
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

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn log_healed(healed: Option<Pending>, generation: u64) {
    if let Some(pending) = healed {
        info!(generation, fault = pending.headline, "fault healed: what runs is what the file says");
    }
}

/// Compiles on a blocking thread: a large file takes time, and a text that makes the compiler panic must not end what
/// runs.
pub(super) async fn compile(name: &str, text: &Arc<[u8]>) -> Result<RouteFile, Report> {
    let (own_name, text) = (name.to_owned(), text.clone());
    let fault = || Fault::new("Portway failed to read this file", "please report it, with the file");
    let compiled = tokio::task::spawn_blocking(move || RouteFile::main(&own_name, &text)).await;
    compiled.unwrap_or_else(|_| Err(Report::about_file(name, fault())))
}
