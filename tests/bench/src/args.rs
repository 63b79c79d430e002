//! The command line of `compare`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::program::Variant;

/// What `--help` prints.
pub const HELP: &str = "\
Compares Portway with HAProxy, nginx and realm, a direct connection, and the floor (the least that a proxy over epoll
can do) on the same work, in alternating rounds. It runs in a network namespace of its own.

tests/bench/compare [options]
  --short              less work, three rounds or as many as fit: under 3 minutes, for daily use
  --rounds N           rounds (default 5; --short: 3)
  --both-cores         all programs on both cores; without it the proxy is on one, load and backend on the other
  --rows A,B           only these rows: bulk-down, bulk-down-1, bulk-up, bulk-up-1, ping, ping-1, ping-16k, churn,
                       churn-reset, churn-allow, churn-header, churn-names, tls-full, tls-resumed, tls-bulk, paced,
                       hold, hold-tls, hold-header, hold-names, udp, udp-1000, udp-stream, mixed
  --peers A,B          only these beside Portway: haproxy, haproxy-splice, nginx, nginx-half-close, realm, floor,
                       direct; or none
  --peer KIND=BIN      a build of haproxy, nginx (with the stream module built in) or realm, in place of the installed
                       one; given again, one more column
  --here               not in a namespace: the machine's own loopback, with what else is on it
  --portway [NAME=]BIN[,SETTING]...
                       a build of Portway; may be given several times, to compare builds or settings in one run.
                       SETTING is an argument (-x), an environment variable (NAME=value), or a key of the route
                       (relay=\"splice\"; needs a build that has `run`)
  --json FILE          all values of all rounds, as JSON

Examples:
  tests/bench/compare --short
  tests/bench/compare --rows ping,churn --peers haproxy --portway old=/tmp/portway --portway new=target/release/portway
";

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    /// Less work.
    pub short: bool,
    /// How many rounds, if said.
    pub rounds: Option<usize>,
    /// All programs on all cores.
    pub both_cores: bool,
    /// Rows, if not all.
    pub rows: Option<Vec<String>>,
    /// Peers, if not all.
    pub peers: Option<Vec<String>>,
    /// Builds of peers, by kind.
    pub peer: Vec<(String, PathBuf)>,
    /// Not in a namespace of its own.
    pub here: bool,
    /// Builds of Portway, by name.
    pub portway: Vec<(String, Variant)>,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
}

impl Options {
    /// Errors: an option that is not known, or without its value.
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(option) = args.next() {
            let mut value = || args.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--short" => options.short = true,
                "--both-cores" => options.both_cores = true,
                "--here" => options.here = true,
                "--rounds" => options.rounds = Some(value()?.parse().context("--rounds needs a number")?),
                "--rows" => options.rows = Some(list(value()?)),
                "--peers" => options.peers = Some(list(value()?)),
                "--peer" => options.peer.push(peer(value()?)?),
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--portway" => options.portway.push(variant(value()?)?),
                other => bail!("no such option: {other} (see --help)"),
            }
        }
        ensure!(options.rounds != Some(0), "--rounds needs at least 1");
        for (at, (name, _)) in options.portway.iter().enumerate() {
            ensure!(
                options.portway[..at].iter().all(|(other, _)| other != name),
                "two builds are named `{name}`: name them apart with --portway NAME=BIN"
            );
        }
        Ok(options)
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `KIND=BIN`
fn peer(text: &str) -> Result<(String, PathBuf)> {
    let (kind, bin) = text.split_once('=').with_context(|| format!("--peer KIND=BIN: `{text}`"))?;
    ensure!(
        ["haproxy", "nginx", "realm"].contains(&kind),
        "--peer haproxy=BIN, nginx=BIN or realm=BIN: `{text}`"
    );
    Ok((kind.to_owned(), PathBuf::from(bin)))
}

/// `[NAME=]BIN[,SETTING]...`
fn variant(text: &str) -> Result<(String, Variant)> {
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let (name, bin) = match first.split_once('=') {
        Some((name, bin)) => (name, bin),
        None => (Path::new(first).file_name().and_then(|name| name.to_str()).unwrap_or("portway"), first),
    };
    ensure!(
        !name.is_empty() && !bin.is_empty() && !name.contains('/'),
        "--portway [NAME=]BIN[,SETTING]...: `{text}`"
    );
    let mut variant = Variant { bin: PathBuf::from(bin), ..Variant::default() };
    for setting in parts {
        match setting.split_once('=') {
            _ if setting.starts_with('-') => variant.args.push(setting.to_owned()),
            Some((key, value))
                if key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') =>
            {
                variant.env.push((key.to_owned(), value.to_owned()));
            }
            Some((key, value)) => variant.keys.push((key.to_owned(), toml(value))),
            None => bail!("`{setting}` is neither -argument, NAME=value nor key=value"),
        }
    }
    Ok((name.to_owned(), variant))
}

/// A value of the file; a bare word is a string, since a shell eats quotes.
fn toml(value: &str) -> String {
    let is_toml = value.starts_with(['"', '\'', '[', '{']) || matches!(value, "true" | "false");
    if is_toml || value.parse::<f64>().is_ok() { value.to_owned() } else { format!("\"{value}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let options = parse("--short --rounds 2 --rows ping,churn --peers none --json /tmp/x.json").unwrap();
        assert!(options.short && !options.both_cores);
        assert_eq!(options.rounds, Some(2));
        assert_eq!(options.rows, Some(vec!["ping".to_owned(), "churn".to_owned()]));
        assert_eq!(options.json, Some(PathBuf::from("/tmp/x.json")));
        assert_eq!(parse("").unwrap(), Options::default());
        let options = parse("--here --peer haproxy=/a/b --peer nginx=/c").unwrap();
        assert!(options.here);
        assert_eq!(options.peer, [("haproxy".to_owned(), "/a/b".into()), ("nginx".to_owned(), "/c".into())]);
    }

    #[test]
    fn a_build_has_a_name_and_settings() {
        let options =
            parse("--portway new=/bin/p,--fast,RUST_LOG=off,relay=splice --portway /bin/portway").unwrap();
        let (name, variant) = &options.portway[0];
        assert_eq!((name.as_str(), variant.bin.as_path()), ("new", Path::new("/bin/p")));
        assert_eq!(variant.args, ["--fast"]);
        assert_eq!(variant.env, [("RUST_LOG".to_owned(), "off".to_owned())]);
        assert_eq!(variant.keys, [("relay".to_owned(), "\"splice\"".to_owned())]);
        assert_eq!(options.portway[1].0, "portway");
    }

    #[test]
    fn mistakes_are_named() {
        for line in [
            "--fast",
            "--rounds",
            "--rounds 0",
            "--portway =x",
            "--portway a=/b,c",
            "--portway p --portway p",
            "--peer squid=/x",
            "--peer haproxy",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
