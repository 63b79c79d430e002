//! Edits of included files. Each is a transaction of its own: its task has compiled it, and here it joins the others, or
//! stays out. Those that come together are carried out together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use super::include_set::{MOST_BYTES, joined, too_large};
use super::included_file::{Answer, Told};
use super::includes::Includes;
use super::running::Server;
use super::summary::summary;
use super::together::{Beside, Standing, Wanted};
use crate::config::{Misfit, Plan, Report, RouteFile, RouteFiles};

/// What became of what the tasks have told.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// What was carried out, and is not told yet. `None`: there was nothing to do.
    pub edited: Option<Edited>,
    /// Edits that were refused.
    pub refused: u64,
}

/// A text that is to run.
#[derive(Debug)]
struct Newcomer {
    path: PathBuf,
    file: Arc<RouteFile>,
    answer: Answer,
}

impl Includes {
    /// Takes in what the tasks have told. `held`: texts of the main file that nobody takes along.
    pub async fn take_in(&mut self, told: Vec<Told>, held: Vec<Arc<[u8]>>, server: &mut Server) -> Taken {
        let (mut taken, mut news, mut gone) = (Taken::default(), Vec::new(), Vec::new());
        for told in told {
            match told {
                Told::Refused => taken.refused += 1,
                Told::Answered(path, asked) => {
                    if asked == self.asked {
                        self.unanswered.remove(&path);
                    }
                }
                Told::Found(found, asked) => self.found(found, asked, &server.root),
                // A task that has been ended waits for no answer.
                Told::Text(path, _, answer) | Told::Gone(path, answer)
                    if answer.is_closed() || !self.tasks.contains_key(&path) => {}
                Told::Text(path, file, answer) => {
                    if let Some(answer) = self.unless_rolled_back(&path, Some(file.text()), answer) {
                        news.push(Newcomer { path, file: file.into(), answer });
                    }
                }
                Told::Gone(path, answer) => {
                    if let Some(answer) = self.unless_rolled_back(&path, None, answer) {
                        gone.push((path, answer));
                    }
                }
            }
        }
        if !news.is_empty() || !gone.is_empty() {
            taken.edited = self.edit(news, gone, held, server).await;
        }
        taken
    }

    /// Refuses what was rolled back, and gives back the answer for anything else: of that file nothing is refused any more.
    fn unless_rolled_back(&mut self, path: &Path, text: Option<&str>, answer: Answer) -> Option<Answer> {
        let Some((was, report)) = self.rolled_back.get(path) else { return Some(answer) };
        if was.as_deref() == text {
            drop(answer.send(Err(report.clone())));
            return None;
        }
        self.rolled_back.remove(path);
        Some(answer)
    }

    /// Puts another main file into force. `tried`: it was refused before, because of others.
    pub async fn put_main(
        &self,
        mut main: RouteFile,
        tried: bool,
        server: &mut Server,
    ) -> Result<(Plan, RouteFiles), Vec<Misfit>> {
        let newest = self.running.as_ref().map_or(0, |running| running.next_place());
        main.move_to(newest);
        let files = match &self.running {
            Some(running) => running.with_main(main),
            None => RouteFiles::new(main),
        };
        let standing = |path: Option<&Path>, file: &RouteFile| {
            path.map_or(Standing::Unknown, |path| self.standing(path, file.text()))
        };
        let (running, mut beside) = (self.running.as_deref(), Beside::new(&self.events));
        let wanted = Wanted { running, files, newest, tried, standing: &standing, beside: &mut beside };
        wanted.put_in_force(server).await
    }

    fn standing(&self, path: &Path, text: &str) -> Standing {
        let is_it = |other: &Option<Arc<str>>| other.as_deref() == Some(text);
        if self.rolled_back.get(path).is_some_and(|(other, _)| is_it(other)) {
            return Standing::Held;
        }
        match self.tasks.get(path) {
            Some(task) if task.link.holds(text) => Standing::Held,
            Some(task) if is_it(&task.waits) => Standing::Waits,
            _ => Standing::Unknown,
        }
    }

