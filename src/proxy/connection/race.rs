//! Races the addresses of one name, so that one that does not answer costs little (RFC 8305).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::attempt::{Connection, note_failed};
use crate::model::Peer;
use crate::net::Stream;
use crate::net::dial::DialOptions;
use crate::proxy::record::RecordGuard;
use crate::proxy::route::Candidates;
use crate::proxy::upstream::AttemptError;
use crate::state::{Step, Walk};

/// How long an attempt runs alone before the next address is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type Dial<'c> = Pin<Box<dyn Future<Output = Result<(Stream, Peer), AttemptError>> + Send + 'c>>;

/// An attempt in progress.
struct Runner<'c> {
    step: Step,
    begun: Instant,
    checked_downs: u64,
    dial: Dial<'c>,
}

/// Tries the address of `first`, then the others of its name: the next one once an attempt has failed, or
/// [`ATTEMPT_DELAY`] after the last. `None`: none connects.
pub(super) async fn race(
    candidates: &Candidates,
    walk: &mut Walk,
    first: Step,
    options: &DialOptions<'_>,
    guard: &mut RecordGuard,
) -> Option<Connection> {
    let group = first.index;
    let mut under_way: Vec<Runner<'_>> = Vec::new();
    let mut next = Some(first);
    let mut exhausted = false;
    loop {
        if let Some(runner) = next.take().and_then(|step| start(candidates, step, options)) {
            under_way.push(runner);
        }
        if under_way.is_empty() {
            return None;
        }
        let mut head_start = pin!(sleep(ATTEMPT_DELAY));
        // `None`: start the next address.
        let ended = poll_fn(|cx| {
            for (i, runner) in under_way.iter_mut().enumerate() {
                if let Poll::Ready(result) = runner.dial.as_mut().poll(cx) {
                    return Poll::Ready(Some((i, result)));
                }
            }
            if exhausted { Poll::Pending } else { head_start.as_mut().poll(cx).map(|()| None) }
        });
        match ended.await {
            Some((i, Ok((stream, peer)))) => {
                let Runner { step, begun, checked_downs, .. } = under_way.swap_remove(i);
                overtake(candidates, under_way, begun);
                let load = candidates.get(step.index)?.endpoint.succeeded(step.attempt);
                return Some(Connection { index: step.index, stream, peer, load, checked_downs });
            }
            Some((i, Err(error))) => {
                let Runner { step, begun, .. } = under_way.swap_remove(i);
                let candidate = candidates.get(step.index)?;
                note_failed(candidate, &error, begun.elapsed(), guard);
                candidate.endpoint.failed(step.attempt, &error);
            }
            None => {}
        }
        next = candidates.pool.next_beside(walk, group, Instant::now().into_std());
        exhausted = next.is_none();
    }
}

fn start<'c>(candidates: &'c Candidates, step: Step, options: &'c DialOptions<'c>) -> Option<Runner<'c>> {
    let candidate = candidates.get(step.index)?;
    let begun = Instant::now();
    let dial = Box::pin(candidate.endpoint.dial(step.attempt.is_trial(), options, begun));
    Some(Runner { step, begun, checked_downs: candidate.checked_downs(), dial })
}

/// Drops the losing attempts. One that stayed silent for its whole head start counts as failed; otherwise a silent
/// address would cost its delay for ever.
fn overtake(candidates: &Candidates, losers: Vec<Runner<'_>>, winner: Instant) {
    for Runner { step, begun, dial, .. } in losers {
        drop(dial);
        if begun + ATTEMPT_DELAY <= winner
            && let Some(candidate) = candidates.get(step.index)
        {
            candidate.endpoint.failed(step.attempt, &AttemptError::Overtaken);
        }
    }
}
