//! Layer 2: the memory of the running proxy. Pure: `now` and chance are arguments, nothing is resolved, dialled or
//! logged.
//!
//! [`Upstream`] is what is known about one address, whatever route uses it; it outlives edits. [`Pool`] holds the
//! upstreams of one listener, and chooses their order. A connection [`Walk`]s it. [`flows::Flows`] are the sessions of
//! a UDP listener.

mod balance;
mod bucket;
mod checked;
pub mod fair_share;
pub mod flows;
mod hash;
pub mod health;
pub mod limits;
mod lock;
mod log_once;
pub mod meter;
pub mod names;
mod pool;
mod sni;
pub mod talk;
mod upstream;

pub use bucket::Bucket;
pub use checked::{Checked, Turn};
pub use limits::{ClientConnections, ClientKey, Rates};
pub use lock::lock;
pub use log_once::LogOnce;
pub use meter::{Bytes, Distribution, Meter, Tally, Totals, Volume};
pub use names::Answers;
pub use pool::{Member, NameOf, Pool, Step, Walk};
pub use sni::ServedNames;
pub use upstream::{Attempt, Failure, Load, Upstream};
