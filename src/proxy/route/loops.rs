//! Finds upstreams that lead back: an own address at which an own listener serves the same route, perhaps through other
//! routes. A connection there would go round until the descriptors are used up, a datagram for ever.
//!
//! The text of the file cannot show it where a name or the address of an interface is between. So each gathering of
//! candidates looks by address, and so does each edit, and each change of this host's addresses.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

use super::candidates::{Candidate, Entry};
use super::own_dials::OwnDials;
use crate::model::{ListenAddr, Protocol, Route, UpstreamAddr};
use crate::net::itself;
use crate::net::own_address::{self, AddressNews};
use crate::proxy::upstream::UpstreamNews;
use crate::state::lock;
use crate::tasks::Scope;

/// Why a candidate is not used.
pub const LEADS_BACK: &str = "leads back to this listener";

/// A circle through more routes than this is not found.
const LONGEST: usize = 64;
/// Changes of addresses come in groups: how long to wait for the rest.
const GROUPED: Duration = Duration::from_millis(20);

/// The listeners of this process, by what reaches them.
#[derive(Debug, Default)]
pub struct Loops {
    own: ArcSwap<OwnListeners>,
    dials: OwnDials,
    /// Changes of this host's addresses. Subscribed to once an upstream has the port of a listener: only then they matter.
    /// `None`: there is no rtnetlink.
    news: OnceLock<Option<AddressNews>>,
    subscribed: Notify,
}

#[derive(Debug, Default)]
struct OwnListeners {
    by_port: HashMap<(Protocol, u16), Vec<OwnListener>>,
    unix: Vec<OwnListener>,
}

/// A route at one of its listeners, as a search sees it.
#[derive(Debug)]
pub struct Hop {
    route: Arc<Route>,
    /// Its upstreams, in the order of the file.
    pub(super) entries: Vec<Entry>,
    loops: Arc<Loops>,
    /// The addresses that led back when its candidates were gathered.
    back: Mutex<Vec<UpstreamAddr>>,
    /// How often it was found that others do.
    turns: AtomicU64,
    news: UpstreamNews,
}

impl Hop {
    pub(super) fn new(
        route: Arc<Route>,
        entries: Vec<Entry>,
        loops: &Arc<Loops>,
        news: &UpstreamNews,
    ) -> Arc<Hop> {
        let (loops, news) = (loops.clone(), news.clone());
        Arc::new(Hop { route, entries, loops, back: Mutex::default(), turns: AtomicU64::new(0), news })
    }

    /// Changes when the candidates must be gathered anew, because others lead back.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// Whether this address leads back to it.
    pub(super) fn leads_back(&self, addr: &UpstreamAddr, asked: &mut Asked) -> bool {
        self.loops.own.load().lead_back(self, addr, asked)
    }

    /// What this process has connected to where clients wanted to go.
    pub(super) fn dials(&self) -> &OwnDials {
        &self.loops.dials
    }

    /// Whether a connection to this address reaches a listener of this process.
    pub(super) fn is_of_ours(&self, to: SocketAddr) -> bool {
        let (own, mut asked) = (self.loops.own.load(), Asked::default());
        own.at(self.route.policy.protocol, &UpstreamAddr::Ip(to), &mut asked).next().is_some()
    }

    /// See [`Loops::note`].
    pub(super) fn note(&self, asked: &Asked) {
        self.loops.note(asked);
    }

    /// Notes which candidates lead back, and logs what has changed. Other routes of the same circle look again.
    pub(super) fn found<'c>(&self, candidates: impl Iterator<Item = &'c Candidate>) {
        let new: Vec<UpstreamAddr> = candidates.map(|c| c.endpoint.state.addr().clone()).collect();
        let old = std::mem::replace(&mut *lock(&self.back), new.clone());
        let route = &self.route.name;
        for upstream in new.iter().filter(|addr| !old.contains(addr)) {
            warn!(route, %upstream, "an upstream {LEADS_BACK}: it is not used");
        }
        for upstream in old.iter().filter(|addr| !new.contains(addr)) {
            info!(route, %upstream, "an upstream no longer {LEADS_BACK}");
        }
        if old != new {
            self.loops.review();
            self.news.send();
        }
    }

    /// Has the candidates gathered anew by whoever needs them next, if others lead back than before.
    fn review(&self, own: &OwnListeners, asked: &mut Asked) {
        let leads_back = |addr: &UpstreamAddr| own.lead_back(self, addr, asked);
        let now: Vec<UpstreamAddr> = self.addresses().filter(leads_back).collect();
        if *lock(&self.back) != now {
            self.turns.fetch_add(1, Ordering::Release);
            self.news.send();
        }
    }

    /// What its upstreams resolve to now, gathered or not.
    fn addresses(&self) -> impl Iterator<Item = UpstreamAddr> {
        let entries = self.entries.iter().enumerate();
        entries.flat_map(|(group, entry)| entry.addresses(group)).map(|(addr, _)| addr)
    }

    fn is_of_same_route(&self, other: &Hop) -> bool {
        self.route.name == other.route.name
    }
}

/// One listener, and the routes that it serves.
#[derive(Debug)]
pub struct OwnListener {
    protocol: Protocol,
    addr: Arc<ListenAddr>,
    routes: Vec<Weak<Hop>>,
}

