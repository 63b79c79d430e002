//! `[log]`.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{self, Place};
use super::placed::Placed;
use super::read::text;
use super::suggest::nearest;
use super::table_schema::typed_table;
use super::values::Text;
use crate::model::{Fault, LogFormat, LogSettings, LogTarget};

/// `[log]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// "off", "error", "warn", "info", "debug" or "trace", and by target: "info,portway::proxy=debug".
    #[schemars(extend("default" = "info", "examples" = ["info"]))]
    level: Option<Text>,
    /// The look of messages and of the access log.
    #[schemars(extend("default" = "text"))]
    format: Option<LogFormat>,
    /// Where the access log goes, one line for each connection: "off", "stdout", "stderr" or a path.
    #[schemars(extend("default" = "stderr", "examples" = ["stderr"]))]
    access: Option<Text>,
}

typed_table!(Log);

/// Reads `[log]`.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> LogSettings {
    let typed: Log = place::read(place, faults);
    let mut log = LogSettings::default();
    let mut read = |key: &str, typed: Option<Text>| -> Option<(String, Range<usize>)> {
        let value = place.table.get(key)?;
        let text = text(key, typed.as_ref()?, value, faults)?.to_owned();
        Some((text, value.span()))
    };
    let (level, access) = (read("level", typed.level), read("access", typed.access));
    if let Some((text, span)) = level {
        match level_fault(&text) {
            None => log.level = text,
            Some(fault) => faults.push(Placed::new(span, fault)),
        }
    }
    if let Some((text, span)) = access {
        match target(&text) {
            Ok(target) => log.access = target,
            Err(fault) => faults.push(Placed::new(span, fault)),
        }
    }
    log.format = typed.format.unwrap_or(log.format);
    log
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// The fault of a filter: a level, or `target=level` pairs with commas between. What passes here, tracing's own parser
/// takes as well; it takes a bare word as the name of a target, which hides a misspelt level.
fn level_fault(text: &str) -> Option<Fault> {
    let example = "write a level (\"info\"), or levels by target (\"info,portway::proxy=debug\")";
    if text.trim().is_empty() {
        return Some(Fault::new("the level is empty", example));
    }
    text.split(',').find_map(|directive| {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
        if target.is_some_and(|target| target.is_empty() || !target.chars().all(legal)) {
            return Some(Fault::new(format!("`{directive}` is not a filter"), example));
        }
        if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return None;
        }
        let help = match nearest(level, LEVELS) {
            _ if target.is_none() && level.contains(':') => format!("write \"{level}=debug\""),
            Some(near) => format!("did you mean \"{near}\"?"),
            None => example.to_owned(),
        };
        Some(Fault::new(format!("`{level}` is not a level"), help))
    })
}

/// Where the access log goes. A word without `/` or `.` is more likely a misspelt target than the name of a file.
fn target(text: &str) -> Result<LogTarget, Fault> {
    const WORDS: &[&str] = &["off", "stdout", "stderr"];
    if let Some(fault) = elsewhere(text) {
        return Err(fault);
    }
    match text {
        "off" => Ok(LogTarget::Off),
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        path if path.contains(['\0', '\n']) => {
            Err(Fault::new("the path has a NUL byte or a new line in it", "remove it"))
        }
        path if path.contains(['/', '.']) => Ok(LogTarget::File(path.into())),
        "" => Err(Fault::new("`access` is empty", "write \"off\", \"stdout\", \"stderr\" or a path")),
        word => {
            let help = match nearest(word, WORDS) {
                Some(near) => format!("did you mean \"{near}\"? for a file of this name write \"./{word}\""),
                None => format!("write \"off\", \"stdout\", \"stderr\" or a path: \"./{word}\""),
            };
            Err(Fault::new(format!("the access log cannot go to `{word}`"), help))
        }
    }
}

/// The fault of what other programs send their log to, and of a path as they write it.
fn elsewhere(text: &str) -> Option<Fault> {
    let lower = text.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once(':').unwrap_or((&lower, ""));
    let is_port = rest.parse::<u16>().is_ok();
    if scheme == "file" {
        let path = &text["file:".len()..];
        let path = path.strip_prefix("//").unwrap_or(path);
        return Some(Fault::new("`file:` does not stand before a path", format!("write \"{path}\"")));
    }
    let syslog =
        matches!(scheme, "syslog" | "unix" | "unixgram" | "udp" | "tcp" | "http" | "https" | "journal")
            || matches!(lower.as_str(), "journald" | "/dev/log" | "/run/systemd/journal/socket")
            || (is_port && !text.starts_with(['/', '.']));
    if syslog {
        let cure =
            "write \"stderr\": systemd's journal and Docker take it from there, and pass it on to syslog";
        return Some(Fault::new(format!("`{text}` is no file, and Portway has no syslog"), cure));
    }
    // nginx has the name of a format after the path.
    match text.rsplit_once(' ') {
        Some((path, "combined" | "main" | "json")) => {
            let cure = format!("write \"{path}\"; how its lines look is `format`");
            Some(Fault::new("after the path of the access log stands nothing", cure))
        }
        _ => None,
    }
}
