//! Layer 6: what a person or a scraper reads of a running proxy, and asks it to do.
//!
//! Changes nothing itself: what is to be done is handed to the server ([`crate::server::Handle`]), and its answer becomes one
//! of the values of [`api`]. Whatever shows the proxy (`status`, `top`, the page) draws from these same values.
//!
//! The way of a request: a bounded connection (`serve`, `io`), its head and its body (`http`), the call and the right to make
//! it (`calls`, `rights`, `router`), and what is known as a value (`render`).

mod acts;
mod answer;
pub mod api;
mod calls;
mod http;
mod io;
mod metrics;
mod openapi;
mod page;
mod plan;
mod query;
mod render;
mod rights;
mod router;
mod schemas;
mod serve;
mod snapshot;
mod units;

pub use io::HttpIo;
pub use query::encoded;
pub use serve::serve;
