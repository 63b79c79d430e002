//! The open connections of the endpoint: so many places, and who of them gives way to a newcomer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::model::Peer;
use crate::server::ADMIN_CONNECTIONS;
use crate::state::fair_share::{FairShare, PlaceId, Standing, YIELDING};
use crate::state::{ClientKey, LogOnce, lock};
use crate::tasks::Task;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Between two requests.
    pub idle: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// For a write of a part of an answer.
    pub write: Duration,
}

/// The connections of the endpoint, at most [`ADMIN_CONNECTIONS`]. They outlive a move of the endpoint.
#[derive(Debug)]
pub(super) struct Guests {
    state: Mutex<State>,
    /// Notified when a place may be had: one has left, or gives way where nobody did.
    changed: Notify,
    full: LogOnce,
}

#[derive(Debug)]
struct State {
    share: FairShare,
    tasks: HashMap<PlaceId, Task>,
}

impl Guests {
    pub fn new() -> Arc<Guests> {
        let state = State { share: FairShare::new(ADMIN_CONNECTIONS), tasks: HashMap::new() };
        Arc::new(Guests { state: Mutex::new(state), changed: Notify::new(), full: LogOnce::default() })
    }

    /// Gives a newcomer a place. If all are taken, ends the connection that gives way. Waits only while none does.
    pub async fn admit(self: &Arc<Self>, peer: &Peer) -> Guest {
        let client = peer.ip().map(ClientKey::of);
        loop {
            if let Some(id) = self.enter(client) {
                let moment = Moment { stage: Stage::Idle, since: Instant::now(), proven: false };
                let guest = Guest { guests: self.clone(), id, moment: Mutex::new(moment) };
                // The permissions of a Unix socket's file are the right to everything.
                if client.is_none() {
                    guest.proves();
                }
                return guest;
            }
            self.changed.notified().await;
        }
    }

    fn enter(&self, client: Option<ClientKey>) -> Option<PlaceId> {
        let now = Instant::now().into_std();
        let mut state = lock(&self.state);
        let State { share, tasks } = &mut *state;
        let entered = share.enter(client, now);
        if entered.is_some() {
            if self.full.ends(|| now) {
                info!(
                    gave_way = share.gave_way().iter().sum::<u64>(),
                    "the admin endpoint has free places again"
                );
            }
            return entered;
        }
        // It leaves when its task is dropped. Until then it is chosen again, and ends once.
        if let Some(id) = share.gives_way()
            && let Some(task) = tasks.remove(&id)
        {
            task.kill();
            share.note_gave_way(id);
        }
        if self.full.begins(now) {
            warn!(
                places = ADMIN_CONNECTIONS,
                "every place of the admin endpoint is taken: who has shown no right, and has been there longest, gives way"
            );
        }
        None
    }

    /// How many had to give way so far: those without a right, idle ones, and those that were waited for.
    pub fn gave_way(&self) -> [(&'static str, u64); YIELDING] {
        let [unproven, idle, waiting] = lock(&self.state).share.gave_way();
        [("unproven", unproven), ("idle", idle), ("waiting", waiting)]
    }

    /// Notes the task that serves a guest, which ends when the guest gives way.
    pub fn note_task(&self, id: PlaceId, task: Task) {
        lock(&self.state).tasks.insert(id, task);
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for a request.
    Idle,
    /// A part of a head has come.
    Head,
    /// A head has come, and the body is awaited.
    Body,
    /// The request is being answered.
    Work,
    /// Its answer is made, and not sent yet.
    Answer,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    stage: Stage,
    since: Instant,
    /// It has shown a right.
    proven: bool,
}

/// One connection. Dropping it frees its place.
#[derive(Debug)]
pub(super) struct Guest {
    pub guests: Arc<Guests>,
    pub id: PlaceId,
    moment: Mutex<Moment>,
}

impl Guest {
    /// Notes that it has shown a right.
    pub fn proves(&self) {
        self.update(|moment| moment.proven = true);
    }

    /// Notes that it has come to a stage.
    pub fn reaches(&self, stage: Stage) {
        self.update(|moment| (moment.stage, moment.since) = (stage, Instant::now()));
    }

    /// Notes that bytes have come.
    pub fn read(&self) {
        match self.stage() {
            Stage::Idle => self.reaches(Stage::Head),
            _ => self.took_part(),
        }
    }

    /// Notes that the client has taken in bytes, or sent some. Of one that has shown no right that counts for nothing: it
    /// costs nothing, and whoever floods would always be the last one heard.
    pub fn took_part(&self) {
        if lock(&self.moment).proven {
            lock(&self.guests.state).share.heard(self.id, Instant::now().into_std());
        }
    }

    /// Notes that all that was written is sent.
    pub fn sent(&self) {
        if self.stage() == Stage::Answer {
            self.reaches(Stage::Idle);
        }
    }

    pub fn stage(&self) -> Stage {
        lock(&self.moment).stage
    }

    /// When a read times out. `None`: it is that of a body, which has its own limit.
    pub fn due(&self, times: Times) -> Option<Instant> {
        let Moment { stage, since, .. } = *lock(&self.moment);
        match stage {
            Stage::Idle => Some(since + times.idle),
            Stage::Head => Some(since + times.head),
            Stage::Body | Stage::Work | Stage::Answer => None,
        }
    }

    fn update(&self, change: impl FnOnce(&mut Moment)) {
        let standing = {
            let mut moment = lock(&self.moment);
            change(&mut moment);
            match (moment.proven, moment.stage) {
                // As it was when it came.
                (false, _) => return,
                (true, Stage::Idle | Stage::Head) => Standing::Resting,
                (true, Stage::Body | Stage::Answer) => Standing::InUse,
                (true, Stage::Work) => Standing::Pinned,
            }
        };
        lock(&self.guests.state).share.stand(self.id, standing, Instant::now().into_std());
        if standing != Standing::Pinned {
            self.guests.changed.notify_one();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = lock(&self.guests.state);
        state.share.leave(self.id);
        state.tasks.remove(&self.id);
        drop(state);
        self.guests.changed.notify_one();
    }
}
