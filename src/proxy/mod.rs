//! Layer 4: the life of one connection, told in [`connection`], and of one datagram, told in [`udp`].
//!
//! May log, dial and relay. Imports go to the right only: `listener` > `connection`, `udp` > `record` > `route` > `upstream`.
//! Which listeners exist is layer 5's.

pub mod connection;
pub mod listener;
pub mod record;
pub mod route;
pub mod udp;
pub mod upstream;
