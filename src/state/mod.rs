//! Floor 2: the memory of the running proxy. Pure: `now` and chance are arguments, nothing is resolved, dialled or
//! logged.
//!
//! [`Upstream`] is what is known of one address, whatever route leads there; it outlives edits. [`Pool`] is what one
//! listener leads to, and in which order. A connection [`Walk`]s it.

mod balance;
mod checked;
mod hash;
pub mod health;
pub mod names;
mod pool;
mod upstream;

pub use checked::{Checked, Turn};
pub use names::Answers;
pub use pool::{Member, NameOf, Pool, Step, Walk};
pub use upstream::{Attempt, Load, Upstream};
