//! Layer 6: the admin endpoint, through which people and scrapers inspect and change a running proxy.
//!
//! Changes nothing itself: it hands what is to be done to the server ([`crate::server::Handle`]), and turns the answer
//! into one of the values of [`api`]. Whatever shows the proxy (`status`, `top`, the page) shows these same values.
//!
//! The path of a request: a bounded connection (`serve`, `guests`, `io`), its head and its body (`http`), the call and
//! the right to make it (`calls`, `rights`, `router`), its turn (`turns`), and the answer as a value (`render`).

mod acts;
mod answer;
pub mod api;
mod calls;
mod guests;
mod http;
mod io;
mod metrics;
mod names;
mod openapi;
mod page;
mod plan;
mod probes;
mod query;
mod render;
mod rights;
mod router;
mod schemas;
mod serve;
mod snapshot;
mod turns;
mod units;
mod who;

pub use io::HttpIo;
pub use query::encoded;
pub use serve::serve;
