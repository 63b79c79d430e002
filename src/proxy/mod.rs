//! Layer 4: the life of one connection ([`connection`]) and of one datagram ([`udp`]).
//!
//! May log, dial and relay. Modules import only to the right: `listener` > `connection`, `udp` > `record` > `route` >
//! `upstream`. Layer 5 decides which listeners exist.

pub mod connection;
pub mod listener;
pub mod record;
pub mod route;
pub mod udp;
pub mod upstream;
