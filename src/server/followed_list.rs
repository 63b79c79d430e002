//! Follows the file of one list of networks: what is new is in force at once, and on probation as an edit of the routes is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::named_file::NamedFile;
use crate::config::{Report, network_list};
use crate::files::{FollowedFile, How, Link, Reading, Refused, Seen};
use crate::model::{Fault, NetworkSet};
use crate::proxy::route::LiveList;
use crate::state::lock;

/// A text that is in force, and what it says.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The text of the file.
    pub text: Arc<[u8]>,
    /// Its networks.
    pub set: Arc<NetworkSet>,
    /// Whether somebody has asked to take it as it is.
    pub kept: bool,
}

/// What the task of a list shares with the server.
#[derive(Debug)]
pub struct ListLink {
    live: Arc<LiveList>,
    now: Mutex<InForce>,
    /// What is to be in force again, and why.
    former: Mutex<Option<(InForce, Fault)>>,
    undo: Notify,
    keeps: AtomicBool,
}

impl ListLink {
    /// Of a list whose text is in force.
    pub fn new(text: Arc<[u8]>, live: Arc<LiveList>) -> Self {
        let (former, undo, keeps) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        let now = Mutex::new(InForce { text, set: live.load_full(), kept: false });
        ListLink { live, now, former, undo, keeps }
    }

    /// What is in force.
    pub fn in_force(&self) -> InForce {
        lock(&self.now).clone()
    }

    /// Puts into force again what was before, for this reason.
    pub fn undo(&self, former: InForce, why: Fault) {
        // At once: the task comes later.
        self.put(&former);
        *lock(&self.former) = Some((former, why));
        self.undo.notify_one();
    }

    /// Takes the file as it is when it is asked for next.
    pub fn keep(&self) {
        self.keeps.store(true, Ordering::Relaxed);
    }

    fn put(&self, new: &InForce) {
        let mut now = lock(&self.now);
        self.live.store(new.set.clone());
        *now = new.clone();
    }
}

/// Follows a file until its task is killed.
pub async fn follow(mut file: FollowedFile<Arc<ListLink>>, link: Arc<Link<Option<NamedFile>>>) {
    let list = file.target.clone();
    // The text that was rolled back, and why.
    let mut undone = None;
    loop {
        show(&file, &link);
        tokio::select! {
            reading = file.next() => {
                let answers = reading.how == How::Asked;
                let news = take_in(&mut file, reading, &mut undone).await;
                show(&file, &link);
                if let Some(news) = news {
                    news.log(file.name());
                    if let News::Taken { .. } = news {
                        link.took(file.name());
                    }
                }
                if answers {
                    link.answer();
                }
            }
            () = link.asked() => file.ask(),
            () = list.undo.notified() => {
                let Some((former, why)) = lock(&list.former).take() else { continue };
                let report = Report::about_file(file.name(), why);
                undone = Some((file.running().clone(), report.clone()));
                file.undo(former.text, report);
            }
        }
    }
}

/// What others see of it.
fn show(file: &FollowedFile<Arc<ListLink>>, link: &Link<Option<NamedFile>>) {
    let (name, pending) = (file.name().to_owned(), file.pending().cloned());
    link.show(Some(NamedFile { name, pending, ..NamedFile::default() }));
}

/// What there is to say of a list. It is said once others see it: who reads a line of the log looks there next.
enum News {
    Taken { ranges: usize },
    Healed,
    Refused(Report),
}

impl News {
    fn log(&self, file: &str) {
        match self {
            News::Taken { ranges } => info!(file, ranges, "list taken over"),
            News::Healed => info!(file, "list healed: what is in force is what the file says"),
            News::Refused(report) => warn!(
                headline = report.headline(),
                report = %report,
                "list refused: the one before stays in force, until the file is mended"
            ),
        }
    }
}

/// Takes in a reading of a list's file.
async fn take_in(
    file: &mut FollowedFile<Arc<ListLink>>,
    mut reading: Reading,
    undone: &mut Option<(Arc<[u8]>, Report)>,
) -> Option<News> {
    let keeps = reading.how == How::Asked && file.target.keeps.swap(false, Ordering::Relaxed);
    let text = match file.see(&mut reading).await {
        Seen::Known => return None,
        Seen::Runs => return file.took(&reading, file.running().clone()).map(|_| News::Healed),
        Seen::Faulty(report) => return refuse(file, &reading, report),
        Seen::Text(text) => text,
    };
    if let Some((_, report)) = undone.as_ref().filter(|(undone, _)| *undone == text && !keeps) {
        // It is known, and was told.
        let _ = file.refuse(&reading, report.clone(), false);
        return None;
    }
    let emptied = text.is_empty() && !file.running().is_empty() && reading.how != How::Asked;
    let list = if emptied {
        let cure = "if nobody is meant, write a line with a comment: # nobody";
        Err(Report::about_file(file.name(), Fault::new("the list is empty", cure)))
    } else {
        network_list(file.name(), &text)
    };
    match list {
        Err(report) => refuse(file, &reading, report),
        Ok(set) => {
            let ranges = set.len();
            file.target.put(&InForce { text: text.clone(), set: Arc::new(set), kept: keeps });
            // This clears the pending fault; the news report it.
            drop(file.took(&reading, text));
            *undone = None;
            Some(News::Taken { ranges })
        }
    }
}

fn refuse(file: &mut FollowedFile<Arc<ListLink>>, reading: &Reading, report: Report) -> Option<News> {
    let refused = file.refuse(reading, report.clone(), false);
    (refused == Refused::New).then_some(News::Refused(report))
}
