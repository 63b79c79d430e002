//! Refused clients: each is counted by reason, and the log names one now and then.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::info;

use crate::model::Peer;
use crate::state::lock;

/// How often the log speaks of refused clients at most. All are counted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `allow` and `deny` do not admit it.
    Denied,
    /// It is not a trusted proxy, and the route serves no others.
    Untrusted,
    /// The route has reached `max_connections`.
    Route,
    /// The client has reached `max_connections_per_client`.
    Client,
    /// The client exceeds `rate_per_client`.
    Rate,
    /// Few connections are left for the process, and the client has more of them than that.
    Share,
    /// No route of the address serves what it asks for. It is counted at the first of them.
    NoRoute,
}

impl Refusal {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Refusal; 7] = [
        Refusal::Denied,
        Refusal::Untrusted,
        Refusal::Route,
        Refusal::Client,
        Refusal::Rate,
        Refusal::Share,
        Refusal::NoRoute,
    ];

    /// The keys of the file that cause this refusal, or what does without one.
    pub fn key(self) -> &'static str {
        match self {
            Refusal::Denied => "allow, deny",
            Refusal::Untrusted => "proxy_protocol.trusted",
            Refusal::Route => "max_connections",
            Refusal::Client => "max_connections_per_client",
            Refusal::Rate => "rate_per_client",
            Refusal::Share => "fair share",
            Refusal::NoRoute => "sni, alpn",
        }
    }

    /// Whether it may not come at all. Otherwise it is one too many.
    fn is_denial(self) -> bool {
        matches!(self, Refusal::Denied | Refusal::Untrusted | Refusal::NoRoute)
    }
}

/// How many clients were refused for one reason, and what the log has said of them.
#[derive(Debug, Default)]
pub(super) struct LoggedCount(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    all: u64,
    said: Option<Said>,
}

/// The log has named a client less than a minute ago, when there had been `all`. `last` has come since.
#[derive(Debug)]
struct Said {
    all: u64,
    last: Option<Peer>,
}

/// Those that came since the log has named one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct More {
    pub more: u64,
    pub all: u64,
    pub last: Peer,
}

impl LoggedCount {
    /// Counts one more. Returns the count of all if the log shall name this one: it is the first after a quiet minute.
    pub fn add(&self, client: &Peer) -> Option<u64> {
        let mut counted = lock(&self.0);
        counted.all += 1;
        if let Some(said) = &mut counted.said {
            said.last = Some(client.clone());
            return None;
        }
        counted.said = Some(Said { all: counted.all, last: None });
        Some(counted.all)
    }

    /// What the log shall say of a minute. `None`: nobody came in it.
    pub fn minute(&self) -> Option<More> {
        let mut counted = lock(&self.0);
        let said = counted.said.take()?;
        let (all, last) = (counted.all, said.last?);
        counted.said = Some(Said { all, last: None });
        Some(More { more: all - said.all, all, last })
    }

    /// Counts those of another process.
    pub fn add_all(&self, more: u64) {
        let mut counted = lock(&self.0);
        counted.all += more;
        if let Some(said) = &mut counted.said {
            said.all += more;
        }
    }

    pub fn get(&self) -> u64 {
        lock(&self.0).all
    }
}

/// The clients of one route that were refused or had to wait.
#[derive(Debug)]
pub(super) struct Refusals {
    route: Arc<str>,
    /// Of the route.
    number: u32,
    waited: LoggedCount,
    refused: [LoggedCount; Refusal::ALL.len()],
}

impl Refusals {
    pub fn new(route: Arc<str>, number: u32) -> Self {
        Refusals { route, number, waited: LoggedCount::default(), refused: Default::default() }
    }

    pub fn of(&self, refusal: Refusal) -> &LoggedCount {
        &self.refused[refusal as usize]
    }

    /// Counts a client that waits for a permit, and logs it now and then.
    pub fn waits(self: &Arc<Self>, client: &Peer, max_connections: u32, log: &RefusalLog) {
        let Some(waited) = self.waited.add(client) else { return };
        let route = &*self.route;
        info!(route, max_connections, %client, waited, "the route is full: its clients wait");
        log.begin(self);
    }

