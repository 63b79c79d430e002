//! nginx: each `server` of `stream` becomes a route, or one for each upstream that a `map` of server names chooses.

mod defaults;
mod lex;
mod listen;
mod logs;
mod maps;
mod parts;
mod server;
mod stream;
mod table;
mod upstream;

use defaults::Defaults;
use lex::Directive;
use stream::Stream;

use super::fields::Fields;
use super::meaning::{Effect, effect, meaning};
use super::misread::Misread;
use super::program::Program;
use super::sheet::{Fate, Sheet};

/// Statements that tell a file of whole blocks from one that is included in `stream`.
const MAIN_ONLY: [&str; 4] = ["events", "http", "mail", "stream"];

/// What both programs do, and not alike.
const HALF_CLOSE: &str = "nginx ends both directions of a connection once one side has sent FIN, where `proxy_half_close` \
    is off; Portway passes each FIN on, and the other direction goes on.";

/// Reads a file: nginx.conf, or what it includes in `stream`.
pub(super) fn read(text: &str) -> Result<Sheet, Misread> {
    let all = lex::parse(text)?;
    let mut sheet = Sheet::of(Program::Nginx);
    let is_main = all.iter().any(|directive| MAIN_ONLY.contains(&directive.name.as_str()));
    let inside: Vec<&Directive> = match is_main {
        false => all.iter().collect(),
        true => {
            all.iter().for_each(|directive| main_context(directive, &mut sheet));
            all.iter().filter(|directive| directive.name == "stream").flat_map(Directive::inside).collect()
        }
    };
    let stream = Stream::of(&inside);
    stream.own.iter().for_each(|directive| above_all(directive, &mut sheet));
    let defaults = Defaults::of(&stream);
    stream.servers.iter().for_each(|directive| server::take(&stream, &defaults, directive, &mut sheet));
    stream.leftover(&mut sheet);
    logs::take(&inside, &mut sheet);
    if sheet.routes.iter().any(|route| route.fields.get("protocol").is_none()) && !stream.half_closes() {
        sheet.remark(HALF_CLOSE);
    }
    Ok(sheet)
}

/// A statement outside of `stream`.
fn main_context(directive: &Directive, sheet: &mut Sheet) {
    let said = directive.said();
    match effect(meaning(table::MAIN, &directive.name), &directive.args, &mut Fields::default()) {
        Effect::Fate(fate) => sheet.fate(&said, fate),
        Effect::Named(why) | Effect::Off(why) => sheet.note(&said, why),
        Effect::Together => sheet.carried(&said),
    }
}

/// A statement of `stream` itself: each server takes it that has none of its own. Until one does it has no effect.
fn above_all(directive: &Directive, sheet: &mut Sheet) {
    let said = directive.said();
    match effect(meaning(table::STREAM, &directive.name), &directive.args, &mut Fields::default()) {
        Effect::Fate(Fate::Apart) => sheet.fate(&said, Fate::Apart),
        Effect::Fate(_) | Effect::Together => sheet.same(&said),
        Effect::Named(why) | Effect::Off(why) => sheet.note(&said, why),
    }
}
