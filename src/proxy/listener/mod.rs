//! Listeners: the listening socket, and the tasks that accept from it.

mod accept;
mod leaving;
mod socket;

pub use socket::{Acceptors, ListenSocket};
