//! Layer 3: sockets and the relay.
//!
//! Does not log and knows no route: callers say what to bind, dial and relay, and get the outcome as a value.

mod accept;
pub mod bind;
pub mod check;
pub mod datagram;
pub mod deadline;
pub mod dial;
mod error;
mod exchange;
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
mod stream;
mod tcp;
pub mod tls;

pub use accept::{Accepted, Acceptor};
pub use bind::{StreamListener, bind};
pub use check::{CheckError, Finding, check};
pub use deadline::{Deadline, Late, within};
pub use dial::{DialError, dial};
pub use error::{is_gone, is_local};
pub use inherit::Inherited;
pub use low_ports::use_low_ports;
pub use queue::TcpView;
pub use resolve::look_up;
pub use socket::Socket;
pub use stream::{PARTING, Stream, StreamRef};
