//! UDP listeners and their sessions. `sessions` has the life of one datagram. One task serves a listener with all its
//! sessions, and waits for none of them.

mod drops;
mod endings;
mod expiry;
mod handover;
mod header;
mod listener;
mod mailbox;
mod moving;
mod opening;
mod serve;
mod session;
mod sessions;

pub use handover::give_back;
pub use listener::UdpListener;
pub use moving::{SessionOffer, hand_out, resume};
pub use serve::serve;
