//! Live routes: which clients they admit, within which limits, and which addresses their upstreams resolve to.

mod access;
mod admission;
mod candidates;
mod destination;
mod frontend;
mod hold;
mod limit;
mod listener;
mod live;
mod loops;
mod origins;
mod own_dials;
mod rates;
mod refusal;
mod registry;
mod session_limit;
mod session_places;
mod state;
mod unrouted;

pub use access::{Access, Lists, LiveList};
pub use admission::{Admission, ClientPermit};
pub use candidates::{Candidate, Candidates};
pub use destination::Astray;
pub use frontend::{Frontend, NO_ROUTE, SniRouter};
pub use hold::{HoldPlace, HoldQueue};
pub use limit::ConnectionLimit;
pub use listener::Listener;
#[cfg(test)]
pub use live::tests::live_route;
pub use live::{LiveRoute, RunsAs};
pub use loops::{Hop, LEADS_BACK, Loops, OwnListener};
pub use refusal::Refusal;
pub use registry::RouteRegistry;
pub use session_limit::{SessionLimit, SessionPermit};
pub use session_places::Evicted;
pub use state::RouteState;
pub use unrouted::{UnroutedClients, UnroutedPermit};
