//! Layer 1: bytes to values and back, and nothing that reads or writes them.
//!
//! Every parser here takes what has come so far and says one of three things: what it is, that more must come, or what is
//! wrong with it. None panics, whatever the bytes, and none keeps more than its bound; `tests/fuzz` holds them to that.

pub mod certificate;
pub mod client_hello;
mod crc32c;
mod der;
pub mod proxy;
mod proxy_header;
mod proxy_v1;
mod proxy_v2;
