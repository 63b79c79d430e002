//! TLS on a socket: who speaks it ([`Session`]), how it begins ([`accept`], [`connect`]), and what it needs from files
//! ([`TlsAcceptor`], [`TlsConnector`]).
//!
//! rustls does the protocol. It is driven through its unbuffered interface, because a relay wants the socket for itself
//! beside the session (its errors, its queues), reads for many records at once into a buffer that all connections of a
//! thread share, and keeps nothing with a connection that is idle.

mod begin;
mod fault;
mod pem;
mod session;
mod setup;

pub use begin::{accept, connect};
pub use fault::TlsError;
pub(super) use session::OutBuf;
pub use session::Session;
pub use setup::{PairText, TlsAcceptor, TlsConnector, Unfit, system_roots, validity};
