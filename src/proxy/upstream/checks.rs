//! Active checks: one task per upstream and kind of check, while any route uses it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::context::Context;
use super::endpoint::Endpoint;
use crate::model::{HealthCheck, units};
use crate::net::CheckError;
use crate::state::{Checked, Turn};
use crate::tasks::Scope;

/// The first checks are spread over this time, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(1);

/// The check of one upstream. Dropping it ends the checks.
#[derive(Debug)]
pub struct Check {
    /// What the checks have found.
    pub state: Arc<Checked>,
    /// How often the checks have found it down.
    downs: watch::Sender<u64>,
    task: Scope,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.kill();
    }
}

impl Check {
    pub(super) fn begin(endpoint: Arc<Endpoint>, how: HealthCheck, context: &Arc<Context>) -> Check {
        let state = Arc::new(Checked::new(how.rise, how.fall));
        let downs = watch::Sender::new(0);
        let task = context.scope.child();
        task.spawn(keep(
            endpoint,
            how,
            Found { state: state.clone(), downs: downs.clone() },
            context.clone(),
        ));
        Check { state, downs, task }
    }

    /// How often the checks have found it down. Changes with the next time.
    pub fn downs(&self) -> watch::Receiver<u64> {
        self.downs.subscribe()
    }
}

/// Where a task notes what its checks find.
struct Found {
    state: Arc<Checked>,
    downs: watch::Sender<u64>,
}

/// Checks an upstream until the task is killed.
async fn keep(endpoint: Arc<Endpoint>, how: HealthCheck, found: Found, context: Arc<Context>) {
    sleep(SPREAD.min(how.interval).mul_f64(fastrand::f64())).await;
    loop {
        let begun = Instant::now();
        let result = {
            // Never closed. A check that waits for a permit is late, but no less valid.
            let _turn = context.check_slots.acquire().await;
            endpoint.check(&how).await
        };
        let result = match result {
            Err(CheckError::Denied(_)) => None,
            Err(CheckError::Failed(why)) => Some(Err(why)),
            Ok(()) => Some(Ok(())),
        };
        if let Some(result) = result {
            found.state.ended(begun.into_std(), Instant::now().into_std());
            if result.is_ok() && how.port.is_none() {
                endpoint.passed();
            }
            learn(&endpoint, result, &found, &context);
        }
        // 0.9 to 1.1 of the interval, so that checks that began together drift apart.
        sleep_until(begun + how.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

fn learn(endpoint: &Endpoint, result: Result<(), String>, found: &Found, context: &Context) {
    let (upstream, protocol) = (endpoint.state.addr(), endpoint.key().protocol.label());
    let error = result.as_ref().err().cloned().unwrap_or_default();
    match found.state.learn(result, Instant::now().into_std()) {
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
