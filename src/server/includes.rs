//! The files that the main one includes, as they run, and the tasks that follow them. `include_edit` takes in their edits.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::include_set::{IncludeSet, MOST_FILES, too_many};
use super::included_file::{self, FileLink, IncludedFile, RunningText, Told};
use super::included_folders::{self, IncludedFolders};
use super::named_file::NamedFile;
use crate::config::{Compiled, Report, RouteFile, RouteFiles};
use crate::files::{Found, FsEventSource, LastGood, Pending};
use crate::model::{Fault, Glob};
use crate::tasks::Scope;

/// The included files, and the tasks that follow them.
#[derive(Debug)]
pub(super) struct Includes {
    pub events: FsEventSource,
    /// What runs. `None`: the main file includes nothing, and what was in it is not kept.
    pub running: Option<Arc<RouteFiles>>,
    /// By their paths from the folder of the main file.
    pub tasks: BTreeMap<PathBuf, FileTask>,
    pub folders: Option<FoldersTask>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    /// The number of what was asked for last, and who has not answered it.
    pub asked: u64,
    pub unanswered: BTreeSet<PathBuf>,
    /// What edits have changed since somebody asked.
    pub changes: Vec<String>,
    /// Texts that were rolled back, and why. `None`: the file was removed.
    pub rolled_back: BTreeMap<PathBuf, (Option<Arc<str>>, Report)>,
    /// The last text of the main file, if that was refused because of others.
    pub main_waits: Option<Arc<str>>,
    /// Why not all files are followed that the patterns mean.
    complaint: Option<Pending>,
}

/// The task that follows a file.
#[derive(Debug)]
pub(super) struct FileTask {
    pub scope: Scope,
    pub link: Arc<FileLink>,
    /// Its last text, if that was refused because of others.
    pub waits: Option<Arc<str>>,
}

/// The task that follows what the patterns mean.
#[derive(Debug)]
pub(super) struct FoldersTask {
    globs: Vec<Glob>,
    scope: Scope,
    pub link: Arc<FileLink>,
}

impl Includes {
    pub fn new(events: &FsEventSource) -> Self {
        let (tell, told) = mpsc::channel(MOST_FILES);
        Includes {
            events: events.clone(),
            running: None,
            tasks: BTreeMap::new(),
            folders: None,
            tell,
            told,
            asked: 0,
            unanswered: BTreeSet::new(),
            changes: Vec::new(),
            rolled_back: BTreeMap::new(),
            main_waits: None,
            complaint: None,
        }
    }

    /// Follows the files from now on. `texts`: of those that run.
    pub fn begin(&mut self, files: RouteFiles, set: Started, owner: &Scope) {
        let Started { found, mut texts } = set;
        self.running = Some(Arc::new(files));
        for path in found.into_iter().take(MOST_FILES) {
            let runs = texts.remove(&path);
            self.follow(path, runs, owner);
        }
        self.follow_folders(owner);
    }

