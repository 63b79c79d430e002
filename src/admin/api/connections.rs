//! `GET /v1/connections`: connections and UDP sessions, page by page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which connections are meant. Of a query string, and of the body of a kill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Of this client: an address ("10.0.0.7"), a network ("10.0.0.0/8") or an address with its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Open for longer than this: "1h", "30s".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<String>,
}

impl Filter {
    /// Whether it leaves everything.
    pub fn is_empty(&self) -> bool {
        self.route.is_none() && self.client.is_none() && self.older.is_none()
    }
}

/// A page of the open connections that a filter leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// How many are open, whatever the filter.
    pub open: u64,
    /// By id, and so by age: the oldest first.
    pub connections: Vec<Connection>,
    /// Where the next page begins (`?after=`); none: this is the last one.
    pub next: Option<u64>,
}

/// One open connection, or UDP session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Its id: that of its line in the access log. No other of this process has it.
    pub id: u64,
    /// "tcp" or "udp".
    pub protocol: String,
    /// Its route; "-": it is not known yet where it is led.
    pub route: String,
    /// The generation whose text of the route it follows.
    pub generation: u64,
    /// Who came.
    pub client: String,
    /// Where it came in.
    pub listener: String,
    /// Where it is led to, as in the file; none: it is not connected yet.
    pub upstream: Option<String>,
    /// The address that was connected.
    pub peer: Option<String>,
    /// When it was accepted.
    pub started: String,
    /// How long it has been open, in seconds.
    pub age: f64,
    /// How long nothing has moved on it, in seconds; none: the kernel does not say (Unix sockets).
    pub idle: Option<f64>,
    /// Bytes that were sent to the upstream.
    pub bytes_up: u64,
    /// Bytes that were sent to the client.
    pub bytes_down: u64,
    /// From accept to a connected upstream, in seconds.
    pub connect: Option<f64>,
    /// How its bytes are moved: the label of the access log.
    pub path: String,
    /// Why so.
    pub why: String,
    /// The kernel's view of its two sockets, where it was asked for (`?tcp=true`) and there is one.
    pub tcp: Option<Sockets>,
}

/// The two sockets of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sockets {
    /// Towards the client.
    pub client: Option<Tcp>,
    /// Towards the upstream.
    pub upstream: Option<Tcp>,
}

/// What the kernel says of a TCP socket (TCP_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tcp {
    /// Smoothed round-trip time, in seconds.
    pub rtt: f64,
    /// Its variation, in seconds.
    pub rtt_variation: f64,
    /// Segments that were sent again since the connection began.
    pub retransmits: u64,
    /// Segments under way that were not acknowledged.
    pub unacknowledged: u64,
    /// Bytes that the kernel holds and the peer has not acknowledged.
    pub send_queue: u64,
    /// The congestion window, in segments.
    pub window: u64,
}
