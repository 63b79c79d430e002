//! Layer 1: validated values, and nothing that acts on them.
//!
//! A value of this module is valid by construction: whoever holds a [`ListenAddr`] or a [`Route`] need not check it
//! again. No I/O, no clock, no log. Text is parsed through `FromStr`, whose errors carry the cure.

mod access;
pub mod addr;
mod admin;
pub mod cidr;
mod edits;
mod fault;
pub mod fleet;
mod foreign;
pub mod glob;
pub mod health;
mod limits;
mod memory;
mod network;
pub mod outcome;
pub mod policy;
mod process;
mod protocol;
pub mod proxy_protocol;
mod rate;
pub mod selector;
mod socket_access;
mod socket_options;
pub mod source;
mod spec;
mod store;
pub mod table;
pub mod tls;
pub mod units;
pub mod upstream;
mod words;

pub use access::{AccessRules, NetworkList, Networks};
pub use addr::{ListenAddr, Peer, UpstreamAddr};
pub use admin::{AdminSettings, Secret, Token, TokenSource};
pub use cidr::NetworkSet;
pub use edits::{EditsSettings, ProbationTime};
pub use fault::Fault;
pub use fleet::{FleetSettings, Replicas};
pub use glob::Glob;
pub use health::{Expect, HealthCheck, OnVanish, Payload, Step, WhenDown};
pub use limits::{ClientLimits, ProcessLimits, WhenFull};
pub use memory::{MemoryLimit, PrereadMemory};
pub use network::Network;
pub use outcome::{Blame, DataPath, Outcome};
pub use policy::{OnChange, Policy, PortRanges, RelayMode, Timeouts};
pub use process::{ProcessSettings, User};
pub use protocol::Protocol;
pub use proxy_protocol::{AcceptProxy, HeaderOn, ProxyProtocol, ProxyVersion, TrustedSender, Untrusted};
pub use rate::{Bandwidth, ByteRate, Rate};
pub use selector::{Selector, ServerName};
pub use socket_access::{Group, Mode, SocketAccess};
pub use socket_options::{SocketBuffers, SocketOptions};
pub use source::Source;
pub use spec::{ListenSpec, Ports, UpstreamSpec};
pub use store::{EtcdKey, HttpUrl, StorePart, StoreUrl};
pub use table::{LogFormat, LogSettings, LogTarget, Route, Table};
pub use tls::{Credentials, Pair, Part, ServeTls, Tls, UpstreamTls};
pub use upstream::{Balance, EntryState, OnDown, UpstreamEntry};
pub(crate) use words::words;
