//! Floor 6: what a person or a scraper reads of a running proxy, and asks it to do.
//!
//! Changes nothing itself: what is to be done is handed to the server ([`crate::server::Handle`]), and its answer becomes one
//! of the values of [`api`]. Whatever shows the proxy (`status`, `top`, the page) draws from these same values.
//!
//! The way of a request: a bounded connection (`serve`), its head and its body (`http`), the right to ask (`rights`), what is
//! asked (`router`), and what is known of it as a value (`render`).

mod acts;
pub mod api;
mod http;
mod metrics;
mod openapi;
mod page;
mod plan;
mod query;
mod render;
mod rights;
mod router;
mod serve;

pub use query::encoded;
pub use serve::serve;
