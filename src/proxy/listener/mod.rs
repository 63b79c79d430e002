//! Listening addresses: the socket, and the tasks that take its connections.

mod accept;
mod socket;

pub use socket::{Acceptors, ListenSocket};