    /// Puts files into force, and takes others out. Who does not fit stays out, and the rest is tried without it.
    async fn edit(
        &mut self,
        news: Vec<Newcomer>,
        gone: Vec<(PathBuf, Answer)>,
        held: Vec<Arc<[u8]>>,
        server: &mut Server,
    ) -> Option<Edited> {
        let (running, mut beside) = (self.running.clone()?, Beside::new(&self.events));
        let mut files = RouteFiles::clone(&running);
        gone.iter().for_each(|(path, _)| files.remove(path));
        let newest = running.next_place();
        let mut news = self.within_bounds(news, &files, newest);
        loop {
            let mut wanted = files.clone();
            news.iter().for_each(|new| wanted.insert(new.path.clone(), new.file.clone()));
            if news.is_empty() && gone.is_empty() {
                return None;
            }
            let standing = |path: Option<&Path>, file: &RouteFile| match path {
                Some(path) => self.standing(path, file.text()),
                None if held.iter().any(|held| **held == *file.text().as_bytes()) => Standing::Held,
                None if self.main_waits.as_deref() == Some(file.text()) => Standing::Waits,
                None => Standing::Unknown,
            };
            let tried = news.iter().all(|new| self.standing(&new.path, new.file.text()) == Standing::Waits);
            let wanted = Wanted {
                running: Some(&running),
                files: wanted,
                newest,
                tried: tried && gone.is_empty(),
                standing: &standing,
                beside: &mut beside,
            };
            match wanted.put_in_force(server).await {
                Ok((plan, files)) => {
                    let is_main = !files.share(&running, None);
                    let main = is_main.then(|| files.main().text().as_bytes().into());
                    let told: Vec<&Path> = news.iter().map(|new| &*new.path).collect();
                    let gone: Vec<&Path> = gone.iter().map(|(path, _)| &**path).collect();
                    let others = self.others(&files, &told, &gone);
                    return Some(Edited { news, others, main, files, plan });
                }
                Err(misfits) => {
                    let (out, fit) = split(news, &misfits);
                    if out.is_empty() {
                        // Nobody by name: all of them.
                        let report = joined(misfits);
                        fit.into_iter().for_each(|new| self.refuse(new, report.clone()));
                        gone.into_iter().for_each(|(_, answer)| drop(answer.send(Err(report.clone()))));
                        return None;
                    }
                    news = fit;
                    out.into_iter().for_each(|(new, report)| self.refuse(new, report));
                }
            }
        }
    }

    /// Gives newcomers their places, as long as all together have no more than [`MOST_BYTES`]. One that runs already is
    /// answered.
    fn within_bounds(&mut self, news: Vec<Newcomer>, files: &RouteFiles, newest: usize) -> Vec<Newcomer> {
        let (mut next, mut bytes, mut kept) = (newest, files.included_bytes(), Vec::new());
        for mut new in news {
            let old = files.included().get(&new.path).map(|file| file.text());
            if old == Some(new.file.text()) {
                drop(new.answer.send(Ok(())));
                continue;
            }
            let all = bytes + new.file.text().len() - old.map_or(0, str::len);
            if all > MOST_BYTES {
                let report = Report::about_file(new.file.name(), too_large(all));
                self.refuse(new, report);
                continue;
            }
            bytes = all;
            // Nobody else has it yet.
            if let Some(file) = Arc::get_mut(&mut new.file) {
                next = file.move_to(next);
            }
            kept.push(new);
        }
        kept
    }

    fn refuse(&mut self, new: Newcomer, report: Report) {
        if let Some(task) = self.tasks.get_mut(&new.path) {
            task.waits = Some(new.file.shared_text());
        }
        drop(new.answer.send(Err(report)));
    }

    /// Notes and logs what runs now, and answers. The caller has put it on probation: who comes from now on is a client of the
    /// new texts.
    pub async fn took(&mut self, Edited { news, others, main, files, plan }: Edited, server: &Server) {
        let changed = !plan.is_empty();
        let main = main.as_ref().map(|_| Path::new(files.main().name()));
        let included = news.iter().map(|new| &*new.path).chain(others.iter().map(PathBuf::as_path));
        let names: Vec<&Path> = included.chain(main).collect();
        let file = listed(&names);
        let generation = server.generation();
        if plan.is_empty() {
            info!(generation, file, "nothing changed: what the files say is what runs");
        } else {
            let (routes, listeners) = (server.table().routes.len(), server.listeners());
            let what = summary(&plan);
            info!(generation, file, plan = what, routes, listeners, "reloaded");
            self.changes.push(what);
        }
        for Newcomer { path, answer, .. } in news {
            self.tasks.get_mut(&path).into_iter().for_each(|task| task.waits = None);
            drop(answer.send(Ok(())));
        }
        self.runs(files, &others, &server.root).await;
        if changed {
            self.again();
        }
    }
}

/// An edit that was carried out.
#[derive(Debug)]
pub(super) struct Edited {
    news: Vec<Newcomer>,
    /// Those of which another text runs now, or none, without their having told it.
    others: Vec<PathBuf>,
    /// The text of the main file, if that is one of them.
    pub main: Option<Arc<[u8]>>,
    files: RouteFiles,
    /// What has changed.
    pub plan: Plan,
}

impl Edited {
    /// Of how many files.
    pub fn files(&self) -> u64 {
        (self.news.len() + self.others.len()) as u64
    }
}

/// Those that do not fit, each with its report, and the others.
fn split(news: Vec<Newcomer>, misfits: &[Misfit]) -> (Vec<(Newcomer, Report)>, Vec<Newcomer>) {
    let (mut out, mut fit) = (Vec::new(), Vec::new());
    for new in news {
        match misfits.iter().find(|misfit| misfit.name == new.file.name()) {
            Some(misfit) => out.push((new, misfit.report.clone())),
            None => fit.push(new),
        }
    }
    (out, fit)
}

/// The first few paths.
fn listed(paths: &[&Path]) -> String {
    const SHOWN: usize = 3;
    let shown =
        paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
