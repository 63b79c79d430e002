//! The text of a file of routes, as a person would write it. What comes out is compiled: a route that the compiler refuses
//! stands as a comment, and one that meets another is switched off.

use std::collections::BTreeSet;

use super::fields::Line;
use super::neighbours;
use super::sheet::{Fate, Imported, Note, Route, Sheet, Upstream};
use super::values::{quote, quote_all};
use crate::config::compile::compile;

/// The widest line of a list, and of a comment.
const WIDTH: usize = 100;

/// A route with its fate in the compiler.
struct Entry {
    route: Route,
    /// Why the compiler does not take it.
    refused: Option<String>,
    /// Why it must serve nobody.
    off: Option<String>,
}

impl Entry {
    /// Whether it serves anybody.
    fn serves(&self) -> bool {
        self.refused.is_none() && self.off.is_none() && !self.route.fields.has("enabled")
    }

    /// What a person calls it.
    fn called(&self) -> String {
        let called = Some(&self.route.name).filter(|name| !name.is_empty()).or(self.route.listen.first());
        printable(called.unwrap_or(&self.route.said.text))
    }
}

/// The text. `Err`: no route came of the file; why the first that was tried is none.
pub(super) fn write(mut sheet: Sheet, name: &str) -> Result<Imported, Option<String>> {
    neighbours::name(&mut sheet.routes);
    name_routes(&mut sheet.routes);
    settings(&mut sheet);
    let routes = std::mem::take(&mut sheet.routes);
    let mut entries: Vec<Entry> = routes.into_iter().map(alone).collect();
    let taken: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].refused.is_none()).collect();
    let mut beside = Vec::new();
    together(&mut entries, &taken, &mut beside);
    if beside.is_empty() {
        let first = entries.iter().find_map(|entry| Some((&entry.route.said, entry.refused.as_ref()?)));
        return Err(first.map(|(said, why)| format!("line {}, {}: {why}", said.line, said.text)));
    }
    inherit(&mut entries);
    for entry in &mut entries {
        let why = match (&entry.refused, &entry.off) {
            (Some(why), _) => format!("Portway does not take this route: {why}"),
            (_, Some(why)) => format!("it is switched off, because {why}"),
            _ => continue,
        };
        entry.route.notes.insert(0, Note { said: entry.route.said.clone(), why });
        sheet.fate(&entry.route.said, Fate::Named);
    }
    let defaults = shared(&entries);
    let mut text = head(&sheet, name);
    for (section, fields) in [("log", &sheet.log), ("limits", &sheet.limits)] {
        if !fields.is_empty() {
            text += &format!("\n[{section}]\n{}", aligned(fields.lines()));
        }
    }
    if !defaults.is_empty() {
        text += &format!("\n[defaults]\n{}", aligned(defaults.clone()));
    }
    for entry in &entries {
        text += &format!("\n{}", block(entry, &defaults));
    }
    let off = entries.iter().filter(|entry| !entry.serves()).map(Entry::called).collect();
    Ok(Imported { text, statements: sheet.statements(), routes: entries.len(), off })
}

/// Switches off what would get clients of a route that serves nobody.
fn inherit(entries: &mut [Entry]) {
    let off: Vec<usize> = (0..entries.len()).filter(|at| !entries[*at].serves()).collect();
    let heirs = neighbours::heirs(&entries.iter().map(|entry| &entry.route).collect::<Vec<_>>(), &off);
    for heir in heirs {
        let of = entries[heir.of].called();
        let why = format!(
            "clients of `{of}`, which is off, would come to it: mend that one, then remove `enabled`"
        );
        entries[heir.route].off = Some(why);
    }
}

/// Each name once: the second has a number. Where two routes share one, the protocol tells them apart.
fn name_routes(routes: &mut [Route]) {
    let mut taken = BTreeSet::new();
    for route in routes.iter_mut().filter(|route| !route.name.is_empty()) {
        let udp = route.fields.get("protocol") == Some("\"udp\"");
        let base = route.name.clone();
        let mut number = 1;
        while !taken.insert(route.name.clone()) {
            number += 1;
            route.name = match (number, udp) {
                (2, true) => format!("{base}-udp"),
                _ => format!("{base}-{number}"),
            };
        }
    }
}

/// What `[log]` and `[limits]` say must be taken, too. What is not stands as a comment.
fn settings(sheet: &mut Sheet) {
    const ROUTE: &str = "[[route]]\nlisten = \"127.0.0.1:1\"\nupstream = \"127.0.0.1:2\"\n";
    let mut refused = Vec::new();
    for (section, fields) in [("log", &mut sheet.log), ("limits", &mut sheet.limits)] {
        let lines = aligned(fields.lines());
        if let Some(why) = fault(&format!("[{section}]\n{lines}{ROUTE}")) {
            refused.push(format!("Portway does not take `[{section}] {}`: {why}", lines.trim_end()));
            *fields = Default::default();
        }
    }
    refused.iter().for_each(|text| sheet.remark(text));
}

/// Compiles a route as the only one.
fn alone(route: Route) -> Entry {
    let mut entry = Entry { route, refused: None, off: None };
    entry.refused = fault(&block(&entry, &[]));
    entry
}

/// What is wrong with a text, without its place. `None`: nothing.
fn fault(text: &str) -> Option<String> {
    let report = compile("", text.as_bytes()).err()?;
    let headline = report.headline();
    let said = headline.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
    Some(said.trim().to_owned())
}

