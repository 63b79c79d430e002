//! Layer 2: the memory of the running proxy. Pure: `now` and chance are arguments, nothing is resolved, dialled or
//! logged.
//!
//! [`Upstream`] is what is known about one address, whatever route uses it; it outlives edits. [`Pool`] holds the
//! upstreams of one listener, and chooses their order. A connection [`Walk`]s it. [`flows::Flows`] are the sessions of
//! a UDP listener.

mod balance;
mod bucket;
mod by_hand;
mod bytes;
mod checked;
pub mod counted;
mod end;
pub mod fair_share;
pub mod flows;
mod hash;
pub mod health;
pub mod limits;
mod line_limit;
mod lock;
mod log_once;
pub mod meter;
pub mod moved;
pub mod names;
mod places;
mod pool;
pub mod probation;
pub mod pull;
pub mod said_deed;
pub mod said_health;
mod sni;
mod steering;
pub mod talk;
mod upstream;

pub use bucket::Bucket;
pub use by_hand::{Act, ByHand, Deed, Target};
pub use checked::{CheckState, Checked, Turn};
pub use counted::{Counted, RouteCounted};
pub use limits::{ClientConnections, ClientKey, Rates};
pub use line_limit::{Line, LineLimit};
pub use lock::lock;
pub use log_once::LogOnce;
pub use meter::{Bytes, Distribution, Meter, Tally, Totals, Volume};
pub use names::Answers;
pub use places::Places;
pub use pool::{Member, NameOf, Pool, Step, Walk};
pub use probation::Probation;
pub use sni::ServedNames;
pub use steering::{Serves, Steering};
pub use upstream::{Attempt, Failure, Load, Upstream};
