//! Layer 1: validated values, and nothing that acts on them.
//!
//! A value of this module is valid by construction: whoever holds a [`ListenAddr`] or a [`Route`] need not check it
//! again. No I/O, no clock, no log. Text is parsed through `FromStr`, whose errors carry the cure.

mod access;
pub mod addr;
mod admin;
pub mod cidr;
mod fault;
mod foreign;
pub mod health;
mod limits;
mod network;
pub mod outcome;
pub mod policy;
mod protocol;
pub mod proxy_protocol;
mod rate;
pub mod selector;
mod socket_access;
mod spec;
pub mod table;
pub mod tls;
pub mod units;
pub mod upstream;
mod words;

pub use access::{AccessRules, NetworkList, Networks};
pub use addr::{ListenAddr, Peer, UpstreamAddr};
pub use admin::{AdminSettings, Secret};
pub use cidr::NetworkSet;
pub use fault::Fault;
pub use health::{Expect, HealthCheck, OnVanish, Payload, Step, WhenDown};
pub use limits::{ClientLimits, ProcessLimits, WhenFull};
pub use network::Network;
pub use outcome::{Blame, DataPath, Outcome};
pub use policy::{OnChange, Policy, RelayMode, Timeouts};
pub use protocol::Protocol;
pub use proxy_protocol::{AcceptProxy, HeaderOn, ProxyProtocol, ProxyVersion, TrustedSender, Untrusted};
pub use rate::{Bandwidth, ByteRate, Rate};
pub use selector::{Selector, ServerName};
pub use socket_access::{Group, Mode, SocketAccess};
pub use spec::{ListenSpec, Ports, UpstreamSpec};
pub use table::{LogFormat, LogSettings, LogTarget, Route, Table};
pub use tls::{Credentials, Pair, Part, ServeTls, Tls, UpstreamTls};
pub use upstream::{Balance, OnDown, UpstreamEntry};
pub(crate) use words::words;
