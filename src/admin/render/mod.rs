//! The state of the running proxy, as values of the API.

pub(super) mod connections;
pub(super) mod routes;
pub(super) mod status;
pub(super) mod upstreams;
