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
use crate::config::{Misfit, Plan, Report, RouteFile, RouteFiles, join};
use crate::model::Fault;

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
    /// Takes in what the tasks have told.
    /// `keeps`: also those that were rolled back.
    pub async fn take_in(&mut self, told: Vec<Told>, keeps: bool, server: &mut Server) -> Taken {
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
                // A task that is followed no longer has nobody to answer to.
                Told::Text(path, ..) | Told::Gone(path, _) if !self.tasks.contains_key(&path) => {}
                Told::Text(path, file, answer) => match self.rolled_back.remove(&path) {
                    Some((text, report)) if text == file.text() && !keeps => {
                        drop(answer.send(Err(report.clone())));
                        self.rolled_back.insert(path, (text, report));
                    }
                    _ => news.push(Newcomer { path, file: file.into(), answer }),
                },
                Told::Gone(path, answer) => gone.push((path, answer)),
            }
        }
        if !news.is_empty() || !gone.is_empty() {
            taken.edited = self.edit(news, gone, server).await;
        }
        taken
    }

    /// Puts files into force, and takes others out. Who does not fit stays out, and the rest is tried without it.
    async fn edit(
        &mut self,
        news: Vec<Newcomer>,
        gone: Vec<(PathBuf, Answer)>,
        server: &mut Server,
    ) -> Option<Edited> {
        let running = self.running.clone()?;
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
            match put_in_force(wanted, newest, server).await {
                Ok((plan, files)) => {
                    self.running = Some(Arc::new(files));
                    return Some(Edited { news, gone, plan });
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
            task.waits = true;
        }
        drop(new.answer.send(Err(report)));
    }

    /// Notes and logs what runs now, and answers. The caller has put it on probation: who comes from now on is a client of the
    /// new texts.
    pub fn took(&mut self, Edited { news, gone, plan }: Edited, server: &Server) {
        let changed = !plan.is_empty();
        let names: Vec<&Path> =
            news.iter().map(|new| &*new.path).chain(gone.iter().map(|(path, _)| &**path)).collect();
        let file = listed(&names);
        let generation = server.generation();
        if plan.is_empty() {
            info!(generation, file, "nothing changed: the file says the same as before");
        } else {
            let (routes, listeners) = (server.table().routes.len(), server.listeners());
            let what = summary(&plan);
            info!(generation, file, plan = what, routes, listeners, "reloaded");
            self.changes.push(what);
        }
        for Newcomer { path, answer, .. } in news {
            self.tasks.get_mut(&path).into_iter().for_each(|task| task.waits = false);
            drop(answer.send(Ok(())));
        }
        for (path, answer) in gone {
            drop(answer.send(Ok(())));
            self.unanswered.remove(&path);
            self.tasks.remove(&path).into_iter().for_each(|task| task.scope.kill());
            // If it has come back meanwhile, that was no news.
            self.folders.iter().for_each(|folders| folders.link.ask(self.asked.max(1)));
        }
        if changed {
            self.again();
        }
    }
}

/// An edit that was carried out.
#[derive(Debug)]
pub(super) struct Edited {
    news: Vec<Newcomer>,
    gone: Vec<(PathBuf, Answer)>,
    /// What has changed.
    pub plan: Plan,
}

impl Edited {
    /// Of how many files.
    pub fn files(&self) -> u64 {
        (self.news.len() + self.gone.len()) as u64
    }
}

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
