//! The policy keys of a route as options, for commands that make a route without a file.

use std::fmt;

/// The policy keys; what is not given has its default.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Policy (as the keys of a route)")]
pub struct PolicyArgs {
    /// For one attempt at one address: "5s".
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<String>,
    /// No byte in either direction: "10m", or "off".
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<String>,
    /// No byte since one side has sent FIN: "1m", or "off".
    #[arg(long, value_name = "TIME")]
    half_close_timeout: Option<String>,
    /// Silence before a peer is asked whether it lives: "60s", or "off".
    #[arg(long, value_name = "TIME")]
    keepalive: Option<String>,
    /// How long a stop waits for open connections: "30s".
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
    /// How bytes are moved: "auto", "splice" or "copy".
    #[arg(long, value_name = "PATH")]
    relay: Option<String>,
    /// Which of several upstreams: "round-robin", "least-connections", "random-two", "source-hash", "first".
    #[arg(long, value_name = "HOW")]
    balance: Option<String>,
    /// No upstream can be had: "reset", "refuse" (the port is closed) or "hold 10s" (clients wait).
    #[arg(long, value_name = "WHAT")]
    when_down: Option<String>,
    /// Connections to an address that left its name: "keep", "drain" or "cut".
    #[arg(long, value_name = "WHAT")]
    on_vanish: Option<String>,
}

/// As lines of a file: their values are checked where those of files are.
impl fmt::Display for PolicyArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = [
            ("connect_timeout", &self.connect_timeout),
            ("idle_timeout", &self.idle_timeout),
            ("half_close_timeout", &self.half_close_timeout),
            ("keepalive", &self.keepalive),
            ("drain_timeout", &self.drain_timeout),
            ("relay", &self.relay),
            ("balance", &self.balance),
            ("when_down", &self.when_down),
            ("on_vanish", &self.on_vanish),
        ];
        for (key, value) in keys {
            if let Some(value) = value {
                writeln!(f, "{key} = {}", toml::Value::from(value.as_str()))?;
            }
        }
        Ok(())
    }
}
