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
    addresses: Vec<usize>,
    spare: Vec<usize>,
    rows: Vec<Vec<String>>,
    /// Lines below rows: how many rows are above each.
    notes: Vec<(usize, String)>,
}

/// A column is not made narrower than this, in characters.
const NARROWEST: usize = 8;
/// Spaces between two columns.
const GAP: usize = 2;

impl Table {
    /// A table without rows.
    pub fn new(heading: &[&str]) -> Table {
        let heading = heading.iter().map(ToString::to_string).collect();
        Table { heading, right: vec![], addresses: vec![], spare: vec![], rows: vec![], notes: vec![] }
    }

    /// Aligns these columns to the right: they hold numbers.
    pub fn right(&mut self, columns: &[usize]) {
        self.right = columns.to_vec();
    }

    /// Shortens these columns at the left, and never into the port: they hold addresses.
    pub fn addresses(&mut self, columns: &[usize]) {
        self.addresses = columns.to_vec();
    }

    /// Leaves out these columns, in this order, where the terminal is too narrow for all.
    pub fn spare(&mut self, columns: &[usize]) {
        self.spare = columns.to_vec();
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| tidy(&cell)).collect());
    }

    /// Adds a line below the last row.
    pub fn note(&mut self, note: &str) {
        self.notes.push((self.rows.len(), tidy(note)));
    }

    /// The table as text. `width`: that of the terminal. `None`: no cell is cut.
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        for (above, row) in std::iter::once(&self.heading).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let Some(width) = width else { continue };
                let is_address = self.addresses.contains(&column);
                let cell = if is_address { cut_left(cell, *width) } else { cut(cell, *width) };
                let pad = " ".repeat(width - cell.chars().count());
                line += &if self.right.contains(&column) { pad + &cell } else { cell + &pad };
                line += &" ".repeat(GAP);
            }
            text += line.trim_end();
            text.push('\n');
            for (_, note) in self.notes.iter().filter(|(row, _)| *row == above) {
                let note = format!("    {note}");
                text += &width.map_or(note.clone(), |width| cut(&note, width));
                text.push('\n');
            }
        }
        text
    }

    /// The width of each column; `None`: it is left out. If all together are too wide, the widest shrink first.
    fn widths(&self, width: Option<usize>) -> Vec<Option<usize>> {
        let columns = 0..self.heading.len();
        let wide: Vec<usize> =
            columns.clone().map(|column| self.longest(column, |cell| cell.len())).collect();
        let narrow: Vec<usize> = columns.map(|column| self.narrowest(column)).collect();
        let (mut widths, mut left): (Vec<_>, _) =
            (wide.iter().copied().map(Some).collect(), self.spare.iter());
        let Some(most) = width else { return widths };
        while whole(&widths) > most {
            let shrinks = widths.iter_mut().zip(&narrow).filter_map(|(width, least)| {
                let width = width.as_mut()?;
                (*width > *least).then_some(width)
            });
            if let Some(widest) = shrinks.max() {
                *widest -= 1;
            } else if let Some(column) = left.next() {
                // The others have its room.
                widths = widths.iter().zip(&wide).map(|(width, wide)| width.map(|_| *wide)).collect();
                widths.get_mut(*column).into_iter().for_each(|width| *width = None);
            } else {
                break;
            }
        }
        widths
    }

    /// The least width of a column: that of a port and a sign before it, or [`NARROWEST`].
    fn narrowest(&self, column: usize) -> usize {
        let port = |cell: &[char]| match cell.iter().rposition(|c| *c == ':') {
            Some(colon) => cell.len() - colon + 1,
            None => 0,
        };
        let port = if self.addresses.contains(&column) { self.longest(column, port) } else { 0 };
        NARROWEST.max(port)
    }

    /// The largest measure of the cells of a column.
    fn longest(&self, column: usize, measure: impl Fn(&[char]) -> usize) -> usize {
        let all = std::iter::once(&self.heading).chain(&self.rows);
        let cells = all.filter_map(|row| row.get(column));
        cells.map(|cell| measure(&cell.chars().collect::<Vec<_>>())).max().unwrap_or(0)
    }
}

/// The width of a table with columns of these widths.
fn whole(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
}

/// Shortens an address to this width, in characters: its end with the port stays. A `~` at the beginning marks the cut.
pub fn cut_left(cell: &str, width: usize) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().skip(length - width.saturating_sub(1)).collect();
    format!("~{kept}")
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
    fn o6_addresses_keep_their_port_and_spare_columns_leave_first() {
        let mut table = Table::new(&["ROUTE", "CLIENT", "LISTENER", "UPSTREAM"]);
        table.addresses(&[1, 2, 3]);
        table.spare(&[2]);
        let addresses =
            ["192.168.100.7:50123", "[2001:db8:1:2:3:4:5:6]:15432", "db.internal.example.com:5432"];
        table.row(std::iter::once("postgres".to_owned()).chain(addresses.map(str::to_owned)));
        let narrow = |width| table.render(Some(width));
        assert_eq!(
            narrow(50),
            "ROUTE     CLIENT        LISTENER      UPSTREAM\n\
             postgres  ~100.7:50123  ~:5:6]:15432  ~le.com:5432\n"
        );
        for width in 20..90 {
            let text = narrow(width);
            let fits = text.lines().all(|line| line.chars().count() <= width.max(28));
            assert!(fits && text.contains(":50123") && text.contains(":5432"), "{width}:\n{text}");
        }
        assert!(!narrow(30).contains("LISTENER") && narrow(90).contains("[2001:db8:1:2:3:4:5:6]:15432"));
    }

    #[test]
    fn numbers_are_said_as_people_say_them() {
        let shown = [0, 1023, 1024, 10 << 10, 1_500_000, 1 << 40].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.4 MiB", "1.0 TiB"]);
        let shown = [0.25, 59.9, 60.0, 3_700.0, 90_000.0, 86_400.0].map(span);
        assert_eq!(shown, ["0.2s", "59s", "1m", "1h 1m", "1d 1h", "1d"]);
    }
}
