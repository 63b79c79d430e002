//! Active checks: one task per upstream and kind of check, while any route uses it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::context::Context;
use super::endpoint::Endpoint;
use super::own_header::OwnHeader;
use crate::model::{HealthCheck, Protocol, units};
use crate::net::{CheckError, Finding, PARTING};
use crate::state::{Checked, Turn};
use crate::tasks::Scope;

/// The first checks are spread over this time, or over the interval if that is shorter; of several nodes, over so many times that.
const SPREAD: Duration = Duration::from_secs(1);

/// What the checks of one upstream find. It does not keep them going: a session may outlive its route by far.
#[derive(Clone, Debug)]
pub struct Check {
    /// What the checks have found.
    pub state: Arc<Checked>,
    /// How often the checks have found it down.
    downs: watch::Receiver<u64>,
}

/// The checks of one upstream. Dropping it ends them.
#[derive(Debug)]
pub struct RunningCheck {
    found: Check,
    task: Scope,
}

impl Drop for RunningCheck {
    fn drop(&mut self) {
        self.task.kill();
    }
}

impl Check {
    /// How often the checks have found it down. Changes with the next time.
    pub fn downs(&self) -> watch::Receiver<u64> {
        self.downs.clone()
    }
}

impl RunningCheck {
    /// `state`: what is known already.
    pub(super) fn begin(
        endpoint: Arc<Endpoint>,
        how: How,
        state: Arc<Checked>,
        context: &Arc<Context>,
    ) -> RunningCheck {
        let downs = watch::Sender::new(state.downs());
        let task = context.scope.child();
        let found = Check { state: state.clone(), downs: downs.subscribe() };
        let (how, to, context) = (Arc::new(how), Arc::new(Found { state, downs }), context.clone());
        task.keep(move || keep(endpoint.clone(), how.clone(), to.clone(), context.clone()));
        RunningCheck { found, task }
    }

    /// What they find.
    pub fn found(&self) -> Check {
        self.found.clone()
    }
}

/// How an upstream is checked.
#[derive(Debug)]
pub(super) struct How {
    pub check: HealthCheck,
    /// What its connections begin with.
    pub header: OwnHeader,
}

/// Where a task notes what its checks find.
struct Found {
    state: Arc<Checked>,
    downs: watch::Sender<u64>,
}

/// Checks an upstream until the task is killed.
async fn keep(endpoint: Arc<Endpoint>, how: Arc<How>, found: Arc<Found>, context: Arc<Context>) {
    let How { check, header } = &*how;
    let mut nodes = context.nodes.subscribe();
    let first = SPREAD.min(check.interval).mul_f64(fastrand::f64());
    pass_for_each(Instant::now(), first, &mut nodes).await;
    loop {
        let begun = Instant::now();
        {
            // Never closed. A check that waits for a permit is late, but no less valid.
            let _turn = context.check_slots.acquire().await;
            let Finding { result, connection } = endpoint.check(check, *header).await;
            let result = match result {
                Err(CheckError::Denied(_)) => None,
                Err(CheckError::Failed(why)) => Some(Err(why)),
                Ok(()) => Some(Ok(())),
            };
            if let Some(result) = result {
                if result.is_ok() && proves(&endpoint, check) {
                    endpoint.passed();
                }
                learn(&endpoint, result, begun, &found, &context);
            }
            // Last: the verdict does not wait for the end of the connection.
            if let Some(connection) = connection {
                connection.part(PARTING).await;
            }
        }
        // 0.9 to 1.1 of the interval, so that checks that began together drift apart.
        let pause = check.interval.mul_f64(0.9 + 0.2 * fastrand::f64());
        pass_for_each(begun, pause, &mut nodes).await;
    }
}

/// Waits until this time has passed once for each node that shares the checks, so that an upstream sees no more of them than
/// from one. If that number changes meanwhile, so does the wait.
async fn pass_for_each(begun: Instant, time: Duration, nodes: &mut watch::Receiver<u32>) {
    loop {
        let due = begun + time * *nodes.borrow_and_update();
        tokio::select! {
            () = sleep_until(due) => return,
            // On an error the process is stopping.
            changed = nodes.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether a check that passes shows that the upstream takes clients: it must be at their port, and over UDP it must have
/// answered.
fn proves(endpoint: &Endpoint, check: &HealthCheck) -> bool {
    let answers = endpoint.key().protocol == Protocol::Tcp || check.expects();
    check.port.is_none() && answers
}

fn learn(endpoint: &Endpoint, result: Result<(), String>, begun: Instant, found: &Found, context: &Context) {
    let (upstream, protocol) = (endpoint.state.addr(), endpoint.key().protocol.label());
    let error = result.as_ref().err().cloned().unwrap_or_default();
    match found.state.learn(result, begun.into_std(), Instant::now().into_std()) {
        None => return,
        Some(Turn::Down(times)) => {
            warn!(%upstream, protocol, error, "upstream is down: its check fails");
            found.downs.send_replace(times);
        }
        Some(Turn::Up(time)) => {
            info!(%upstream, protocol, down_for = %units::show_millis(time), "upstream is up again: its check passes");
        }
    }
    context.news.send();
}
