//! Several upstreams of one route, from the outside: the real program, servers that come and go, and the log.
mod balance;
mod failover;
mod front;
mod health;
mod itself;
mod loops;
mod names;
mod network;
mod protocols;
mod resolver;
mod server;
mod storm;
