//! Time limits that a pause of the process does not use up.
//!
//! A process can stand still for seconds: SIGSTOP, a frozen container, a machine that suspends. Its peers and its kernel
//! go on, its clock too. When it runs again, every timer is over, and what has arrived is unread: SIGCONT interrupts
//! epoll_wait(2) (signal(7)), so timers may even come before sockets. So a limit looks once more before it is over, and
//! counts only the time in which the process ran.
//!
//! The relay's own limits look at their two sockets instead (`Socket::has_unseen`): they last for hours, and must not
//! wake the process in between.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// A limit is slept in so many parts, and a pause uses up one of them at most.
const PARTS: u32 = 8;
/// A shorter pause is none.
const SHORTEST: Duration = Duration::from_millis(10);
/// After the last part: time for the runtime to look at its sockets, which it does before it looks at its timers. For
/// limits that are kept elsewhere, too.
pub const LAST_LOOK: Duration = Duration::from_millis(1);

/// The time was over before the future was ready.
#[derive(Debug, PartialEq, Eq)]
pub struct Late;

pin_project! {
    /// A time limit: resolves once this process has run for so long. Counts from its creation, and must be polled from
    /// then on: what nobody polls looks like a pause.
    #[derive(Debug)]
    pub struct Deadline {
        #[pin]
        sleep: Sleep,
        // When the current part ends.
        at: Instant,
        part: Duration,
        // Parts to go, with the current one. 0: the last look is under way.
        left: u32,
        // How many more parts may be slept again after a pause. Bounded: on a machine that is always late, a limit still
        // ends.
        spare: u32,
    }
}

impl Deadline {
    /// From now on, for as long as `period`. Wakes the process eight times on its way, so it is for waits of seconds.
    pub fn after(period: Duration) -> Deadline {
        Deadline::begun_at(Instant::now(), period)
    }

    /// Like [`Deadline::after`], for those who know what time it is.
    pub fn begun_at(now: Instant, period: Duration) -> Deadline {
        Deadline::in_parts(now, period, PARTS)
    }

    /// Like [`Deadline::after`], but wakes the process only at its end. A pause uses up all of it; what has arrived
    /// meanwhile is still looked at first.
    pub fn at_once(period: Duration) -> Deadline {
        Deadline::in_parts(Instant::now(), period, 1)
    }

    fn in_parts(now: Instant, period: Duration, parts: u32) -> Deadline {
        let part = period / parts;
        let at = later(now, part);
        let spare = if parts > 1 { parts } else { 0 };
        Deadline { sleep: sleep_until(at), at, part, left: parts, spare }
    }

    /// Runs a future until the limit is over.
    pub fn bound<F: Future>(self: Pin<&mut Self>, future: F) -> Within<F, Pin<&mut Self>> {
        Within { future, limit: self }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            if *this.left == 0 {
                return Poll::Ready(());
            }
            let now = Instant::now();
            // A part that takes twice its time is none. Less may be a busy machine, whose delays must not add up.
            let has_stood_still = now > later(*this.at, (*this.part).max(SHORTEST));
            if has_stood_still && *this.spare > 0 {
                *this.spare -= 1;
                *this.at = later(now, *this.part);
            } else {
                *this.left -= 1;
                *this.at = if *this.left == 0 { now + LAST_LOOK } else { later(*this.at, *this.part) };
            }
            this.sleep.set(sleep_until(*this.at));
        }
    }
}

/// A time after another; of one that is too far away, some decades.
fn later(from: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    from.checked_add(by).unwrap_or_else(|| from + FAR)
}

pin_project! {
    /// A future with a limit ([`within`], [`Deadline::bound`]).
    #[derive(Debug)]
    pub struct Within<F, L> {
        #[pin]
        future: F,
        #[pin]
        limit: L,
    }
}

impl<F: Future, L: Future<Output = ()>> Future for Within<F, L> {
    type Output = Result<F::Output, Late>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => this.limit.poll(cx).map(|()| Err(Late)),
        }
    }
}

/// Runs a future for `period` at most, as tokio's `timeout` does, but by [`Deadline`].
pub fn within<F: Future>(period: Duration, future: F) -> Within<F, Deadline> {
    Within { future, limit: Deadline::after(period) }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::yield_now;
    use tokio::time::{advance, sleep};

    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    /// How long a limit of 8 s takes if the process stands still so often for so long, each time after a second more.
    async fn takes(limit: Deadline, pauses: u32, pause: Duration) -> Duration {
        let begun = Instant::now();
        let mut limit = std::pin::pin!(limit);
        for _ in 0..pauses {
            // Half a part has gone by when the process stops.
            let half = sleep(Duration::from_millis(500));
            tokio::select! {
                () = limit.as_mut() => return begun.elapsed(),
                () = half => {}
            }
            advance(pause).await;
            yield_now().await;
        }
        limit.await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_takes_its_time_and_a_pause_does_not_count() {
        let near = |took: Duration, seconds: f64| (took.as_secs_f64() - seconds).abs() < 0.1;
        let took = takes(Deadline::after(SECONDS(8)), 0, SECONDS(0)).await;
        assert!(near(took, 8.0), "{took:?}");
        // The part that was interrupted counts as none.
        let took = takes(Deadline::after(SECONDS(8)), 1, SECONDS(60)).await;
        assert!(near(took, 68.5), "{took:?}");
        let took = takes(Deadline::at_once(SECONDS(8)), 1, SECONDS(60)).await;
        assert!(near(took, 60.5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_always_late_reaches_every_limit() {
        let took = takes(Deadline::after(SECONDS(8)), 1000, SECONDS(3)).await;
        assert!(took < SECONDS(100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_is_never_late() {
        assert_eq!(within(Duration::ZERO, async { 1 }).await, Ok(1));
        assert_eq!(within(SECONDS(8), pending::<()>()).await, Err(Late));
        let mut limit = std::pin::pin!(Deadline::after(SECONDS(8)));
        assert_eq!(limit.as_mut().bound(sleep(SECONDS(5))).await, Ok(()));
        // The same limit goes on.
        assert_eq!(limit.as_mut().bound(sleep(SECONDS(5))).await, Err(Late));
        let begun = Instant::now();
        Deadline::after(Duration::MAX / 2);
        assert_eq!(later(begun, Duration::MAX), begun + SECONDS(946_080_000));
        Deadline::after(Duration::ZERO).await;
        assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
    }
}
