//! Several upstreams of one route, from the outside: the real program, servers that come and go, and the log.
mod balance;
mod begin;
mod failover;
mod front;
mod gate;
mod health;
mod itself;
mod loops;
mod names;
mod network;
mod programs;
mod protocols;
pub mod resolver;
pub mod server;
mod storm;
