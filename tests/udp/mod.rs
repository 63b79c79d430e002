//! UDP routes from outside: the real program, real sockets, real datagrams.
mod checks;
mod edits;
mod flood;
mod itself;
mod limits;
pub mod peers;
mod programs;
mod proxy_protocol;
mod quic;
mod refusals;
mod sessions;
mod sizes;
