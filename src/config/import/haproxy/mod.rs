//! HAProxy: each `listen` of `mode tcp` becomes a route, and each `frontend` one for each backend that it uses.

mod backend;
mod bind;
mod checks;
mod conditions;
mod config;
mod lines;
mod proxy;
mod rules;
mod server;
mod sides;
mod switch;
mod table;

use config::Config;
use lines::{Line, Section};

use super::fields::Fields;
use super::meaning::{Effect, effect, meaning};
use super::misread::Misread;
use super::program::Program;
use super::sheet::{Fate, Sheet};
use super::values::count;

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Sheet, Misread> {
    let sections = lines::parse(text)?;
    let mut sheet = Sheet::of(Program::Haproxy);
    let config = Config::of(&sections);
    for (at, section) in sections.iter().enumerate() {
        match section.kind.as_str() {
            "global" => section.lines.iter().for_each(|line| global(line, &mut sheet)),
            "defaults" if config.serves_tcp(at) => {
                sheet.same(&section.said);
                section.lines.iter().for_each(|line| above_all(line, &mut sheet));
            }
            "frontend" | "listen" => proxy::take(&config, section, &mut sheet),
            "defaults" | "backend" => {}
            _ => other(section, &mut sheet),
        }
    }
    config.leftover(&mut sheet);
    Ok(sheet)
}

/// A line of `global`: most are about processes.
fn global(line: &Line, sheet: &mut Sheet) {
    let name = line.name();
    if !table::GLOBAL.iter().any(|row| row.name == name) {
        return sheet.fate(&line.said, Fate::Apart);
    }
    match effect(meaning(table::GLOBAL, &name), line.args(), &mut Fields::default()) {
        Effect::Named(why) | Effect::Off(why) => sheet.note(&line.said, why),
        Effect::Fate(fate) => sheet.fate(&line.said, fate),
        Effect::Together => match count(line.arg(0)) {
            Some(count) => {
                sheet.limits.set("max_connections", count);
                sheet.carried(&line.said);
            }
            None => sheet.note(&line.said, "it is no number"),
        },
    }
}

/// A line of `defaults`: each proxy takes it that has none of its own. Until one does it has no effect.
fn above_all(line: &Line, sheet: &mut Sheet) {
    match effect(meaning(table::PROXY, &line.name()), line.args(), &mut Fields::default()) {
        Effect::Fate(Fate::Apart) => sheet.fate(&line.said, Fate::Apart),
        Effect::Fate(_) | Effect::Together => sheet.same(&line.said),
        Effect::Named(why) | Effect::Off(why) => sheet.note(&line.said, why),
    }
}

/// A section of another kind.
fn other(section: &Section, sheet: &mut Sheet) {
    let why = match section.kind.as_str() {
        "resolvers" => "names are looked up as this system does it: /etc/resolv.conf, /etc/hosts",
        "peers" => "what is known of clients is not shared between machines",
        "mailers" => "Portway sends no mail: alert by its metrics (`portway_upstream_up`)",
        "ring" | "log-forward" | "log-profile" => {
            "logs go to standard error, standard output or a file: `[log]`"
        }
        "program" => "Portway starts no programs: let systemd do it",
        _ => return sheet.fate(&section.said, Fate::Apart),
    };
    sheet.note(&section.said, why);
}
