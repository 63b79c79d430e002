//! What the old process counts while its last connections end: it tells the new one, which counts it.

use std::future::pending;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::handed_state::Counts;
use super::predecessor::Predecessor;
use super::successor::Successor;
use crate::net::carrier::Carrier;
use crate::net::within;
use crate::tasks::Scope;

/// How often it is told.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the old process waits at its end until the new one has heard the last of it.
const LAST: Duration = Duration::from_secs(1);

/// Tells the new process.
pub(super) struct ToNew {
    /// The process, if this one becomes the same program once all has ended here.
    stand_in: Option<u32>,
    /// Whether that one was told to stop.
    stopped: bool,
    back: oneshot::Receiver<Successor>,
    /// What it was told in all.
    told: Counts,
    to: mpsc::Sender<Counts>,
    owner: Scope,
    ticks: Interval,
}

impl ToNew {
    /// `told`: what it knows already. `in_place`: this process becomes the same program once all has ended here.
    pub fn begin(new: Successor, told: Counts, in_place: bool) -> ToNew {
        let stand_in = new.pid().filter(|_| in_place);
        let (give, back) = oneshot::channel();
        let (to, mut counts) = mpsc::channel(1);
        let owner = Scope::new();
        owner.spawn(async move {
            while let Some(counts) = counts.recv().await {
                if new.tell(counts).await.is_err() {
                    break;
                }
            }
            // Nobody wants it if it lives without this process.
            drop(give.send(new));
        });
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ToNew { stand_in, stopped: false, back, told, to, owner, ticks }
    }

    /// Resolves when it is to be told again.
    pub async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Tells it what was counted since. While it does not listen, that waits for the next time.
    pub fn tell(&mut self, now: Counts) {
        let news = now.since(&self.told);
        if self.to.try_send(news).is_ok() {
            self.told = now;
        }
    }

    /// Passes on that the process is to stop, if the other one only stands in for it.
    pub fn stop(&mut self) {
        let Some(pid) = self.stand_in.and_then(|pid| Pid::from_raw(pid.cast_signed())) else { return };
        self.stopped = true;
        // It may have ended.
        _ = kill_process(pid, Signal::TERM);
    }

    /// Tells it the last of it. Returns it if this process is to become the same program.
    pub async fn end(self, now: Counts) -> Option<StandIn> {
        let last = async {
            // It fails if the new process has ended.
            drop(self.to.send(now.since(&self.told)).await);
            drop(self.to);
            self.back.await.ok()
        };
        let new = within(LAST, last).await.ok().flatten();
        self.owner.kill();
        new.filter(|_| self.stand_in.is_some()).map(|new| StandIn { new, stopped: self.stopped })
    }
}

/// The process that serves while this one becomes the same program.
pub(super) struct StandIn {
    pub new: Successor,
    /// It was told to stop, and so was this one.
    pub stopped: bool,
}

/// Hears the old process, as long as it lives.
#[derive(Debug)]
pub(super) struct FromOld(mpsc::Receiver<Heard>);

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// What it has counted since it said so last.
    Counts(Counts),
    /// It takes over from this process, through this.
    TakesBack(Carrier),
}

impl FromOld {
    /// `owner`: of the task that listens.
    pub fn begin(old: Predecessor, owner: &Scope) -> FromOld {
        let (to, counts) = mpsc::channel(1);
        owner.spawn(async move {
            loop {
                let heard = match old.counted().await {
                    Ok(Some(counts)) => Heard::Counts(counts),
                    // The last that it says.
                    Ok(None) => return drop(to.send(Heard::TakesBack(old.carrier)).await),
                    Err(_) => return,
                };
                if to.send(heard).await.is_err() {
                    return;
                }
            }
        });
        FromOld(counts)
    }
}

/// What the old process says, and no counts once it has ended: then it is forgotten. Never resolves if there is none.
pub(super) async fn heard(from: &mut Option<FromOld>) -> Heard {
    let Some(FromOld(said)) = from else { return pending().await };
    match said.recv().await {
        Some(heard) => heard,
        None => {
            *from = None;
            Heard::Counts(Counts::default())
        }
    }
}

/// Resolves when somebody is to be told.
pub(super) async fn due(to_new: &mut Option<ToNew>) {
    match to_new {
        Some(to_new) => to_new.due().await,
        None => pending().await,
    }
}
