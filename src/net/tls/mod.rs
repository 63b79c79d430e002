//! TLS on a socket: the session ([`Session`]), the handshake ([`accept`], [`connect`]), and the configuration from
//! files ([`TlsAcceptor`], [`TlsConnector`]).
//!
//! rustls does the protocol, through its unbuffered interface: a relay needs the socket itself beside the session (its
//! errors, its queues), reads many records at once into a buffer that all connections of a thread share, and keeps
//! nothing for an idle connection.

mod agent;
mod begin;
pub mod dates;
mod fault;
mod pem;
mod session;
mod setup;

pub use agent::{agent_tls, agent_tls_of_nobody};
pub use begin::{BeforeRead, accept, connect};
pub use fault::TlsError;
pub(super) use session::OutBuf;
pub use session::Session;
pub use setup::{ClientTrust, PairText, SystemRoots, TlsAcceptor, TlsConnector, Unfit};
pub use ureq::tls::TlsConfig;
