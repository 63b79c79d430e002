//! Upstreams: what is known about each address, each name and by each check, whatever route uses it. This outlives
//! edits, and knows no route.

mod checks;
mod context;
mod endpoint;
mod names;
mod news;
mod own_header;
mod registry;
mod resolver;
mod tls;

pub use checks::{Check, RunningCheck};
pub use endpoint::{AttemptError, Endpoint, EndpointKey};
pub use names::Name;
pub use news::UpstreamNews;
pub use own_header::OwnHeader;
pub use registry::Upstreams;
pub use tls::{Connectors, LiveAcceptor, LiveConnector, TlsKey, TlsStore};
