//! `portway forward`: one route without a file.

use std::io::{self, Write};
use std::process::ExitCode;

use super::hints::{of_route, takes};
use crate::config;
use crate::server::run;
use crate::server::start::Source;

/// Forward one address to one or several upstreams, without a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Signals: SIGTERM or SIGINT stops it once its connections have ended (at most 30 s later; exit code 0), \
a second one at once; SIGUSR1 opens the access log again.

Example:
  portway forward 127.0.0.1:8080 app.internal:3000
  portway forward --udp 127.0.0.1:5353 ns.internal:53
  portway forward --set bandwidth=10MiB/s --set tls.upstream=true 127.0.0.1:8080 app.example.com:443")]
pub struct Args {
    /// Where to listen: "8080", "127.0.0.1:8080", "[::1]:8080", "unix:/path", "127.0.0.1:7000-7009".
    listen: String,
    /// Where to connect: in turn, see --balance. One that does not connect is skipped.
    #[arg(required = true)]
    upstream: Vec<String>,
    #[command(flatten)]
    route: RouteArgs,
    /// Which messages to log: "error", "warn", "info", "debug", "trace", or a filter in tracing's syntax.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// The format of messages and of the access log: "text" or "json".
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// Where one line per connection goes: "off", "stdout", "stderr" or a file.
    #[arg(long, value_name = "TARGET", default_value = "stderr")]
    access_log: String,
}

/// Keys of the route. A key that is not given has its default.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Keys of the route")]
struct RouteArgs {
    /// Any key of a route: "bandwidth=10MiB/s", "health.interval=5s", "tls.upstream=true". Can be given several times.
    /// VALUE is as in the file; a text needs no quotes.
    #[arg(long, value_name = "KEY=VALUE", value_parser = line)]
    set: Vec<String>,
    /// "tcp" (the default), "udp": datagrams in sessions, or "tcp+udp": both on one port.
    #[arg(long, value_name = "WORD")]
    protocol: Option<String>,
    /// The same as --protocol udp.
    #[arg(long, conflicts_with = "protocol")]
    udp: bool,
    /// How one of several upstreams is chosen: "round-robin", "least-connections", "random-two", "source-hash",
    /// "first".
    #[arg(long, value_name = "HOW")]
    balance: Option<String>,
    /// How long one attempt at one address may take: "5s".
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<String>,
    /// How long a connection may have no byte in either direction: "10m", or "off".
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<String>,
    /// A network or an address that is admitted: "10.0.0.0/8". Can be given several times.
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
    /// A network or an address that is not admitted, even if it is allowed. Can be given several times.
    #[arg(long, value_name = "NETWORK")]
    deny: Vec<String>,
    /// The most connections at once: 1000.
    #[arg(long, value_name = "N")]
    max_connections: Option<u32>,
}

