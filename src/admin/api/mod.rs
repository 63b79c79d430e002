//! The values of the admin endpoint, version 1: what it answers in JSON, and what its clients read.
//!
//! A field that exists keeps its name and its meaning. New fields may be added, and readers must ignore them. Times are
//! RFC 3339 in UTC, spans are seconds, sizes are bytes. Counters only grow while the process runs; those of a route go
//! with the route.

mod acts;
mod connections;
mod plan;
mod routes;
mod status;
mod words;

pub use acts::*;
pub use connections::*;
pub use plan::*;
pub use routes::*;
pub use status::*;
