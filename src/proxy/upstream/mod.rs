//! Upstreams: what is known about each address, each name and by each check, whatever route uses it. This outlives
//! edits, and knows no route.

mod checks;
mod context;
mod endpoint;
mod names;
mod news;
mod registry;
mod resolver;
mod tls;

pub use checks::Check;
pub use endpoint::{AttemptError, Endpoint, EndpointKey};
pub use names::Name;
pub use news::UpstreamNews;
pub use registry::Upstreams;
pub use tls::{LiveAcceptor, LiveConnector, TlsKey, TlsStore};
