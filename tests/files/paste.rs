//! What a person does with a fault: she reads where it is and what to write, and pastes that.

use toml::Table;

/// One fault, as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub message: String,
    /// From 1. 0: the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// How much is underlined, in characters.
    pub width: usize,
    pub help: String,
}

/// Every fault of a report.
pub fn shown(report: &str) -> Vec<Shown> {
    let faults = report.split("error: ").skip(1);
    faults.map(one).collect()
}

fn one(text: &str) -> Shown {
    let message = text.lines().next().unwrap().to_owned();
    let place = text.lines().find_map(|line| line.trim_start().strip_prefix("--> ")).unwrap();
    let mut numbers = place.rsplit(':').map(|number| number.parse().unwrap_or(0));
    let (column, line) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let carets = text.lines().filter_map(|line| line.split_once("| ").map(|(_, drawn)| drawn));
    let width = carets.filter(|drawn| drawn.trim_start().starts_with('^')).map(|drawn| {
        let carets = drawn.trim_start();
        carets.chars().take_while(|c| *c == '^').count()
    });
    let width = width.max().unwrap_or(0);
    let help = text.split_once("= help: ").map_or("", |(_, help)| help);
    let help = help.split("\n\n").next().unwrap();
    let lines: Vec<&str> = help.lines().map(str::trim).collect();
    Shown { message, line, column, width, help: lines.join("\n") }
}

/// The text after the cure of a fault was pasted into it, in each way that a person may read it: the first that is more
/// than is written may be wrong, the last is the least. Empty: the cure is no text.
pub fn pasted(text: &str, fault: &Shown) -> Vec<String> {
    let Shown { help, .. } = fault;
    let text = Text { lines: text.lines().map(str::to_owned).collect(), fault };
    if let Some((_, file)) =
        help.split_once(['\n']).filter(|(first, _)| first.contains("file is") || first.contains("at least"))
    {
        return vec![format!("{file}\n")];
    }
    if help.starts_with("write [[route]] on a line above") {
        return vec![text.with_line_before("[[route]]")];
    }
    if let Some(meant) = help.strip_prefix("did you mean ") {
        let (open, rest) = meant.split_at(1);
        let word = rest.split(open).next().unwrap();
        return vec![match word {
            "[[route]]" => text.with_line(word),
            _ if word.starts_with('[') => text.with_line(word),
            _ if open == "\"" => text.with_span(&format!("\"{word}\"")),
            _ => text.with_span(word),
        }];
    }
    if help.starts_with("remove the line") {
        return vec![text.without_line()];
    }
    if help.starts_with("remove the brackets around it") {
        let span = text.span();
        return vec![text.with_span(&span[1..span.len() - 1])];
    }
    if ["remove the `;`", "remove the `,`", "remove it"].iter().any(|remove| help == remove) {
        return vec![text.with_span("")];
    }
    if let Some((_, line)) = help.split_once("add a line like this: ") {
        return vec![text.with_line_after(line)];
    }
    if let Some((_, value)) = help.split_once("put it in quotes: ") {
        return vec![text.with_span(value)];
    }
    written(help).iter().map(|written| text.with(written)).collect()
}

/// A text to write, and a line that goes with it.
#[derive(Debug)]
struct Written {
    text: String,
    more: Option<String>,
}

/// What stands behind `write`, in each length that is whole.
fn written(help: &str) -> Vec<Written> {
    let at = if help.starts_with("write") { Some(0) } else { help.find(" write ").map(|at| at + 1) };
    let Some(rest) = at.map(|at| help["write".len() + at..].trim_start_matches(' ')) else {
        return Vec::new();
    };
    let rest = rest.strip_prefix("it like this: ").unwrap_or(rest);
    let more = ["has a line ", "add "].iter().find_map(|words| {
        let (_, line) = rest.split_once(words)?;
        longest(line, |part| part.parse::<Table>().is_ok_and(|table| table.len() == 1))
    });
    let written = |text: String| Written { text, more: more.clone() };
    if let Some(lines) = rest.strip_prefix('\n') {
        return vec![written(lines.to_owned())];
    }
    if rest.starts_with('#') {
        return vec![written(rest.to_owned())];
    }
    let header =
        |part: &str| part.starts_with('[') && part.parse::<Table>().is_ok_and(|table| table.len() == 1);
    let line = |part: &str| part.contains('=') && part.parse::<Table>().is_ok_and(|table| table.len() == 1);
    let entries = |part: &str| !part.ends_with(',') && format!("x = [{part}]").parse::<Table>().is_ok();
    let value = |part: &str| format!("x = {part}").parse::<Table>().is_ok();
    let ways: [&dyn Fn(&str) -> bool; 4] = [&header, &line, &entries, &value];
    let mut found: Vec<String> = ways.iter().filter_map(|way| longest(rest, way)).collect();
    found.dedup();
    found.into_iter().map(written).collect()
}

/// The longest beginning of one line that is whole.
fn longest(text: &str, is_whole: impl Fn(&str) -> bool) -> Option<String> {
    let line = text.lines().next().unwrap_or_default();
    let ends = line.char_indices().map(|(at, c)| at + c.len_utf8());
    ends.rev()
        .map(|end| line[..end].trim_end())
        .find(|part| !part.is_empty() && is_whole(part))
        .map(str::to_owned)
}

/// A text that has a fault.
struct Text<'f> {
    lines: Vec<String>,
    fault: &'f Shown,
}

impl Text<'_> {
    fn index(&self) -> usize {
        self.fault.line.saturating_sub(1)
    }

    fn line(&self) -> Vec<char> {
        self.lines.get(self.index()).map(|line| line.chars().collect()).unwrap_or_default()
    }

    /// What is underlined.
    fn span(&self) -> String {
        self.line().iter().skip(self.fault.column - 1).take(self.fault.width).collect()
    }

    /// A header or a line with a key takes the place of the whole line, anything else that of what is underlined.
    fn with(&self, written: &Written) -> String {
        let Written { text, more } = written;
        let is_line = text.parse::<Table>().is_ok_and(|table| !table.is_empty());
        let pasted = if is_line { self.with_line(text) } else { self.with_span(text) };
        match more {
            Some(more) => {
                let mut lines: Vec<String> = pasted.lines().map(str::to_owned).collect();
                lines.insert(self.index() + 1, more.clone());
                joined(&lines)
            }
            None => pasted,
        }
    }

    fn with_span(&self, new: &str) -> String {
        let line = self.line();
        let start = self.fault.column - 1;
        let before: String = line.iter().take(start).collect();
        let after: String = line.iter().skip(start + self.fault.width).collect();
        self.with_line(&format!("{before}{new}{after}"))
    }

    fn with_line(&self, new: &str) -> String {
        let mut lines = self.lines.clone();
        match lines.get_mut(self.index()) {
            Some(line) => new.clone_into(line),
            None => lines.push(new.to_owned()),
        }
        joined(&lines)
    }

    fn with_line_before(&self, new: &str) -> String {
        let mut lines = self.lines.clone();
        lines.insert(self.index(), new.to_owned());
        joined(&lines)
    }

    fn with_line_after(&self, new: &str) -> String {
        let mut lines = self.lines.clone();
        lines.insert(self.fault.line, new.to_owned());
        joined(&lines)
    }

    fn without_line(&self) -> String {
        let mut lines = self.lines.clone();
        lines.remove(self.index());
        joined(&lines)
    }
}

fn joined(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}