    /// Counts a refused client, and logs it now and then.
    pub fn refused(self: &Arc<Self>, refusal: Refusal, client: &Peer, log: &RefusalLog) {
        let Some(count) = self.of(refusal).add(client) else { return };
        self.say(refusal, client, None, count);
        log.begin(self);
    }

    /// Logs a refused client. `more`: how many came since the log has spoken last, of which it is the last; `None`: it is the
    /// first after a quiet minute.
    fn say(&self, refusal: Refusal, client: &Peer, more: Option<u64>, all: u64) {
        let (route, by, denial) = (&*self.route, refusal.key(), refusal.is_denial());
        let (denied, limited) = (denial.then_some(all), (!denial).then_some(all));
        let verb = if denial { "denied" } else { "limited" };
        match more {
            None => info!(route, %client, by, denied, limited, "{verb} a client; the next ones are counted"),
            Some(more) => {
                info!(route, %client, by, more, denied, limited, "{verb} more clients, this one last")
            }
        }
    }

    /// Logs who came since the log has spoken last. Returns whether anybody did.
    fn log_minute(&self) -> bool {
        let (route, mut any) = (&*self.route, false);
        for refusal in Refusal::ALL {
            let Some(More { more, all, last }) = self.of(refusal).minute() else { continue };
            any = true;
            self.say(refusal, &last, Some(more), all);
        }
        if let Some(More { more, all, last }) = self.waited.minute() {
            any = true;
            info!(route, client = %last, more, waited = all, "more clients have waited for a place of the route, this one last");
        }
        any
    }
}

/// The routes whose refused clients the log counts: each minute it says how many came, until none did.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    /// By their numbers.
    routes: Mutex<HashMap<u32, Weak<Refusals>>>,
    begun: Notify,
}

impl RefusalLog {
    /// Has the log speak of a route again after a minute: it has named the first client.
    fn begin(&self, refusals: &Arc<Refusals>) {
        lock(&self.routes).insert(refusals.number, Arc::downgrade(refusals));
        self.begun.notify_one();
    }

    /// Sleeps while no client is refused.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.begun.notified().await;
            while !lock(&self.routes).is_empty() {
                sleep(LOG_INTERVAL).await;
                self.say();
            }
        }
    }

    fn say(&self) {
        let routes = take(&mut *lock(&self.routes));
        for (number, route) in routes {
            if route.upgrade().is_some_and(|route| route.log_minute()) {
                lock(&self.routes).insert(number, route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Scope;

    fn client(host: u8) -> Peer {
        Peer::from_ip(([10, 0, 0, host], 1000).into())
    }

    #[test]
    fn the_first_is_named_and_each_minute_says_how_many_came_and_who_was_the_last() {
        let count = LoggedCount::default();
        assert_eq!(count.minute(), None);
        assert_eq!(
            (count.add(&client(1)), count.add(&client(2)), count.add(&client(3))),
            (Some(1), None, None)
        );
        assert_eq!(count.minute(), Some(More { more: 2, all: 3, last: client(3) }));
        assert_eq!(count.add(&client(4)), None);
        count.add_all(10);
        assert_eq!(count.minute(), Some(More { more: 1, all: 14, last: client(4) }));
        // A quiet minute: the next one is named.
        assert_eq!(count.minute(), None);
        assert_eq!(
            (count.add(&client(5)), count.minute(), count.add(&client(6))),
            (Some(15), None, Some(16))
        );
        assert_eq!(count.get(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_is_looked_at_each_minute_until_none_was_refused() {
        let (log, route, task) =
            (Arc::<RefusalLog>::default(), Arc::new(Refusals::new("web".into(), 7)), Scope::new());
        task.spawn(log.clone().run());
        let looked_at = || lock(&log.routes).len();
        route.refused(Refusal::Denied, &client(1), &log);
        sleep(LOG_INTERVAL / 2).await;
        route.refused(Refusal::Denied, &client(2), &log);
        assert_eq!(looked_at(), 1);
        sleep(LOG_INTERVAL).await;
        assert_eq!(looked_at(), 1, "one came in the first minute");
        sleep(LOG_INTERVAL).await;
        assert_eq!(looked_at(), 0, "none came in the second");
        route.waits(&client(3), 9, &log);
        assert_eq!(looked_at(), 1);
        sleep(LOG_INTERVAL * 3 / 2).await;
        assert_eq!(looked_at(), 0);
        task.kill();
    }
}