impl OwnListener {
    /// A listener that serves these routes now.
    pub fn new<'h>(
        protocol: Protocol,
        addr: &Arc<ListenAddr>,
        routes: impl Iterator<Item = &'h Arc<Hop>>,
    ) -> Self {
        OwnListener { protocol, addr: addr.clone(), routes: routes.map(Arc::downgrade).collect() }
    }

    /// Whether it listens at this address of this host.
    fn takes(&self, ip: IpAddr) -> bool {
        match &*self.addr {
            ListenAddr::Any(_) => true,
            ListenAddr::Ip(addr) if addr.ip().is_unspecified() => addr.is_ipv4() == ip.is_ipv4(),
            ListenAddr::Ip(addr) => addr.ip().to_canonical() == ip,
            ListenAddr::Unix(_) => false,
        }
    }

    /// The routes that a connection of this route may reach here. Where several share the address the client's hello
    /// decides: the same hello surely reaches only the same route again.
    fn reached_from<'a>(&'a self, from: &'a Hop) -> impl Iterator<Item = Arc<Hop>> + 'a {
        let shared = self.routes.len() > 1;
        let routes = self.routes.iter().filter_map(Weak::upgrade);
        routes.filter(move |hop| !shared || hop.is_of_same_route(from))
    }
}

/// What one search has asked the system.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Which addresses are this host's. Without loopback addresses, which always are.
    own: HashMap<IpAddr, bool>,
    /// Device and inode of a Unix socket, by its path. `None`: there is none.
    sockets: HashMap<PathBuf, Option<(u64, u64)>>,
}

impl Asked {
    fn is_own(&mut self, ip: IpAddr) -> bool {
        ip.is_loopback() || *self.own.entry(ip).or_insert_with(|| own_address::is_own(ip))
    }

    /// By inode: a path may lead through a link.
    fn is_same_socket(&mut self, one: &Path, another: &Path) -> bool {
        let mut inode = |path: &Path| {
            let look = || std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
            *self.sockets.entry(path.to_owned()).or_insert_with(look)
        };
        one == another || inode(one).is_some_and(|one| inode(another) == Some(one))
    }
}

impl Loops {
    /// No listeners yet. `scope` owns the task that follows this host's addresses, once that matters.
    pub fn new(scope: &Scope) -> Arc<Self> {
        let loops = Arc::new(Loops::default());
        let followed = loops.clone();
        scope.keep(move || follow_addresses(followed.clone()));
        loops
    }

    /// Sets the listeners that there are from now on, and looks at each of their routes again.
    pub fn set(&self, listeners: impl Iterator<Item = OwnListener>) {
        let mut own = OwnListeners::default();
        for listener in listeners {
            match listener.addr.port() {
                Some(port) => own.by_port.entry((listener.protocol, port)).or_default().push(listener),
                None => own.unix.push(listener),
            }
        }
        self.own.store(Arc::new(own));
        self.review();
    }

    /// Looks at each route again.
    fn review(&self) {
        let own = self.own.load_full();
        let mut asked = Asked::default();
        let listeners = own.by_port.values().flatten().chain(&own.unix);
        for hop in listeners.flat_map(|listener| listener.routes.iter().filter_map(Weak::upgrade)) {
            hop.review(&own, &mut asked);
        }
        self.note(&asked);
    }

    /// Follows this host's addresses from now on, if a search has asked for one.
    fn note(&self, asked: &Asked) {
        if !asked.own.is_empty() {
            self.news.get_or_init(|| AddressNews::subscribe().ok());
            self.subscribed.notify_one();
        }
    }
}

impl OwnListeners {
    /// Whether a connection of this route to this address comes back to it.
    fn lead_back(&self, from: &Hop, to: &UpstreamAddr, asked: &mut Asked) -> bool {
        let protocol = from.route.policy.protocol;
        let mut seen: Vec<Arc<Hop>> = Vec::new();
        let mut next = vec![to.clone()];
        while let Some(addr) = next.pop() {
            for hop in self.at(protocol, &addr, asked).flat_map(|listener| listener.reached_from(from)) {
                if hop.is_of_same_route(from) {
                    return true;
                }
                if seen.len() < LONGEST && !seen.iter().any(|seen| Arc::ptr_eq(seen, &hop)) {
                    next.extend(hop.addresses());
                    seen.push(hop);
                }
            }
        }
        false
    }

    /// The listeners that a connection to this address reaches.
    fn at<'a>(
        &'a self,
        protocol: Protocol,
        addr: &'a UpstreamAddr,
        asked: &'a mut Asked,
    ) -> impl Iterator<Item = &'a OwnListener> + 'a {
        let (listeners, ip) = match addr {
            UpstreamAddr::Ip(addr) => {
                let there = self.by_port.get(&(protocol, addr.port()));
                (there.map_or(&[][..], Vec::as_slice), Some(itself::reached(addr.ip())))
            }
            UpstreamAddr::Unix(_) => (&*self.unix, None),
            // Only its addresses are dialled; and each client has another ([`Hop::is_of_ours`]).
            UpstreamAddr::Name(..) | UpstreamAddr::Original => (&[][..], None),
        };
        listeners.iter().filter(move |listener| match (ip, addr, &*listener.addr) {
            (Some(ip), ..) => listener.takes(ip) && asked.is_own(ip),
            (None, UpstreamAddr::Unix(path), ListenAddr::Unix(own)) => asked.is_same_socket(own, path),
            _ => false,
        })
    }
}

/// Looks at all routes again after each change of this host's addresses.
async fn follow_addresses(loops: Arc<Loops>) {
    if loops.news.get().is_none() {
        loops.subscribed.notified().await;
    }
    let Some(Some(news)) = loops.news.get() else { return };
    // What has changed between the question and the subscription.
    loops.review();
    while news.changed().await.is_ok() {
        sleep(GROUPED).await;
        loops.review();
    }
}
