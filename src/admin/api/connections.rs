//! `GET /v1/connections`: connections and UDP sessions, page by page.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which connections are meant, in a query string and in the body of a kill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Connections of this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Connections of this client: an address ("10.0.0.7"), a network ("10.0.0.0/8") or an address with its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Connections to this upstream: as in the file ("app-1:3000"), or the address that is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Connections open for longer than this: "1h", "30s".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<String>,
}

impl Filter {
    /// Whether it matches every connection.
    pub fn is_empty(&self) -> bool {
        self.route.is_none() && self.client.is_none() && self.upstream.is_none() && self.older.is_none()
    }
}

impl fmt::Display for Filter {
    /// As on the command line, without the dashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("route", &self.route),
            ("client", &self.client),
            ("upstream", &self.upstream),
            ("older", &self.older),
        ];
        let given = all.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?)));
        f.write_str(&given.collect::<Vec<_>>().join(", "))
    }
}

/// A page of the open connections that match a filter.
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
    /// Its id, as in its line of the access log. Unique in this process.
    pub id: u64,
    /// "tcp" or "udp".
    pub protocol: String,
    /// Its route; "-": it is not known yet.
    pub route: String,
    /// The generation of the route's text that it follows.
    pub generation: u64,
    /// The client's address.
    pub client: String,
    /// The listener that accepted it.
    pub listener: String,
    /// Its upstream, as in the file; none: it is not connected yet.
    pub upstream: Option<String>,
    /// The address of the upstream that it is connected to.
    pub peer: Option<String>,
    /// The address from which Portway has connected to it: what the upstream sees as its client.
    pub local: Option<String>,
    /// When it was accepted.
    pub started: String,
    /// How long it has been open, in seconds.
    pub age: f64,
    /// How long nothing has moved on it, in seconds; none: the kernel does not say (Unix sockets).
    pub idle: Option<f64>,
    /// Bytes sent to the upstream.
    pub bytes_up: u64,
    /// Bytes sent to the client.
    pub bytes_down: u64,
    /// From the first attempt to a connected upstream, in seconds.
    pub connect: Option<f64>,
    /// How its bytes are moved: the label of the access log.
    #[schemars(schema_with = "super::words::paths")]
    pub path: String,
    /// Why they are moved this way.
    pub why: String,
    /// The kernel's view of its two sockets, if it was asked for (`?tcp=true`) and there is one.
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

/// What the kernel reports about a TCP socket (TCP_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tcp {
    /// Smoothed round-trip time, in seconds.
    pub rtt: f64,
    /// Its variation, in seconds.
    pub rtt_variation: f64,
    /// Segments retransmitted since the connection began.
    pub retransmits: u64,
    /// Segments in flight that were not acknowledged.
    pub unacknowledged: u64,
    /// Bytes that the kernel holds and the peer has not acknowledged.
    pub send_queue: u64,
    /// The congestion window, in segments.
    pub window: u64,
}
