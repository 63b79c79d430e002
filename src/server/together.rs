//! Puts files into force. An edit that does not fit, or that takes routes away, may be one of several that belong together: a route
//! moves from one file to another, two files swap what they claim, a file has another name. So it is tried with what else has
//! changed on disk and is not in force yet, as `portway plan` does. That helps, and no more: what nobody has told of takes
//! nothing away, and what does not fit is left to whoever follows it.

use std::mem::replace;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::include_set::{MOST_BYTES, MOST_FILES};
use super::included_file::is_removed;
use super::running::Server;
use crate::config::{Misfit, Plan, Report, RouteFile, RouteFiles, join};
use crate::files::{self, Form, FsEventSource, QUIET, blocking, find, taken_away};
use crate::model::Fault;
use crate::net::within;

/// How often is looked until all files are at rest. Those that still change then go their own way.
const LOOKS: usize = 5;
/// For how long an edit looks at the disk, and tries what it finds there. The process waits for it, with all its other news.
const MOST_TIME: Duration = Duration::from_secs(2);

/// Joins files, and makes them what runs. On a fault nothing has changed, and each misfit has its report.
pub(super) async fn put_in_force(
    files: RouteFiles,
    newest: usize,
    server: &mut Server,
) -> Result<(Plan, RouteFiles), Vec<Misfit>> {
    let main = files.main().name().to_owned();
    let compiled = match files.included().is_empty() {
        true => join(files, newest)?,
        // Ten thousand routes take some ten milliseconds.
        false => match tokio::task::spawn_blocking(move || join(files, newest)).await {
            Ok(joined) => joined?,
            Err(_) => {
                let fault =
                    Fault::new("Portway failed to join the files", "please report it, with the files");
                return Err(vec![Misfit { report: Report::about_file(&main, fault), name: main }]);
            }
        },
    };
    match server.apply(&compiled).await {
        Ok(plan) => Ok((plan, compiled.into_files())),
        Err(report) => {
            let names = compiled.files().included().values().map(|file| file.name());
            let about = |name: &str| Some(Misfit { name: name.to_owned(), report: report.about(name)? });
            let misfits: Vec<Misfit> = names.chain([&*main]).filter_map(about).collect();
            Err(if misfits.is_empty() { vec![Misfit { name: main, report }] } else { misfits })
        }
    }
}

/// What is known of a text on disk that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Whoever follows its file has told nothing yet: the text may lack something.
    Unknown,
    /// Its edit was refused because of others.
    Waits,
    /// It ran, and was rolled back; or it looks cut off, or half written. Nobody takes it along.
    Held,
}

/// What else is on disk: looked for once in an edit, however many of its own files fall out.
pub(super) struct Beside {
    /// Whose events tell which files are open for writing.
    events: FsEventSource,
    others: Option<Vec<Other>>,
    until: Instant,
}

impl Beside {
    /// For an edit that begins now.
    pub fn new(events: &FsEventSource) -> Beside {
        Beside { events: events.clone(), others: None, until: Instant::now() + MOST_TIME }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// What runs after an edit, if that fits.
pub(super) struct Wanted<'w> {
    /// What runs before. `None`: the main file, which is edited, included nothing.
    pub running: Option<&'w RouteFiles>,
    pub files: RouteFiles,
    /// The first place of those that do not run yet.
    pub newest: usize,
    /// Whether it is tried once more. Then only others that wait as well are tried with it: whoever else has news will try it
    /// together with them.
    pub tried: bool,
    /// What is known of a text of the file at this path; of the main one: `None`.
    pub standing: &'w dyn Fn(Option<&Path>, &RouteFile) -> Standing,
    pub beside: &'w mut Beside,
}

impl Wanted<'_> {
    /// Makes this what runs, together with what it needs of what else is on disk.
    pub async fn put_in_force(mut self, server: &mut Server) -> Result<(Plan, RouteFiles), Vec<Misfit>> {
        let (lost, mut others) = (lost(&self.files, server), Vec::new());
        if lost > 0 {
            others = self.others().await;
            if let Ok(done) = self.with_others(&mut others, lost - 1, server).await {
                return Ok(done);
            }
        }
        let alone = match put_in_force(self.files.clone(), self.newest, server).await {
            Ok(done) => return Ok(done),
            Err(misfits) => misfits,
        };
        if lost == 0 {
            others = self.others().await;
        }
        // Of those who have told, fewer may be to blame.
        let together = self.with_others(&mut others, usize::MAX, server).await;
        together.map_err(|fewer| if (1..alone.len()).contains(&fewer.len()) { fewer } else { alone })
    }

