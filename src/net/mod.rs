//! Layer 3: sockets and the relay.
//!
//! Does not log and knows no route: callers say what to bind, dial and relay, and get the outcome as a value.

mod accept;
pub mod bind;
mod bind_fault;
pub mod carrier;
pub mod check;
pub mod datagram;
pub mod deadline;
pub mod dial;
mod error;
mod exchange;
pub mod handover;
pub mod inherit;
pub mod itself;
mod low_ports;
mod options;
pub mod own_address;
mod queue;
pub mod relay;
pub mod resolve;
mod socket;
pub mod socket_file;
mod source;
pub mod store;
mod stream;
mod tcp;
pub mod tls;
pub mod user;

pub use accept::{Accepted, Acceptor};
pub use bind::{StreamListener, bind};
pub use bind_fault::bind_fault;
pub use carrier::{Carrier, CarrierError};
pub use check::{CheckError, Finding, check};
pub use deadline::{Deadline, Late, within};
pub use dial::{DialError, dial};
pub use error::{is_gone, is_local, plain};
pub use exchange::MOST_READ;
pub use inherit::Inherited;
pub use low_ports::use_low_ports;
pub use queue::{TcpView, Used};
pub use resolve::look_up;
pub use socket::Socket;
pub use source::{OfClient, SourceError, try_source, try_transparent};
pub use stream::{PARTING, Stream, StreamRef};
