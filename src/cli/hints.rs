//! What a person meant by an option or a command that does not exist.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error, builder::StyledStr};
use serde_json::Value;

use crate::config;

/// Commands as other programs call them.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["start", "serve", "server", "up", "daemon", "proxy"], "run"),
    (&["test", "validate", "verify", "lint", "configtest", "-t", "--test", "--check", "--validate"], "check"),
    (&["tcp", "udp", "tunnel", "listen", "fwd", "port-forward"], "forward"),
    (&["list", "ls", "ps", "info", "stats"], "status"),
    (&["diff", "dry-run", "--dry-run"], "plan"),
    (&["hup", "restart", "refresh"], "reload"),
    (&["stop", "quit", "shutdown"], "drain"),
    (&["examples", "init", "keys", "template", "default-config"], "example"),
];

/// Adds to the error what was probably meant. `arguments`: the command line, with the name of the program.
pub(super) fn with_hint(mut error: Error, arguments: &[String]) -> Error {
    let unknown = match error.kind() {
        ErrorKind::UnknownArgument => text(&error, ContextKind::InvalidArg),
        ErrorKind::InvalidSubcommand => text(&error, ContextKind::InvalidSubcommand),
        _ => None,
    };
    let Some(unknown) = unknown else { return error };
    let command = arguments.get(1).map(String::as_str).unwrap_or_default();
    let hint = match command {
        "forward" => of_forward(&unknown, arguments),
        _ if command == unknown || unknown.starts_with(command) => of_program(&unknown, arguments.get(2)),
        _ => of_option(command, &unknown, arguments),
    };
    // clap's tip is to pass it behind `--`: it would be the name of a file or of a route, which nobody meant.
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    if let Some(hint) = hint {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    error
}

/// Shows the usage of the command as `--help` does. clap lists instead what was given, also by an environment variable, as if
/// it was required. `whole`: the definition of the command line.
pub(super) fn with_usage(mut error: Error, mut whole: Command, arguments: &[String]) -> Error {
    whole.build();
    let command = arguments.get(1).and_then(|name| whole.find_subcommand_mut(name));
    if let Some(command) = command.filter(|_| error.get(ContextKind::Usage).is_some()) {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    }
    error
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// `--keepalive 30s`: any key of a route goes with `--set`.
fn of_forward(unknown: &str, arguments: &[String]) -> Option<String> {
    let option = unknown.split([' ', '=']).next().unwrap_or(unknown);
    let key = option.trim_start_matches('-').replace('-', "_");
    if option == "-u" {
        return Some("datagrams go with --udp".to_owned());
    }
    if !option.starts_with("--") || of_route(&key).is_none() {
        return None;
    }
    let set = format!("{key}={}", value_of(option, arguments).unwrap_or("VALUE"));
    let plain = set.chars().all(|c| c.is_ascii_alphanumeric() || "_-=./:%+,".contains(c));
    let set = if plain { set } else { format!("'{set}'") };
    Some(format!("any key of a route goes with --set: --set {set}"))
}

/// The value of an option as it was typed: behind `=`, or as the next argument.
fn value_of<'a>(option: &str, arguments: &'a [String]) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument.split('=').next() == Some(option))?;
    match arguments[at].split_once('=') {
        Some((_, value)) => Some(value),
        None => arguments.get(at + 1).map(String::as_str).filter(|next| !next.starts_with('-')),
    }
}

/// `portway drain --route web`: what other commands, and those of other programs, take as an option.
fn of_option(command: &str, unknown: &str, arguments: &[String]) -> Option<String> {
    let option = unknown.split([' ', '=']).next().unwrap_or(unknown);
    let value = value_of(option, arguments);
    Some(match (command, option) {
        ("drain" | "disable" | "enable" | "weight", "--route" | "--name" | "-r") => {
            let route = value.unwrap_or("ROUTE");
            format!("the route stands without an option: portway {command} {route}")
        }
        ("run" | "check" | "plan", "-f" | "--file") => {
            let file = value.unwrap_or("portway.toml");
            format!("the file stands alone, or after --config: portway {command} {file}")
        }
        ("kill", "--all" | "-a") => "those of one route: portway kill --route NAME".to_owned(),
        ("import", "--nginx" | "--haproxy" | "--realm" | "--rinetd" | "--compose") => {
            format!("whose file it is: portway import --from {}", option.trim_start_matches('-'))
        }
        _ => return None,
    })
}

/// `portway portway.toml`, `portway -t`, `portway start`.
fn of_program(unknown: &str, next: Option<&String>) -> Option<String> {
    if matches!(unknown, "-c" | "--config" | "-f" | "--file") {
        let file = next.map_or("portway.toml", String::as_str);
        return Some(format!("to serve a file: portway run {file}"));
    }
    if unknown.ends_with(".toml") || Path::new(unknown).is_file() {
        return Some(format!("to serve a file: portway run {unknown}"));
    }
    let (_, ours) = COMMANDS.iter().find(|(theirs, _)| theirs.contains(&unknown))?;
    Some(format!("that is `portway {ours}`"))
}

/// The schema of a key of a route, also of one in a table: `tls.upstream`.
pub(super) fn of_route(key: &str) -> Option<&'static Value> {
    let mut at = config::schema().pointer("/properties/route/items")?;
    for part in key.split('.') {
        at = choices(at).into_iter().find_map(|choice| choice.get("properties")?.get(part))?;
    }
    Some(at)
}

/// Whether the key takes values of this type of JSON Schema.
pub(super) fn takes(schema: &Value, kind: &str) -> bool {
    choices(schema).iter().any(|choice| choice.get("type").and_then(Value::as_str) == Some(kind))
}

/// A schema, and those that it lets one choose from.
fn choices(schema: &Value) -> Vec<&Value> {
    let inner = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    std::iter::once(schema).chain(inner.flat_map(choices)).collect()
}
