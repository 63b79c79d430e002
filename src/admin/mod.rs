//! Floor 6: what a person or a scraper reads of a running proxy, and asks it to do.
//!
//! Changes nothing itself: what is to be done is handed to the server, and its answer becomes one
//! of the values of [`api`]. Whatever shows the proxy (`status`, `top`, the page) draws from these same values.

pub mod api;
