//! Layer 1: bytes to values and back. No I/O.
//!
//! Every parser here takes the bytes so far and returns one of three things: the value, that more bytes are needed, or
//! what is wrong. None panics, whatever the bytes, and none keeps more than its bound; `tests/fuzz` checks both.

pub mod certificate;
pub mod client_hello;
mod crc32c;
mod der;
pub mod minisign;
pub mod pem;
pub mod proxy;
mod proxy_header;
mod proxy_v1;
mod proxy_v2;
pub mod revocations;
