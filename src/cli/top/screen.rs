//! The state of the screen: what a key does to it, and what an answer of the proxy does. Pure: it uses no terminal, no
//! clock and no socket.

use super::View;
use super::deeds::Deed;
use super::rates::Rates;
use super::view::{Sort, TableView};
use super::views;

/// The tab that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Routes,
    Upstreams,
    Connections,
    Faults,
}

pub(super) const TABS: [(Tab, &str); 4] = [
    (Tab::Routes, "1 Routes"),
    (Tab::Upstreams, "2 Upstreams"),
    (Tab::Connections, "3 Connections"),
    (Tab::Faults, "4 Faults"),
];

/// The keys that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What the keys mean now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move through the table.
    Walk,
    /// They write the filter.
    Filter,
    /// They say yes or no: shall this be done? The text is the question on the screen.
    Confirm(Deed, String),
    /// Any of them closes the help.
    Help,
}

/// What the caller is to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Ask the proxy now.
    Ask,
    /// Let the proxy do this.
    Do(Deed),
    Leave,
}

/// A fault of the file that was seen while the screen was open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub since: String,
    pub headline: String,
}

/// How many faults are remembered.
const FAULTS: usize = 20;

/// The position in one table: its chosen row, and its order.
#[derive(Clone, Debug, Default)]
struct Place {
    row: usize,
    key: Option<String>,
    sort: Sort,
}

/// The whole state of the screen.
#[derive(Debug)]
pub(super) struct Screen {
    pub tab: Tab,
    pub mode: Mode,
    pub filter: String,
    pub paused: bool,
    pub view: Option<View>,
    pub rates: Rates,
    /// Why the last answer did not come. `None`: it came.
    pub lost: Option<String>,
    /// The outcome of the last action, until the next key.
    pub message: Option<String>,
    /// The faults seen so far, the latest first.
    pub faults: Vec<Fault>,
    /// Whether bars are in ASCII.
    pub plain: bool,
    /// The first line of the faults that is shown, counted from 0.
    pub scroll: usize,
    places: [Place; 3],
    /// How many rows of a table fit, as it was last drawn.
    pub page: usize,
    /// How wide it was last drawn, in characters.
    pub width: u16,
}

impl Screen {
    /// A screen that has seen nothing yet.
    pub(super) fn new(plain: bool) -> Screen {
        let sorted = |column, down| Place { sort: Sort { column, down }, ..Place::default() };
        Screen {
            tab: Tab::Routes,
            mode: Mode::Walk,
            filter: String::new(),
            paused: false,
            view: None,
            rates: Rates::default(),
            lost: None,
            message: None,
            faults: Vec::new(),
            plain,
            scroll: 0,
            // Routes and upstreams are sorted by name, connections by what they move.
            places: [sorted(0, false), sorted(0, false), sorted(7, true)],
            page: 10,
            width: 80,
        }
    }

    /// Whether the connections are shown: they are asked for only then.
    pub(super) fn wants_connections(&self) -> bool {
        self.tab == Tab::Connections
    }

    /// Takes in an answer of the proxy, or why there was none.
    pub(super) fn see(&mut self, answer: Result<View, String>) {
        let view = match answer {
            Ok(view) => view,
            Err(why) => return self.lost = Some(why),
        };
        self.lost = None;
        if let Some(pending) = &view.status.pending {
            let fault = Fault { since: pending.since.clone(), headline: pending.headline.clone() };
            if self.faults.first() != Some(&fault) {
                self.faults.insert(0, fault);
                self.faults.truncate(FAULTS);
            }
        }
        // A pause holds the picture; the rates go on.
        self.rates.note(&view);
        if !self.paused {
            self.view = Some(view);
        }
        self.keep_place();
    }

    /// The table that is shown. `None`: no answer has come yet, or the faults are shown.
    pub(super) fn view(&self) -> Option<TableView> {
        let view = self.view.as_ref()?;
        let view = match self.tab {
            Tab::Routes => views::routes(view, &self.rates, self.plain),
            Tab::Upstreams => views::upstreams(view, &self.rates),
            Tab::Connections => views::connections(view, &self.rates),
            Tab::Faults => return None,
        };
        Some(view.arranged(&self.filter, self.sort()))
    }

    /// The chosen row of the table.
    pub(super) fn row(&self) -> usize {
        self.place().map_or(0, |place| place.row)
    }

    pub(super) fn sort(&self) -> Sort {
        self.place().map(|place| place.sort).unwrap_or_default()
    }

    fn place(&self) -> Option<&Place> {
        self.places.get(self.tab as usize)
    }

