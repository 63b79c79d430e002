//! Active checks: one task for each upstream and way of checking it, for as long as a route wants it.

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

/// The first checks of all upstreams come within this time, or within the interval.
const SPREAD: Duration = Duration::from_secs(1);

/// An upstream that is checked. Its checks end when it is dropped.
#[derive(Debug)]
pub struct Check {
    /// What they have found.
    pub state: Arc<Checked>,
    /// How often it went down by them.
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

    /// How often it went down by them, for those who want to know of the next time.
    pub fn downs(&self) -> watch::Receiver<u64> {
        self.downs.subscribe()
    }
}

/// Where a task notes what its checks find.
struct Found {
    state: Arc<Checked>,
    downs: watch::Sender<u64>,
}

/// Checks until the task is ended.
async fn keep(endpoint: Arc<Endpoint>, how: HealthCheck, found: Found, context: Arc<Context>) {
    sleep(SPREAD.min(how.interval).mul_f64(fastrand::f64())).await;
    loop {
        let begun = Instant::now();
        let result = {
            // Nobody closes it. Where there is none, the check is late, and says no less.
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
        // Nine to eleven tenths: what began together does not stay so.
        sleep_until(begun + how.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

fn learn(endpoint: &Endpoint, result: Result<(), String>, found: &Found, context: &Context) {
    let upstream = endpoint.state.addr();
    let error = result.as_ref().err().cloned().unwrap_or_default();
    match found.state.learn(result, Instant::now().into_std()) {
        None => return,
        Some(Turn::Down(times)) => {
            warn!(%upstream, error, "upstream is down: its check fails");
            found.downs.send_replace(times);
        }
        Some(Turn::Up(time)) => {
            info!(%upstream, down_for = %units::show_millis(time), "upstream is up again: its check passes");
        }
    }
    context.news.send();
}
