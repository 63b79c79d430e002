//! The policy keys of a route as options, for commands that run a route without a file.

use std::fmt;

/// The policy keys. What is not given has its default.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Policy (as the keys of a route)")]
pub struct PolicyArgs {
    /// "tcp" (the default), or "udp": datagrams in sessions.
    #[arg(long, value_name = "WORD")]
    protocol: Option<String>,
    /// How long one attempt at one address may take: "5s".
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<String>,
    /// How long a connection may have no byte in either direction: "10m", or "off".
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<String>,
    /// How long a connection may have no byte once one side has sent FIN: "1m", or "off".
    #[arg(long, value_name = "TIME")]
    half_close_timeout: Option<String>,
    /// How long a peer may be silent before TCP keepalive probes it: "60s", or "off".
    #[arg(long, value_name = "TIME")]
    keepalive: Option<String>,
    /// How long a stop waits for open connections: "30s".
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
    /// How bytes are moved: "auto", "splice" or "copy".
    #[arg(long, value_name = "PATH")]
    relay: Option<String>,
    /// How one of several upstreams is chosen: "round-robin", "least-connections", "random-two", "source-hash",
    /// "first".
    #[arg(long, value_name = "HOW")]
    balance: Option<String>,
    /// A network or an address that is admitted: "10.0.0.0/8". Can be given several times.
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
    /// A network or an address that is not admitted, even if it is allowed. Can be given several times.
    #[arg(long, value_name = "NETWORK")]
    deny: Vec<String>,
    /// The most connections at once: 1000.
    #[arg(long, value_name = "N")]
    max_connections: Option<u32>,
    /// The most connections of one client at once, by its IPv4 address or IPv6 /64: 20.
    #[arg(long, value_name = "N")]
    max_connections_per_client: Option<u32>,
    /// How fast one client may connect: "20/s", "20/s burst 50".
    #[arg(long, value_name = "RATE")]
    rate_per_client: Option<String>,
    /// How fast one connection may move bytes in each direction: "10 MiB/s".
    #[arg(long, value_name = "RATE")]
    bandwidth: Option<String>,
    /// Tells the upstream who the client is, by the PROXY protocol: "v1" or "v2".
    #[arg(long, value_name = "VERSION")]
    send_proxy: Option<String>,
    /// The certificate (PEM) for TLS with clients; needs --tls-key.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// The key (PEM) of that certificate; needs --tls-cert.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
    /// TLS to the upstream, which must have a certificate that the system trusts.
    #[arg(long)]
    tls_upstream: bool,
    /// TLS to the upstream, which must have a certificate of these authorities (PEM).
    #[arg(long, value_name = "FILE")]
    tls_upstream_ca: Option<String>,
    /// TLS to the upstream, whose certificate must have this name.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// UDP: the most sessions at once.
    #[arg(long, value_name = "NUMBER")]
    max_sessions: Option<u32>,
    /// UDP: after how many answers a session ends.
    #[arg(long, value_name = "NUMBER")]
    max_replies: Option<u32>,
    /// While no upstream is available: "reset", "refuse" (the port is closed) or "hold 10s" (clients wait).
    #[arg(long, value_name = "WHAT")]
    when_down: Option<String>,
    /// What becomes of connections to an address that left its name: "keep", "drain" or "cut".
    #[arg(long, value_name = "WHAT")]
    on_vanish: Option<String>,
}

impl PolicyArgs {
    /// The keys of `tls`.
    fn tls(&self) -> Vec<(&'static str, toml::Value)> {
        let mut keys: Vec<(&'static str, toml::Value)> = Vec::new();
        for (key, value) in [
            ("cert", &self.tls_cert),
            ("key", &self.tls_key),
            ("upstream.ca", &self.tls_upstream_ca),
            ("upstream.server_name", &self.tls_server_name),
        ] {
            keys.extend(value.as_ref().map(|value| (key, value.as_str().into())));
        }
        if self.tls_upstream && self.tls_upstream_ca.is_none() && self.tls_server_name.is_none() {
            keys.push(("upstream", true.into()));
        }
        keys
    }
}

/// Writes the keys as lines of a file: their values are checked like those of any file.
impl fmt::Display for PolicyArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = [
            ("protocol", &self.protocol),
            ("connect_timeout", &self.connect_timeout),
            ("idle_timeout", &self.idle_timeout),
            ("half_close_timeout", &self.half_close_timeout),
            ("keepalive", &self.keepalive),
            ("drain_timeout", &self.drain_timeout),
            ("relay", &self.relay),
            ("balance", &self.balance),
            ("rate_per_client", &self.rate_per_client),
            ("bandwidth", &self.bandwidth),
            ("when_down", &self.when_down),
            ("on_vanish", &self.on_vanish),
        ];
        for (key, value) in keys {
            if let Some(value) = value {
                writeln!(f, "{key} = {}", toml::Value::from(value.as_str()))?;
            }
        }
        let counts = [
            ("max_connections", self.max_connections),
            ("max_connections_per_client", self.max_connections_per_client),
            ("max_sessions", self.max_sessions),
            ("max_replies", self.max_replies),
        ];
        for (key, count) in counts {
            if let Some(count) = count {
                writeln!(f, "{key} = {count}")?;
            }
        }
        if let Some(version) = &self.send_proxy {
            writeln!(f, "proxy_protocol = {{ send = {} }}", toml::Value::from(version.as_str()))?;
        }
        for (key, value) in self.tls() {
            writeln!(f, "tls.{key} = {value}")?;
        }
        for (key, values) in [("allow", &self.allow), ("deny", &self.deny)] {
            if !values.is_empty() {
                writeln!(f, "{key} = {}", toml::Value::from(values.clone()))?;
            }
        }
        Ok(())
    }
}