    /// Makes this what runs, together with those of the others that fit: unless more than so many routes are lost.
    async fn with_others(
        &self,
        others: &mut Vec<Other>,
        most_lost: usize,
        server: &mut Server,
    ) -> Result<(Plan, RouteFiles), Vec<Misfit>> {
        while !others.is_empty() && !self.beside.left().is_zero() {
            let (joint, before) = (self.with(others), others.len());
            let names = joint.names();
            let is_there = |name: &String| names.contains(&**name);
            let keeps_all =
                |other: &Other| other.takes_away(&self.files).is_some_and(|gone| gone.iter().all(is_there));
            others.retain(|other| other.standing == Standing::Waits || keeps_all(other));
            if others.len() < before {
                continue;
            }
            if lost(&joint, server) > most_lost {
                // Those that wait may take something away; but not where that is why it does not help.
                others.retain(keeps_all);
                if others.len() < before {
                    continue;
                }
                break;
            }
            if joint.included().len() > MOST_FILES || joint.included_bytes() > MOST_BYTES {
                break;
            }
            let misfits = match put_in_force(joint, self.newest, server).await {
                Ok(done) => return Ok(done),
                Err(misfits) => misfits,
            };
            others.retain(|other| !misfits.iter().any(|misfit| misfit.name == other.name));
            if others.len() == before {
                return Err(misfits);
            }
        }
        Err(Vec::new())
    }

    /// The files with others.
    fn with(&self, others: &[Other]) -> RouteFiles {
        let main = others.iter().filter(|other| other.path.is_none()).find_map(|other| other.file.clone());
        let mut files = main.map_or_else(|| self.files.clone(), |main| self.files.with_main(main));
        for other in others {
            match (&other.path, &other.file) {
                (Some(path), Some(file)) if files.main().includes(path) => {
                    files.insert(path.clone(), file.clone());
                }
                (Some(path), None) => files.remove(path),
                _ => {}
            }
        }
        files
    }

    /// What else is not what runs of it, and at rest. Their places are the last: what one of them claims together with one who has
    /// told stays with that one.
    async fn others(&mut self) -> Vec<Other> {
        if self.beside.others.is_none() {
            // Who reads from a disk that hangs waits for that alone.
            let mut others = within(self.beside.left(), self.at_rest()).await.unwrap_or_default();
            let mut next = self.files.next_place();
            for file in others.iter_mut().filter_map(|other| Arc::get_mut(other.file.as_mut()?)) {
                next = file.move_to(next);
            }
            self.beside.others = Some(others);
        }
        self.beside.others.clone().unwrap_or_default()
    }

    async fn at_rest(&self) -> Vec<Other> {
        let mut others = self.look().await;
        if self.tried {
            // They were at rest when they were refused.
            others.retain(|other| other.standing == Standing::Waits);
            return others;
        }
        let mut at_rest = Vec::new();
        for _ in 1..LOOKS {
            if others.is_empty() {
                break;
            }
            sleep(QUIET).await;
            let before = replace(&mut others, self.look().await);
            at_rest = others.iter().filter(|other| before.contains(other)).cloned().collect();
            if others == before {
                break;
            }
        }
        at_rest
    }

    async fn look(&self) -> Vec<Other> {
        let (files, running) = (self.files.clone(), self.running.cloned());
        let events = self.beside.events.clone();
        let mut others =
            blocking(move || on_disk(&files, running.as_ref(), &events)).await.unwrap_or_default();
        for other in &mut others {
            if let Some(file) = &other.file {
                other.standing = (self.standing)(other.path.as_deref(), file);
            }
        }
        others.retain(|other| other.standing != Standing::Held);
        others
    }
}