    /// Keeps the chosen row chosen after rows have moved; if it is gone, chooses the one in its place.
    fn keep_place(&mut self) {
        let Some(view) = self.view() else { return };
        let Some(place) = self.places.get_mut(self.tab as usize) else { return };
        let found = view.rows.iter().position(|row| Some(&row.key) == place.key.as_ref());
        place.row = found.unwrap_or(place.row).min(view.rows.len().saturating_sub(1));
        place.key = view.rows.get(place.row).map(|row| row.key.clone());
    }

    fn go(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let Some(view) = self.view() else {
            self.scroll = to(self.scroll, self.page).min(10_000);
            return;
        };
        let last = view.rows.len().saturating_sub(1);
        let Some(place) = self.places.get_mut(self.tab as usize) else { return };
        place.row = to(place.row, self.page).min(last);
        place.key = view.rows.get(place.row).map(|row| row.key.clone());
    }

    /// Handles a key.
    pub(super) fn key(&mut self, key: Key) -> Act {
        if key == Key::Interrupt {
            return Act::Leave;
        }
        match std::mem::replace(&mut self.mode, Mode::Walk) {
            Mode::Walk => self.walk(key),
            Mode::Filter => self.write(key),
            Mode::Help => Act::Nothing,
            Mode::Confirm(deed, question) => match key {
                Key::Char('y' | 'Y') => Act::Do(deed),
                Key::Char('n' | 'N' | 'q') | Key::Escape => Act::Nothing,
                // Enter is no answer: it is pressed too easily.
                _ => {
                    self.mode = Mode::Confirm(deed, question);
                    Act::Nothing
                }
            },
        }
    }

    fn walk(&mut self, key: Key) -> Act {
        self.message = None;
        match key {
            Key::Char('q') => return Act::Leave,
            Key::Char('1') => return self.turn_to(Tab::Routes),
            Key::Char('2') => return self.turn_to(Tab::Upstreams),
            Key::Char('3') => return self.turn_to(Tab::Connections),
            Key::Char('4') => return self.turn_to(Tab::Faults),
            Key::Tab | Key::Right => return self.turn_to(self.beside(1)),
            Key::BackTab | Key::Left => return self.turn_to(self.beside(TABS.len() - 1)),
            Key::Up | Key::Char('k') => self.go(|at, _| at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.go(|at, _| at.saturating_add(1)),
            Key::PageUp => self.go(|at, page| at.saturating_sub(page)),
            Key::PageDown => self.go(|at, page| at.saturating_add(page)),
            Key::Home | Key::Char('g') => self.go(|_, _| 0),
            Key::End | Key::Char('G') => self.go(|_, _| usize::MAX),
            Key::Char('s') => self.sort_by(1),
            Key::Char('S') => self.sort_by(-1),
            Key::Char('r') => {
                if let Some(place) = self.places.get_mut(self.tab as usize) {
                    place.sort.down = !place.sort.down;
                }
                self.keep_place();
            }
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Escape => {
                self.filter.clear();
                self.keep_place();
            }
            Key::Char('p' | ' ') => {
                self.paused = !self.paused;
                return Act::Ask;
            }
            Key::Char('x') => self.ask_to_kill(false),
            Key::Char('X') => self.ask_to_kill(true),
            Key::Char(key @ ('d' | 'D' | 'e' | '+' | '-')) => self.ask_to_steer(key),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        Act::Nothing
    }

    fn beside(&self, steps: usize) -> Tab {
        TABS[(self.tab as usize + steps) % TABS.len()].0
    }

    fn turn_to(&mut self, tab: Tab) -> Act {
        self.tab = tab;
        self.keep_place();
        // The connections may not have been asked for yet.
        if self.wants_connections() { Act::Ask } else { Act::Nothing }
    }

    /// Sorts by the next column, or by the one before; numbers with the largest first.
    fn sort_by(&mut self, step: isize) {
        let Some(columns) = self.view().map(|view| view.columns) else { return };
        let Some(place) = self.places.get_mut(self.tab as usize) else { return };
        let count = columns.len() as isize;
        let mut column = place.sort.column;
        // Skip columns that are not shown, and go around at most once.
        for _ in 0..count {
            column = (column as isize + step).rem_euclid(count) as usize;
            if columns[column].from <= self.width {
                break;
            }
        }
        place.sort = Sort { column, down: columns[column].right };
        self.keep_place();
    }

    fn write(&mut self, key: Key) -> Act {
        self.mode = Mode::Filter;
        match key {
            Key::Enter => self.mode = Mode::Walk,
            Key::Escape => {
                self.filter.clear();
                self.mode = Mode::Walk;
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.keep_place();
        Act::Nothing
    }
}
