//! Cuts a connection from outside: its upstream went down, its address left its name, or it is too old.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::model::{OnDown, OnVanish, Outcome, Peer, Policy};
use crate::net::Deadline;
use crate::proxy::route::Candidate;

/// What can cut a connection: its upstream's health, its address, and its age.
#[derive(Debug)]
pub(super) struct CutSignal {
    /// How often the upstream was found gone by failed connects, and down by its check, each with the count when it was
    /// chosen. `None`: that count is not watched.
    downs: [Option<(watch::Receiver<u64>, u64)>; 2],
    address: Option<Address>,
    life: Option<Life>,
    /// From when on it counts.
    since: Instant,
}

/// How long a connection may live from now on.
#[derive(Clone, Copy, Debug)]
struct Life {
    age: Duration,
    /// How long it then has to end by itself.
    drain: Duration,
}

/// How often an upstream had been found gone or down when it was chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct DownCount {
    /// By failed connects. Timeouts do not count: they are no evidence against those whom it serves.
    pub connects: u64,
    /// By its check.
    pub checks: u64,
}

/// The upstream address of a connection.
#[derive(Debug)]
struct Address {
    ip: IpAddr,
    /// The current addresses of its name.
    of_name: watch::Receiver<Arc<[IpAddr]>>,
    /// How long the connection may go on after the address has left the name.
    after: Duration,
}

impl CutSignal {
    /// The signal for a connection to this candidate. `None`: its policy cuts nothing.
    pub(super) fn of(
        candidate: &Candidate,
        policy: &Policy,
        peer: &Peer,
        before: DownCount,
    ) -> Option<Box<CutSignal>> {
        let downs = match policy.on_down {
            OnDown::Keep => [None, None],
            OnDown::Cut => [
                Some((candidate.endpoint.losses(), before.connects)),
                candidate.check.as_ref().map(|check| (check.downs(), before.checks)),
            ],
        };
        let after = match policy.on_vanish.unwrap_or_default() {
            OnVanish::Keep => None,
            OnVanish::Drain => Some(policy.timeouts.drain),
            OnVanish::Cut => Some(Duration::ZERO),
        };
        let address = match (after, &candidate.name, peer) {
            (Some(after), Some(name), Peer::Ip(addr)) => {
                Some(Address { ip: addr.ip(), of_name: name.subscribe(), after })
            }
            _ => None,
        };
        let life = policy.timeouts.max_age.map(|age| Life::of(age, policy.timeouts.drain));
        let cuts = downs[0].is_some() || address.is_some() || life.is_some();
        cuts.then(|| Box::new(CutSignal { downs, address, life, since: Instant::now() }))
    }

    /// The same for a connection that is so old already.
    pub(super) fn aged(mut self: Box<Self>, age: Duration) -> Box<CutSignal> {
        self.since = self.since.checked_sub(age).unwrap_or(self.since);
        self
    }

    /// Resolves with the outcome when the connection must be reset.
    pub(super) async fn wait(&mut self) -> Outcome {
        let [connects, check] = &mut self.downs;
        tokio::select! {
            () = goes_down(connects) => Outcome::UpstreamDown,
            () = goes_down(check) => Outcome::UpstreamDown,
            () = vanishes(&mut self.address) => Outcome::UpstreamGone,
            () = ages(self.life, self.since) => Outcome::Drained,
        }
    }
}

impl Life {
    /// An age from 0.9 to 1.1 times this one, then a drain that ends within its last tenth. Connections that began
    /// together, such as after a restart, do not all begin anew together.
    fn of(age: Duration, drain: Duration) -> Life {
        let up_to = |most: Duration| most.mul_f64(fastrand::f64());
        Life {
            age: (age - age / 10).saturating_add(up_to(age / 5)),
            drain: (drain - drain / 10).saturating_add(up_to(drain / 10)),
        }
    }
}

async fn ages(life: Option<Life>, since: Instant) {
    let Some(Life { age, drain }) = life else { return pending().await };
    // An age beyond the clock is never reached.
    let Some(aged) = since.checked_add(age) else { return pending().await };
    // One that comes from another process may be older already. What a pause of this process adds is not counted.
    let over = Instant::now().saturating_duration_since(aged);
    sleep_until(aged).await;
    Deadline::after(drain.saturating_sub(over)).await;
}

async fn goes_down(downs: &mut Option<(watch::Receiver<u64>, u64)>) {
    let Some((downs, before)) = downs else { return pending().await };
    if downs.wait_for(|now| now > before).await.is_err() {
        // The sender was dropped, so the count no longer changes.
        pending().await
    }
}

async fn vanishes(address: &mut Option<Address>) {
    let Some(Address { ip, of_name, after }) = address else { return pending().await };
    // Answers keep addresses as the resolver gave them; the peer's address is canonical.
    let gone = |addrs: &Arc<[IpAddr]>| !addrs.iter().any(|addr| addr.to_canonical() == *ip);
    if of_name.wait_for(gone).await.is_err() {
        return pending().await;
    }
    Deadline::after(*after).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_spread_over_a_fifth_of_the_age_and_a_tenth_of_the_drain() {
        let seconds = Duration::from_secs;
        let all = |life: Life| life.age.saturating_add(life.drain);
        let life = |age, drain| all(Life::of(age, drain));
        let lives: Vec<Duration> = (0..10_000).map(|_| life(seconds(1000), seconds(100))).collect();
        let (least, most) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
        assert!(seconds(990) <= *least && *least < seconds(1010), "{least:?}");
        assert!(seconds(1180) < *most && *most <= seconds(1200), "{most:?}");
        assert!(life(Duration::MAX, Duration::MAX) > seconds(u64::MAX / 2), "no overflow");
    }
}