/// A file that is not what runs of it, and of which nobody has told.
#[derive(Clone)]
struct Other {
    /// From the folder of the main file; of that one: `None`.
    path: Option<PathBuf>,
    name: String,
    /// `None`: somebody has removed it.
    file: Option<Arc<RouteFile>>,
    standing: Standing,
}

impl Other {
    fn new(path: Option<&Path>, name: &str, file: Option<RouteFile>) -> Other {
        let file = file.map(Arc::new);
        Other { path: path.map(Path::to_owned), name: name.to_owned(), file, standing: Standing::Unknown }
    }

    /// What it would take away of files, without their having told. `None`: it looks cut off.
    fn takes_away(&self, files: &RouteFiles) -> Option<Vec<String>> {
        let runs = self
            .path
            .as_ref()
            .map_or(Some(files.main()), |path| files.included().get(path).map(|file| &**file));
        let Some(file) = &self.file else { return Some(routes(runs)) };
        let text = runs.map_or("", |runs| runs.text());
        let mut gone = taken_away(Form::Tables, text.as_bytes(), file.text().as_bytes())?;
        if self.path.is_none() {
            let dropped = files.included().iter().filter(|(path, _)| !file.includes(path));
            gone.extend(routes(dropped.map(|(_, file)| &**file)));
        }
        Some(gone)
    }
}

impl PartialEq for Other {
    fn eq(&self, other: &Other) -> bool {
        let text = |of: &Other| of.file.as_ref().map(|file| file.shared_text());
        self.name == other.name && text(self) == text(other)
    }
}

/// The names of the routes of some files.
fn routes<'f>(files: impl IntoIterator<Item = &'f RouteFile>) -> Vec<String> {
    files.into_iter().flat_map(|file| file.routes()).map(|route| route.name.clone()).collect()
}

/// How many routes of what runs files have not.
fn lost(files: &RouteFiles, server: &Server) -> usize {
    let names = files.names();
    server.table().all_routes().filter(|route| !names.contains(&*route.name)).count()
}

/// The files that are not what runs of them, but those whose edit this is: they differ from `running`. Those that are open for
/// writing do not count yet. May block.
fn on_disk(files: &RouteFiles, running: Option<&RouteFiles>, events: &FsEventSource) -> Vec<Other> {
    let is_told = |path: Option<&Path>| running.map_or(path.is_none(), |running| !files.share(running, path));
    let mut others = Vec::new();
    let main = files.main();
    if !is_told(None)
        && !events.is_open(Path::new(main.name()))
        && let Ok(content) = files::read(Path::new(main.name()))
        && let Ok(file) = RouteFile::main(main.name(), &content.bytes)
        && file.text() != main.text()
    {
        others.push(Other::new(None, main.name(), Some(file)));
    }
    let includes = others.first().and_then(|main| main.file.as_deref()).unwrap_or(main).include().to_vec();
    if includes.is_empty() {
        return others;
    }
    let found = find(files.folder(), &includes).files;
    let mut bytes = 0;
    for path in found.iter().take(MOST_FILES).filter(|path| !is_told(Some(path))) {
        let at = files.folder().join(path);
        let runs = files.included().get(path).map(|file| file.text());
        let Ok(content) = files::read(&at) else { continue };
        if runs.is_some_and(|runs| runs.as_bytes() == content.bytes) || events.is_open(&at) {
            continue;
        }
        bytes += content.bytes.len();
        let name = at.display().to_string();
        if let Ok(file) = RouteFile::included(&name, &content.bytes, path)
            && bytes <= MOST_BYTES
            && runs != Some(file.text())
        {
            others.push(Other::new(Some(path), &name, Some(file)));
        }
    }
    for (path, file) in files.included() {
        if !found.contains(path) && !is_told(Some(path)) && is_removed(&files.folder().join(path)) {
            others.push(Other::new(Some(path), file.name(), None));
        }
    }
    others
}
