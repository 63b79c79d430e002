//! Undoes an edit that has made things worse: an ordinary edit, back to what ran before. The file keeps its text, and is pending.

use std::sync::Arc;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use tokio::time::Instant;
use tracing::{info, warn};

use super::edit::{Edits, compile};
use super::followed_list::InForce;
use super::history::Judged;
use super::include_set::joined;
use super::probation::Former;
use super::pull::Undone;
use super::running::Server;
use super::summary::summary;
use super::together::put_in_force;
use crate::config::{Plan, Report, RouteFiles};
use crate::model::Fault;
use crate::state::probation::{Verdict, Worse};

impl Edits {
    /// Looks at what is on probation. Returns whether what runs has changed.
    pub(super) async fn look(&mut self, server: &mut Server) -> bool {
        match self.probation.look(Instant::now().into_std(), server) {
            Verdict::Open => false,
            Verdict::Passed => {
                info!(generation = server.generation(), "probation passed");
                false
            }
            Verdict::Worse(worse) => self.roll_back(&worse, server).await,
        }
    }

    /// The text of the main file that was rolled back, until it has another one.
    pub(super) fn undone(&self) -> Option<Undone> {
        let (text, report) = self.probation.undone.as_ref()?;
        Some(Undone { text: text.clone(), runs: self.file.running().clone(), why: report.headline() })
    }

    async fn roll_back(&mut self, worse: &Worse, server: &mut Server) -> bool {
        let Some(former) = self.probation.take_former(Instant::now().into_std()) else { return false };
        let edited = |now: &InForce, old: &InForce| !Arc::ptr_eq(&now.set, &old.set);
        let now = server.lists.in_force();
        let lists: Vec<_> = former
            .lists
            .iter()
            .filter(|(path, old)| now.get(*path).is_some_and(|now| edited(now, old)))
            .collect();
        match self.run_again(&former, server).await {
            // An edit has brought back by itself what ran before.
            Ok((plan, _)) if plan.is_empty() && lists.is_empty() => false,
            Ok((plan, files)) => {
                let why = why(worse);
                lists.into_iter().for_each(|(path, old)| server.lists.undo(path, old.clone(), why.clone()));
                self.rolled_back(&former, files, why, server).await;
                let (route, generation) = (&worse.route, server.generation());
                warn!(
                    route,
                    generation,
                    plan = summary(&plan),
                    "edit rolled back: {worse}; `portway reload --keep` takes it as it is"
                );
                !plan.is_empty()
            }
            Err(report) => {
                warn!(
                    headline = report.headline(),
                    report = %report,
                    "an edit makes things worse ({worse}), and what ran before cannot run again"
                );
                false
            }
        }
    }

    /// Puts into force what ran before.
    async fn run_again(&self, former: &Former, server: &mut Server) -> Result<(Plan, RouteFiles), Report> {
        let files = match &former.files {
            Some(files) => RouteFiles::clone(files),
            None => RouteFiles::new(compile(self.file.name(), &former.main).await?),
        };
        let newest = files.next_place();
        put_in_force(files, newest, server).await.map_err(joined)
    }

    /// Notes that these files run again, and why those on disk do not.
    async fn rolled_back(&mut self, former: &Former, files: RouteFiles, why: Fault, server: &Server) {
        if former.main != *self.file.running() {
            let report = Report::about_file(self.file.name(), why.clone());
            self.probation.undone = Some((self.file.running().clone(), report.clone()));
            self.file.undo(former.main.clone(), report);
        }
        self.includes.rolled_back(files, &why, &server.root).await;
        self.probation.lists = server.lists.in_force();
        self.file.target.note(Judged::RolledBack);
    }
}

fn why(worse: &Worse) -> Fault {
    Fault::new(
        format!("rolled back at {}: {worse}", time_of_day(SystemTime::now())),
        "`portway reload --keep` takes it as it is; another edit is taken as usual",
    )
}

/// "12:03:11 UTC"
fn time_of_day(at: SystemTime) -> String {
    let text = format_rfc3339_seconds(at).to_string();
    let time = text.split_once('T').map_or(&*text, |(_, time)| time);
    format!("{} UTC", time.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_of_day_says_of_which_place() {
        assert_eq!(time_of_day(SystemTime::UNIX_EPOCH + Duration::from_secs(43_391)), "12:03:11 UTC");
    }
}