    /// Resolves with what the tasks tell next: all of it that is there. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        self.told.recv_many(&mut told, MOST_FILES).await;
        told
    }

    /// Makes every task read its files now, even if they look unchanged.
    pub fn ask(&mut self) {
        self.asked += 1;
        self.changes.clear();
        self.unanswered = self.tasks.keys().cloned().collect();
        self.tasks.values().for_each(|task| task.link.ask(self.asked));
        self.ask_folders();
    }

    /// The folders answer as the empty path.
    fn ask_folders(&mut self) {
        if let Some(folders) = &self.folders {
            folders.link.ask(self.asked);
            self.unanswered.insert(PathBuf::new());
        }
    }

    /// Whether all have answered that were asked.
    pub fn have_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// The files that are not what runs.
    pub fn pending(&self) -> Vec<NamedFile> {
        let Some(running) = &self.running else { return Vec::new() };
        let name = |path: &Path| running.folder().join(path).display().to_string();
        let files = self.tasks.iter().filter_map(|(path, task)| Some((name(path), task.link.pending()?)));
        let globs = running.main().include().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let complaint = self.complaint.clone().map(|pending| (globs, pending));
        let named = |(name, pending)| NamedFile { name, pending: Some(pending), ..NamedFile::default() };
        files.chain(complaint).map(named).collect()
    }

    /// Notes that these files run: follows what the main one includes, and nothing else. Whoever follows one of the `others`
    /// ([`Includes::others`]) begins anew.
    pub async fn runs(&mut self, files: RouteFiles, others: &[PathBuf], owner: &Scope) {
        let globs = files.main().include().to_vec();
        self.tasks.retain(|path, task| {
            let keep = files.main().includes(path);
            if !keep {
                task.scope.kill();
                self.unanswered.remove(path);
            }
            keep
        });
        self.running = (!globs.is_empty()).then(|| Arc::new(files));
        for path in others {
            self.begin_anew(path, owner).await;
        }
        if self.folders.as_ref().map_or(globs.is_empty(), |folders| folders.globs == globs) {
            // If a file has come back meanwhile, that was no news.
            self.folders
                .iter()
                .filter(|_| !others.is_empty())
                .for_each(|folders| folders.link.ask(self.asked.max(1)));
            return;
        }
        let asked = !self.unanswered.is_empty();
        if let Some(folders) = self.folders.take() {
            folders.scope.kill();
            self.unanswered.remove(Path::new(""));
        }
        self.complaint = None;
        self.follow_folders(owner);
        if asked {
            self.ask_folders();
        }
    }

    /// The files of which another text is to run, but the `news` of those who follow them; and what is `gone`.
    pub fn others(&self, files: &RouteFiles, news: &[&Path], gone: &[&Path]) -> Vec<PathBuf> {
        let replaced = self.running.as_deref();
        let paths = replaced.into_iter().chain([files]).flat_map(|files| files.included().keys());
        let paths: BTreeSet<&Path> = paths.map(PathBuf::as_path).chain(gone.iter().copied()).collect();
        let is_other = |path: &&Path| {
            let text = |files: &RouteFiles| files.included().get(*path).map(|file| file.shared_text());
            let (runs, ran) = (text(files), replaced.and_then(text));
            let is_new = runs != ran || (runs.is_some() && !self.tasks.contains_key(*path));
            gone.contains(path) || (is_new && !news.contains(path))
        };
        paths.into_iter().filter(is_other).map(Path::to_owned).collect()
    }

    /// Follows a file by the text of it that runs now. One of which none runs is found once more, if it is there.
    async fn begin_anew(&mut self, path: &Path, owner: &Scope) {
        let runs = self.running.as_ref().and_then(|files| files.included().get(path).cloned());
        if let Some(task) = self.tasks.remove(path) {
            task.scope.kill();
            // Only then nothing of what it has told is waited for.
            task.scope.finished().await;
            self.unanswered.remove(path);
            if let (Some(pending), Some(file)) = (task.link.pending(), &runs)
                && (LastGood { path: file.name().into(), text: file.text().as_bytes().into() })
                    .is_on_disk()
                    .await
            {
                info!(
                    file = file.name(),
                    fault = pending.headline,
                    "fault healed: what runs is what the file says"
                );
            }
        }
        if let Some(file) = runs {
            self.follow(path.to_owned(), Some(RunningText::read_before(file.text())), owner);
        }
    }

    /// Notes that these files run again, and why those do not that ran: they are read anew, and refused. What was added goes its own
    /// way, and what was removed: unless routes have moved between the two.
    pub async fn rolled_back(&mut self, files: RouteFiles, why: &Fault, owner: &Scope) {
        let replaced = self.running.clone();
        let others = self.others(&files, &[], &[]);
        self.runs(files, &others, owner).await;
        let (Some(running), Some(replaced)) = (self.running.clone(), replaced) else { return };
        let (ran, run) = (replaced.names(), running.names());
        let moved =
            |file: &RouteFile, names: &HashSet<&str>| file.routes().any(|route| names.contains(&*route.name));
        // One that has only another name is none of what was rolled back.
        let is_in = |file: &RouteFile, files: &RouteFiles| {
            files.included().values().any(|other| other.text() == file.text())
        };
        for path in replaced.included().keys().chain(running.included().keys()) {
            let of = |files: &RouteFiles| files.included().get(path).cloned();
            let is_refused = match (of(&running), of(&replaced)) {
                (Some(runs), Some(ran)) => runs.text() != ran.text(),
                (Some(runs), None) => moved(&runs, &ran) && !is_in(&runs, &replaced),
                (None, Some(ran)) => moved(&ran, &run) && !is_in(&ran, &running),
                (None, None) => false,
            };
            if is_refused {
                let report =
                    Report::about_file(&running.folder().join(path).display().to_string(), why.clone());
                let text = of(&replaced).map(|file| file.shared_text());
                self.rolled_back.insert(path.clone(), (text, report));
            }
        }
    }

    fn follow_folders(&mut self, owner: &Scope) {
        let Some(running) = &self.running else { return };
        let (scope, link) = (owner.child(), Arc::<FileLink>::default());
        let globs = running.main().include().to_vec();
        let of = IncludedFolders {
            folder: running.folder().to_owned(),
            globs: globs.clone(),
            events: self.events.clone(),
            tell: self.tell.clone(),
            link: link.clone(),
        };
        scope.keep(move || included_folders::follow(of.clone()));
        self.folders = Some(FoldersTask { globs, scope, link });
    }

    fn follow(&mut self, path: PathBuf, runs: Option<RunningText>, owner: &Scope) {
        let Some(running) = &self.running else { return };
        let (scope, link) = (owner.child(), Arc::<FileLink>::default());
        let of = IncludedFile {
            at: running.folder().join(&path),
            path: path.clone(),
            events: self.events.clone(),
            tell: self.tell.clone(),
            link: link.clone(),
        };
        // After a panic nothing is known of the text that runs: it is compiled again, and found to run.
        let mut runs = runs;
        scope.keep(move || included_file::follow(of.clone(), runs.take()));
        self.tasks.insert(path, FileTask { scope, link, waits: None });
    }

    /// Makes those try again that others were in the way of.
    pub fn again(&self) {
        self.tasks.values().filter(|task| task.waits.is_some()).for_each(|task| task.link.again());
    }

    /// Follows the files that are new.
    pub fn found(&mut self, Found { files, fault }: Found, asked: u64, owner: &Scope) {
        // Whoever waits for the files to be read waits for new ones too, also if they were found a moment before he asked.
        let waits = !self.unanswered.is_empty();
        if asked == self.asked {
            self.unanswered.remove(Path::new(""));
        }
        let all = files.len();
        for path in files {
            if self.tasks.len() >= MOST_FILES {
                break;
            }
            if self.tasks.contains_key(&path) {
                continue;
            }
            self.follow(path.clone(), None, owner);
            if waits && let Some(task) = self.tasks.get(&path) {
                task.link.ask(self.asked);
                self.unanswered.insert(path);
            }
        }
        let folder = |(folder, fault): (PathBuf, Fault)| {
            Fault::new(format!("the folder {}: {}", folder.display(), fault.message), fault.help)
        };
        self.complain(fault.map(folder).or_else(|| (all > MOST_FILES).then(|| too_many(all))));
    }

    /// Notes why not all files are followed, and logs it if that is new.
    fn complain(&mut self, fault: Option<Fault>) {
        let Some((running, fault)) = self.running.as_ref().zip(fault) else {
            self.complaint = None;
            return;
        };
        let report = running.main().include_fault(fault);
        if self.complaint.as_ref().is_some_and(|pending| pending.report == report) {
            return;
        }
        warn!(headline = report.headline(), report = %report, "not every file of `include` is followed");
        self.complaint = Some(Pending::new(report, None));
    }
}

/// What the start has read: which files `include` means, and the texts of those that run.
#[derive(Debug, Default)]
pub(super) struct Started {
    found: BTreeSet<PathBuf>,
    texts: BTreeMap<PathBuf, RunningText>,
}

impl Started {
    /// Takes a set apart, with the faults of the files that are not in it.
    pub fn of(set: IncludeSet) -> (Started, Compiled, Option<Report>) {
        let IncludeSet { compiled, found, texts, faults } = set;
        (Started { found, texts }, compiled, faults.into_iter().reduce(Report::and))
    }

    /// Forgets the texts of files that do not run after all.
    pub fn keep(&mut self, files: &RouteFiles) {
        self.texts.retain(|path, _| files.included().contains_key(path));
    }
}