/// Adds to those that stand beside each other what fits: all, or else each half.
fn together(entries: &mut [Entry], more: &[usize], beside: &mut Vec<usize>) {
    let all: String = beside.iter().chain(more).map(|at| block(&entries[*at], &[])).collect();
    let Some(why) = (if more.is_empty() { None } else { fault(&all) }) else {
        beside.extend(more);
        return;
    };
    match more {
        [one] => entries[*one].off = Some(format!("it meets another route: {why}")),
        _ => {
            let (left, right) = more.split_at(more.len() / 2);
            together(entries, left, beside);
            together(entries, right, beside);
        }
    }
}

/// The keys that all routes have alike, where there are several routes. What may differ by protocol stays where it is.
fn shared(entries: &[Entry]) -> Vec<Line> {
    let mut all =
        entries.iter().filter(|entry| entry.refused.is_none()).map(|entry| entry.route.fields.lines());
    let (Some(first), true) = (all.next(), entries.len() > 1) else { return Vec::new() };
    let mut count = 1;
    let common = all.fold(first, |common, lines| {
        count += 1;
        common.into_iter().filter(|line| lines.contains(line)).collect()
    });
    let own = ["protocol", "sni", "alpn", "enabled"];
    match count {
        1 => Vec::new(),
        _ => common.into_iter().filter(|line| !own.contains(&line.key.as_str())).collect(),
    }
}

/// Lines with their `=` below each other.
fn aligned(lines: Vec<Line>) -> String {
    let width = lines.iter().map(|line| line.key.len()).max().unwrap_or_default();
    let line = |line: Line| {
        let remark = match line.remark.as_str() {
            "" => String::new(),
            remark => format!("  # {}", printable(remark)),
        };
        format!("{:width$} = {}{remark}\n", line.key, line.value)
    };
    lines.into_iter().map(line).collect()
}

/// One route as text.
fn block(entry: &Entry, defaults: &[Line]) -> String {
    let route = &entry.route;
    let written = |key: &str, value: String| Line { key: key.to_owned(), value, remark: String::new() };
    let mut lines = Vec::new();
    if !route.name.is_empty() {
        lines.push(written("name", quote(&route.name)));
    }
    lines.push(written("listen", quote_all(&route.listen)));
    lines.push(written("upstream", upstreams(route)));
    let own = route.fields.lines().into_iter().filter(|line| !defaults.contains(line));
    let own = own.filter(|line| entry.off.is_none() || line.key != "enabled");
    lines.extend(own);
    if entry.off.is_some() {
        lines.push(written("enabled", "false".to_owned()));
    }
    let comment = |text: &str| wrapped(text, "# ");
    let mut text = String::from("[[route]]\n");
    if entry.refused.is_some() {
        text = String::from("# [[route]]\n");
    }
    text += &comment(&format!("line {}: {}", route.said.line, route.said.text));
    for remark in &route.remarks {
        text += &comment(remark);
    }
    let keys = aligned(lines);
    text += &match entry.refused {
        Some(_) => keys.lines().map(|line| format!("# {line}\n")).collect(),
        None => keys,
    };
    text += &noted(&route.notes);
    text
}

/// The upstreams: on one line, or one below the other.
fn upstreams(route: &Route) -> String {
    let values: Vec<String> = route.upstream.iter().map(Upstream::value).collect();
    if let [one] = values.as_slice() {
        return one.clone();
    }
    let line = format!("[{}]", values.join(", "));
    if line.len() <= WIDTH && route.upstream.iter().all(|upstream| upstream.name.is_empty()) {
        return line;
    }
    let width = values.iter().map(String::len).max().unwrap_or_default() + 1;
    let lines = values.iter().zip(&route.upstream).map(|(value, upstream)| match upstream.name.as_str() {
        "" => format!("  {value},\n"),
        name => format!("  {:width$}  # {}\n", format!("{value},"), printable(name)),
    });
    format!("[\n{}]", lines.collect::<String>())
}

/// What is not carried over, with its line. Statements of one reason stand together.
fn noted(notes: &[Note]) -> String {
    let mut text = String::new();
    for (at, note) in notes.iter().enumerate() {
        if notes.iter().take(at).any(|earlier| earlier.why == note.why) {
            continue;
        }
        for Note { said, .. } in notes.iter().filter(|other| other.why == note.why) {
            text += &wrapped(&format!("line {}, not carried over: {}", said.line, said.text), "# ");
        }
        text += &wrapped(&note.why, "#   ");
    }
    text
}

fn head(sheet: &Sheet, name: &str) -> String {
    let mut text = wrapped(&format!("From {name}, a file of {}, by `portway import`.", sheet.program), "# ");
    let named = match sheet.named() {
        0 => "All of it is carried over.".to_owned(),
        1 => "1 statement is not carried over: a comment has it, with its line and the reason.".to_owned(),
        more => format!(
            "{more} statements are not carried over: a comment has each, with its line and the reason."
        ),
    };
    text += &wrapped(&named, "# ");
    let apart: Vec<String> = sheet.apart().iter().map(ToString::to_string).collect();
    if !apart.is_empty() {
        let lines = if apart.len() == 1 { "line" } else { "lines" };
        let about =
            format!("About {} itself, without a place here: {lines} {}.", sheet.program, apart.join(", "));
        text += &wrapped(&about, "# ");
    }
    for remark in &sheet.remarks {
        text += &wrapped(remark, "# ");
    }
    text += &noted(&sheet.notes);
    text
}

/// A text as lines of comments.
fn wrapped(text: &str, prefix: &str) -> String {
    let mut lines = vec![String::new()];
    for word in printable(text).split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{}\n", format!("{prefix}{line}").trim_end())).collect()
}

/// The most characters of a statement that a comment shows.
const LONGEST: usize = 300;

/// What may stand in a comment: no control characters, and not too many.
fn printable(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = plain.clone().take(LONGEST).collect();
    if plain.count() > LONGEST { format!("{short} ...") } else { short }
}
