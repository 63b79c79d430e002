//! Tables for people: as wide as the terminal, and whole if they are piped.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use serde::Serialize;

use super::output::say;

/// Rows under a heading.
#[derive(Debug)]
pub struct Table {
    heading: Vec<String>,
    right: Vec<usize>,
    rows: Vec<Vec<String>>,
}

/// A column is not made narrower than this, in characters.
const NARROWEST: usize = 8;
/// Spaces between two columns.
const GAP: usize = 2;

impl Table {
    /// A table without rows.
    pub fn new(heading: &[&str]) -> Table {
        let heading = heading.iter().map(ToString::to_string).collect();
        Table { heading, right: Vec::new(), rows: Vec::new() }
    }

    /// Aligns these columns to the right: they hold numbers.
    pub fn right(&mut self, columns: &[usize]) {
        self.right = columns.to_vec();
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| tidy(&cell)).collect());
    }

    /// The table as text. `width`: that of the terminal. `None`: no cell is cut.
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        for row in std::iter::once(&self.heading).chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = cut(cell, *width);
                let pad = " ".repeat(width - cell.chars().count());
                line += &if self.right.contains(&column) { pad + &cell } else { cell + &pad };
                line += &" ".repeat(GAP);
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// The width of each column. If all together are too wide, the widest shrink first.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let all = || std::iter::once(&self.heading).chain(&self.rows);
        let widest = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.heading.len()).map(widest).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        while let Some(width) = width
            && widths.iter().sum::<usize>() + gaps > width
            && let Some(widest) = widths.iter_mut().filter(|width| **width > NARROWEST).max()
        {
            *widest -= 1;
        }
        widths
    }
}

/// Cuts a cell to this width, in characters. A `~` at the end marks the cut.
pub fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    kept + "~"
}

/// Replaces control characters: a name from outside must not control the terminal.
pub fn tidy(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The width of the terminal. `None`: there is none.
pub fn width() -> Option<usize> {
    if !stdout().is_terminal() {
        return None;
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.or_else(|| rustix::termios::tcgetwinsize(stdout()).ok().map(|size| size.ws_col.into()))
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> ExitCode {
    // None of these values fails to serialize.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    say(&mut stdout().lock(), &(text + "\n"))
}

/// A number of things: `1 route`, `2 routes`.
pub fn count(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Bytes as people say them: `1.4 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Seconds as people say them, in the two largest units: `1h 1m`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let parts = [("d", whole / 86_400), ("h", whole / 3600 % 24), ("m", whole / 60 % 60), ("s", whole % 60)];
    match parts.iter().position(|(_, number)| *number > 0) {
        None => format!("{:.1}s", seconds.max(0.0)),
        Some(first) => {
            let shown = parts[first..].iter().take(2).filter(|(_, number)| *number > 0);
            shown.map(|(unit, number)| format!("{number}{unit}")).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_where_it_must_and_is_whole_elsewhere() {
        let mut table = Table::new(&["ROUTE", "OPEN", "UPSTREAM"]);
        table.right(&[1]);
        table.row(["a".to_owned(), "12".to_owned(), "a-very-long-name.example.com:5432".to_owned()]);
        table.row(["\u{1b}[31mb".to_owned(), "3".to_owned(), "b:1".to_owned()]);
        assert_eq!(
            table.render(None),
            "ROUTE   OPEN  UPSTREAM\n\
             a         12  a-very-long-name.example.com:5432\n\
             \u{fffd}[31mb     3  b:1\n"
        );
        let narrow = table.render(Some(30));
        assert!(narrow.lines().all(|line| line.chars().count() <= 30), "{narrow}");
        assert!(narrow.contains("a-very-long-nam~"), "{narrow}");
    }

    #[test]
    fn numbers_are_said_as_people_say_them() {
        let shown = [0, 1023, 1024, 10 << 10, 1_500_000, 1 << 40].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.4 MiB", "1.0 TiB"]);
        let shown = [0.25, 59.9, 60.0, 3_700.0, 90_000.0, 86_400.0].map(span);
        assert_eq!(shown, ["0.2s", "59s", "1m", "1h 1m", "1d 1h", "1d"]);
    }
}
