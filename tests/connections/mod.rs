//! The program from outside: real processes, real sockets, one test per promise.
//!
//! `crate::harness` puts a proxy in front of an upstream; the other modules are one group of promises each. After every test
//! the proxy must have nothing left that it had not at its start: see `harness::proxy`.

mod buffers;
mod connect;
mod failover;
mod first_ack;
mod gateway;
mod half_close;
mod keepalive;
mod listen;
mod listen_edits;
mod lost;
mod pressure;
mod records;
mod reset;
mod scripts;
mod stop;
mod urgent;