impl RouteArgs {
    /// The keys as lines of a file: their values are checked like those of any file.
    fn as_lines(&self) -> Vec<String> {
        let protocol = if self.udp { Some("udp".to_owned()) } else { self.protocol.clone() };
        let texts = [
            ("protocol", &protocol),
            ("balance", &self.balance),
            ("connect_timeout", &self.connect_timeout),
            ("idle_timeout", &self.idle_timeout),
        ];
        let texts =
            texts.into_iter().filter_map(|(key, text)| Some((key, toml::Value::from(text.as_deref()?))));
        let lists = [("allow", &self.allow), ("deny", &self.deny)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let lists = lists.map(|(key, list)| (key, toml::Value::from(list.clone())));
        let most = self.max_connections.map(|most| ("max_connections", toml::Value::from(most)));
        let short = texts.chain(lists).chain(most).map(|(key, value)| format!("{key} = {value}"));
        self.set.iter().cloned().chain(short).collect()
    }
}

/// `KEY=VALUE` as a line of a file.
fn line(argument: &str) -> Result<String, String> {
    let (key, value) =
        argument.split_once('=').ok_or("it has no `=`: write KEY=VALUE, as in idle_timeout=10m")?;
    let (key, value) = (key.trim(), value.trim());
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    if !key.split('.').all(is_word) {
        return Err(format!("`{key}` is no key: letters, digits and `_`, with dots between"));
    }
    let value = match value.parse::<toml::Value>() {
        Ok(read) if is_taken(key, &read) => read,
        Err(_) if value.starts_with(['[', '{']) => {
            let cure = "the shell took its quotes: put it in single ones, as in 'allow=[\"10.0.0.0/8\"]'";
            return Err(cure.to_owned());
        }
        // The shell takes quotes away, so that a text of digits looks like a number.
        _ => toml::Value::from(value),
    };
    Ok(format!("{key} = {value}"))
}

/// Whether the key takes a value of this type; of a key that is not known, any.
fn is_taken(key: &str, value: &toml::Value) -> bool {
    let Some(schema) = of_route(key) else { return true };
    match value {
        toml::Value::Integer(_) | toml::Value::Float(_) => {
            takes(schema, "integer") || takes(schema, "number")
        }
        toml::Value::Boolean(_) => takes(schema, "boolean"),
        toml::Value::Datetime(_) => false,
        _ => true,
    }
}

impl Args {
    /// The arguments as the text of a file.
    fn as_file(&self) -> String {
        let text = |text: &str| toml::Value::from(text);
        let (level, format, access) = (text(&self.log_level), text(&self.log_format), text(&self.access_log));
        let (listen, upstream) = (text(&self.listen), toml::Value::from(self.upstream.clone()));
        format!(
            "[log]\nlevel = {level}\nformat = {format}\naccess = {access}\n\n\
             [[route]]\nlisten = {listen}\nupstream = {upstream}\n{}\n",
            self.route.as_lines().join("\n")
        )
    }
}

/// Runs until a signal stops it. Exit code 0 after a stop, even if connections were cut; 1 if it could not start; 2 if
/// the arguments are wrong.
pub fn run(args: Args) -> ExitCode {
    match config::compile("the command line, as a file", args.as_file().as_bytes()) {
        Ok(compiled) => {
            super::run::exit(run::main(Source::Fixed(Box::new(compiled)), None, crate::admin::serve))
        }
        Err(report) => {
            // Of the command line, no line can be removed.
            let report = report.to_string().replace("remove the line", "leave it out");
            // If standard error is gone, the exit code is all that can be said.
            writeln!(io::stderr().lock(), "{report}").ok();
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_value_is_as_in_the_file_and_a_text_needs_no_quotes() {
        for (argument, expected) in [
            ("idle_timeout=10m", "idle_timeout = \"10m\""),
            ("bandwidth = 10 MiB/s", "bandwidth = \"10 MiB/s\""),
            ("max_connections=5", "max_connections = 5"),
            ("tls.upstream=true", "tls.upstream = true"),
            ("allow=[\"10.0.0.0/8\"]", "allow = [\"10.0.0.0/8\"]"),
            ("health.send=a=b\\r", "health.send = 'a=b\\r'"),
            ("name=\"8080\"", "name = \"8080\""),
            // The shell has taken the quotes.
            ("name=8080", "name = \"8080\""),
            ("name=true", "name = \"true\""),
            ("sni=2024-01-01", "sni = \"2024-01-01\""),
            ("health.send=1", "health.send = \"1\""),
            ("max_connections=off", "max_connections = \"off\""),
            ("unknown=1", "unknown = 1"),
            ("relay=copy\n[admin]", "relay = \"\"\"\ncopy\n[admin]\"\"\""),
        ] {
            assert_eq!(line(argument).as_deref(), Ok(expected));
        }
        assert!(line("allow=[10.0.0.0/8]").unwrap_err().contains("in single ones"));
        for argument in ["", "=1", "a b=1", "a..b=1", "x\n[admin]\ny=1", "idle_timeout"] {
            assert!(line(argument).is_err(), "{argument:?}");
        }
    }
}
