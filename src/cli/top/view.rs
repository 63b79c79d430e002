//! A table of the screen: its columns, and rows that can be sorted by any of them.

use std::cmp::Ordering;

use crate::cli::table::tidy;

/// A column of a table: how it is titled, sized and aligned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub title: &'static str,
    /// Its width, in characters; for a column that takes the rest, its least width.
    pub width: u16,
    pub takes_the_rest: bool,
    pub right: bool,
    /// The least width of a screen that shows it, in characters.
    pub from: u16,
}

/// A column of text.
pub(super) const fn text(title: &'static str, width: u16) -> Column {
    Column { title, width, takes_the_rest: false, right: false, from: 0 }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str, width: u16) -> Column {
    Column { title, width, takes_the_rest: false, right: true, from: 0 }
}

impl Column {
    pub(super) const fn rest(mut self) -> Column {
        self.takes_the_rest = true;
        self
    }

    pub(super) const fn from(mut self, width: u16) -> Column {
        self.from = width;
        self
    }
}

/// How a row stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    None,
    /// It works.
    Good,
    /// It works in part.
    Warning,
    /// It does not work.
    Bad,
    /// It is going away.
    Faint,
}

/// A cell: as it is shown, and what it is sorted by.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub text: String,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Text,
    Number(f64),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Cell {
        Cell { text: tidy(&text.into()), by: By::Text }
    }

    pub(super) fn number(text: impl Into<String>, by: f64) -> Cell {
        Cell { text: text.into(), by: By::Number(by) }
    }

    fn compare(&self, other: &Cell) -> Ordering {
        match (&self.by, &other.by) {
            (By::Number(one), By::Number(another)) => one.total_cmp(another),
            _ => self.text.cmp(&other.text),
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Finds the row again after the next look.
    pub key: String,
    pub cells: Vec<Cell>,
    pub mark: Mark,
    /// The line below the table while the row is chosen.
    pub note: String,
}

/// The column to sort by, and whether the largest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sort {
    pub column: usize,
    pub down: bool,
}

/// A table as it is shown.
#[derive(Clone, Debug)]
pub(super) struct TableView {
    pub columns: &'static [Column],
    pub rows: Vec<Row>,
}

impl TableView {
    /// Keeps the rows that contain the filter anywhere, and sorts them.
    pub(super) fn arranged(mut self, filter: &str, sort: Sort) -> TableView {
        let wanted = filter.to_lowercase();
        self.rows.retain(|row| {
            let mut texts = row.cells.iter().map(|cell| &cell.text).chain([&row.note]);
            wanted.is_empty() || texts.any(|text| text.to_lowercase().contains(&wanted))
        });
        // A stable sort: rows that are equal keep their order.
        self.rows.sort_by(|one, another| {
            let order = match (one.cells.get(sort.column), another.cells.get(sort.column)) {
                (Some(one), Some(another)) => one.compare(another),
                _ => Ordering::Equal,
            };
            if sort.down { order.reverse() } else { order }
        });
        self
    }
}
