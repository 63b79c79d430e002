//! The values of the admin endpoint, version 1: what it answers in JSON, and what its clients read.
//!
//! A field that is there stays, with its name and its meaning; new ones may come, and readers must not mind them. Times are
//! RFC 3339 in UTC, spans are seconds, sizes are bytes. Counters only grow while the process runs; what was counted of a
//! route goes with its route.

mod acts;
mod connections;
mod plan;
mod routes;
mod status;

pub use acts::*;
pub use connections::*;
pub use plan::*;
pub use routes::*;
pub use status::*;
