//! The task of a UDP listener.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::listener::UdpListener;
use super::sessions::UdpSessions;
use crate::net::datagram::Ready;
use crate::proxy::record::Shared;
use crate::proxy::route::LiveRoute;

/// Sessions end at most this much late, so that one timer serves many.
const GRAIN: Duration = Duration::from_millis(50);
/// During a stop, a session ends after this much silence: its client has nothing in flight.
const SILENCE: Duration = Duration::from_secs(2);
/// After so much work others on this thread have their turn. A listener that is flooded always has something to read, and
/// tokio's own budget allows it 128 turns in a row, of which each may read some hundred datagrams.
const TURN: Duration = Duration::from_millis(1);
/// How long serving pauses after the poller has failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves a listener until it is closed and its last session has ended.
pub async fn serve(listener: Arc<UdpListener>, shared: Arc<Shared>) {
    let mut sessions = UdpSessions::new(listener.clone(), shared);
    let mut news = None;
    let mut ready = Ready::default();
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut route_ends: Vec<RouteEnd> = Vec::new();
    let mut changed = true;
    let mut worked = Duration::ZERO;
    loop {
        share(&mut worked).await;
        if std::mem::take(&mut changed) {
            let live = listener.live();
            // All routes share one channel. To subscribe anew would lose news that was sent meanwhile.
            news = news.or_else(|| live.as_ref().map(|live| live.news()));
            sessions.follow(live);
            let hurry = listener.follows().hurry;
            if listener.signal.ends.swap(false, Ordering::SeqCst) {
                sessions.cut_ended();
            }
            if hurry {
                sessions.hurry(SILENCE);
            }
        }
        sessions.end_evicted();
        if sessions.winds_up() && listener.ends() {
            return;
        }
        for live in sessions.new_lives.drain(..) {
            if !route_ends.iter().any(|end| Arc::ptr_eq(&end.live, &live)) {
                route_ends.push(RouteEnd::of(live));
            }
        }
        if let Some(next) = sessions.next_deadline().map(Instant::from_std) {
            let soonest = Instant::now() + GRAIN;
            if timer.is_elapsed() || next + GRAIN < timer.deadline() {
                timer.as_mut().reset(next.max(soonest));
            }
        }
        let waits = !timer.is_elapsed();
        tokio::select! {
            biased;
            () = listener.signal.changed.notified() => changed = true,
            at = ended(&mut route_ends) => sessions.cut(&route_ends.swap_remove(at).live),
            () = heard(&mut news) => sessions.look_again(),
            () = timer.as_mut(), if waits => sessions.expire(&mut ready),
            event = listener.poller.wait(&mut ready) => match event {
                Ok(()) => {
                    #[cfg(test)]
                    crate::tasks::faults::here(&listener.addr.to_string());
                    worked += timed(|| sessions.turn(&ready));
                }
                Err(_) => sleep(PAUSE).await,
            },
            () = yield_now(), if sessions.has_more() => sessions.go_on(),
        }
        route_ends.retain(|end| end.is_of_use());
    }
}

/// Gives others on this thread their turn, if it is over.
async fn share(worked: &mut Duration) {
    if *worked > TURN {
        *worked = Duration::ZERO;
        yield_now().await;
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Resolves when there is news of upstreams.
async fn heard(news: &mut Option<watch::Receiver<()>>) {
    let Some(news) = news else { return pending().await };
    if news.changed().await.is_err() {
        // The sender was dropped: no more news can come.
        pending().await
    }
}

/// Resolves when the sessions of a live route must end.
struct RouteEnd {
    live: Arc<LiveRoute>,
    killed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl RouteEnd {
    fn of(live: Arc<LiveRoute>) -> RouteEnd {
        let killed = Box::pin(live.connections.killed());
        RouteEnd { live, killed }
    }

    /// Whether anybody else still uses the live route.
    fn is_of_use(&self) -> bool {
        Arc::strong_count(&self.live) > 1
    }
}

/// Resolves with the index of a live route whose sessions must end.
async fn ended(route_ends: &mut [RouteEnd]) -> usize {
    poll_fn(|cx| {
        let told = route_ends.iter_mut().position(|end| end.killed.as_mut().poll(cx).is_ready());
        told.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
