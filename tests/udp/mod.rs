//! UDP routes from outside: the real program, real sockets, real datagrams.
mod both;
mod broadcast;
mod checks;
mod edits;
mod flood;
mod itself;
mod limits;
pub mod listen;
mod lost;
pub mod peers;
mod per_client;
mod programs;
mod proxy_protocol;
mod quic;
mod refusals;
mod replies;
mod sessions;
mod sizes;
