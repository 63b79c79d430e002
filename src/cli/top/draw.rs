//! Draws the state of the screen. Words and positions say everything; colour, if there is any, only repeats it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::screen::{Mode, Screen, TABS, Tab};
use super::view::{Column, Mark, TableView};
use crate::admin::api::{Phase, ReloadOutcome, Status};
use crate::cli::table::{bytes, count, cut, span};

const HELP: &str = "\
1 2 3 4, Tab, left right   routes, upstreams, connections, faults
up down, PgUp PgDn, g G    choose a row
s S                        sort by the next column, by the one before
r                          the other way round
/                          show only rows with these letters; Esc: all
x                          reset the chosen connection (asks first)
X                          reset all that the filter leaves (asks first)
d D e                      drain, disable, enable a route or an
                           upstream (asks first)
+ -                        give an upstream another weight (asks first)
p, space                   hold the picture
q, Ctrl-C                  leave

Any key closes this.";

/// Draws everything. `colour`: whether it may be used.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen, colour: bool) {
    let [head, file, tabs, body, note, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let paint = Paint { colour };
    match &screen.view {
        None => {
            let text = screen.lost.as_deref().unwrap_or("asking the proxy ...");
            frame.render_widget(Paragraph::new(text.to_owned()).wrap(Wrap { trim: false }), body);
        }
        Some(view) => {
            let now = screen.rates.all.now();
            frame.render_widget(Line::from(headline(&view.status, now)).style(paint.strong()), head);
            frame.render_widget(of_file(screen, &view.status, paint), file);
        }
    }
    frame.render_widget(tab_line(screen, paint), tabs);
    let said = match screen.view() {
        Some(view) => table(frame, body, &view, screen, paint),
        None if screen.tab == Tab::Faults => faults(frame, body, screen),
        None => String::new(),
    };
    frame.render_widget(Line::from(said), note);
    frame.render_widget(foot_line(screen, paint), foot);
    if screen.mode == Mode::Help {
        let lines = HELP.lines().count() as u16;
        over(frame, HELP, Size::new(70, lines), " keys ");
    }
    if let Mode::Confirm(_, question) = &screen.mode {
        let text = format!("{question}\n\ny: yes    n: no");
        over(frame, &text, Size::new(64, 4), " really? ");
    }
}

/// The styles in which things stand out, with or without colour.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn mark(self, mark: Mark) -> Style {
        let coloured = |style: Style, colour| if self.colour { style.fg(colour) } else { style };
        match mark {
            Mark::None => Style::new(),
            Mark::Good => coloured(Style::new(), Color::Green),
            Mark::Warning => coloured(Style::new(), Color::Yellow),
            Mark::Bad => coloured(self.strong(), Color::Red),
            Mark::Faint => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

fn headline(status: &Status, now: super::rates::Sample) -> String {
    let phase = match status.phase {
        Phase::Running => "running",
        Phase::Draining => "DRAINING",
    };
    let most = status.limits.connections.most.saturating_add(status.limits.sessions.most);
    format!(
        "Portway {phase} {}, {} open of {most}, {:.0} new/s, {}/s up, {}/s down",
        span(status.uptime),
        status.traffic.open,
        now.opened,
        bytes(now.up as u64),
        bytes(now.down as u64),
    )
}

/// Whether the file is what runs; or, if nobody answers any more, why.
fn of_file(screen: &Screen, status: &Status, paint: Paint) -> Line<'static> {
    if let Some(why) = &screen.lost {
        return Line::from(format!("NO ANSWER: {why}")).style(paint.mark(Mark::Bad));
    }
    let generation = status.generation;
    let ago = span(status.reload.age);
    match (&status.file, &status.pending) {
        (None, _) => Line::from(format!("generation {generation}, routes of the command line")),
        (Some(file), Some(_)) if status.reload.outcome == ReloadOutcome::RolledBack => {
            Line::from(format!("{file} ROLLED BACK: see 4")).style(paint.mark(Mark::Bad))
        }
        (Some(file), Some(pending)) => {
            let text = format!("{file} REFUSED ({}): see 4", count(pending.faults, "fault"));
            Line::from(text).style(paint.mark(Mark::Bad))
        }
        (Some(file), None) => {
            let what = match status.reload.outcome {
                ReloadOutcome::Started | ReloadOutcome::NoFile => format!("read {ago} ago"),
                ReloadOutcome::Reloaded => format!("reloaded {ago} ago"),
                // It is followed, and read only where it may have changed.
                ReloadOutcome::Unchanged => format!("is what runs (read {ago} ago, no change)"),
                ReloadOutcome::Refused => format!("refused {ago} ago"),
                ReloadOutcome::RolledBack => format!("rolled back {ago} ago"),
            };
            let left = status.reload.probation;
            let probation = left.map(|left| format!(", on probation for {}", span(left))).unwrap_or_default();
            let stale = if status.reload.stale { "; STALE: mount its folder" } else { "" };
            Line::from(format!("generation {generation}, {file} {what}{probation}{stale}"))
        }
    }
}

fn tab_line(screen: &Screen, paint: Paint) -> Line<'static> {
    let mut spans = Vec::new();
    for (tab, title) in TABS {
        let style = if tab == screen.tab { paint.chosen() } else { Style::new() };
        spans.extend([Span::styled(format!(" {title} "), style), Span::raw(" ")]);
    }
    if screen.paused {
        spans.push(Span::styled("HELD (p)", paint.strong()));
    }
    Line::from(spans)
}

/// Draws a table. Returns the note of its chosen row.
fn table(frame: &mut Frame<'_>, area: Rect, view: &TableView, screen: &mut Screen, paint: Paint) -> String {
    screen.page = usize::from(area.height.saturating_sub(1)).max(1);
    let shown: Vec<(usize, &Column)> =
        view.columns.iter().enumerate().filter(|(_, column)| area.width >= column.from).collect();
    screen.width = area.width;
    let sort = screen.sort();
    let fixed: u16 =
        shown.iter().filter(|(_, column)| !column.takes_the_rest).map(|(_, column)| column.width + 1).sum();
    let rest = area.width.saturating_sub(fixed);
    let title = |(at, column): &(usize, &Column)| {
        let arrow = match (*at == sort.column, sort.down) {
            (false, _) => "",
            (true, false) => "^",
            (true, true) => "v",
        };
        aligned(format!("{}{arrow}", column.title), column.right)
    };
    let header = Row::new(shown.iter().map(title)).style(paint.strong());
    let rows = view.rows.iter().map(|row| {
        let cells = shown.iter().map(|(at, column)| {
            let text = row.cells.get(*at).map(|cell| cell.text.as_str()).unwrap_or_default();
            // A cut must be visible.
            let text = cut(text, usize::from(if column.takes_the_rest { rest } else { column.width }));
            // The state is the second column of the tables that have one.
            let style = if *at < 3 && column.title == "STATE" { paint.mark(row.mark) } else { Style::new() };
            aligned(text, column.right).style(style)
        });
        Row::new(cells)
    });
    let widths = shown.iter().map(|(_, column)| match column.takes_the_rest {
        true => Constraint::Length(rest.max(column.width)),
        false => Constraint::Length(column.width),
    });
    let widget = Table::new(rows, widths).header(header).row_highlight_style(paint.chosen());
    let mut state = TableState::default().with_selected((!view.rows.is_empty()).then_some(screen.row()));
    frame.render_stateful_widget(widget, area, &mut state);
    match view.rows.get(screen.row()) {
        Some(row) => row.note.clone(),
        None if screen.filter.is_empty() => "nothing here".to_owned(),
        None => "the filter leaves nothing (Esc: show all)".to_owned(),
    }
}

fn aligned(text: String, right: bool) -> Line<'static> {
    if right { Line::from(text).right_aligned() } else { Line::from(text) }
}

/// Draws the faults. Returns which of the lines are shown, if not all fit.
fn faults(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen) -> String {
    let Some(view) = &screen.view else { return String::new() };
    let mut lines: Vec<String> = Vec::new();
    match &view.status.pending {
        Some(pending) => {
            lines.push(format!("Since {} the file is not what runs:", pending.since));
            lines.extend(pending.report.lines().map(str::to_owned));
        }
        None => lines.push("The file is what runs.".to_owned()),
    }
    let down = view.upstreams.upstreams.iter().filter_map(|upstream| {
        upstream
            .reason
            .as_ref()
            .map(|reason| format!("{} of {}: {reason}", upstream.upstream, upstream.route))
    });
    heading(&mut lines, "Unavailable upstreams", down);
    let past = screen.faults.iter().map(|fault| format!("{} {}", fault.since, fault.headline));
    heading(&mut lines, "Faults seen while this was open, the latest first", past);
    let lines: Vec<String> = lines.iter().flat_map(|line| broken(line, area.width.into())).collect();
    screen.page = usize::from(area.height).max(1);
    screen.scroll = screen.scroll.min(lines.len().saturating_sub(screen.page));
    let total = lines.len();
    let shown = lines.into_iter().skip(screen.scroll).take(screen.page).map(Line::from);
    frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), area);
    if total > screen.page { format!("lines {} of {total}", screen.scroll + 1) } else { String::new() }
}

/// Breaks a line into several of this width, in characters.
fn broken(line: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    match letters.len() {
        0 => vec![String::new()],
        _ => letters.chunks(width.max(1)).map(|part| part.iter().collect()).collect(),
    }
}

fn heading(lines: &mut Vec<String>, title: &str, found: impl Iterator<Item = String>) {
    let mut found = found.peekable();
    if found.peek().is_some() {
        lines.extend([String::new(), format!("{title}:")]);
        lines.extend(found);
    }
}

fn foot_line(screen: &Screen, paint: Paint) -> Line<'static> {
    if screen.mode == Mode::Filter {
        return Line::from(format!("/{}_   (Enter: keep, Esc: all)", screen.filter)).style(paint.strong());
    }
    if let Some(message) = &screen.message {
        return Line::from(message.clone()).style(paint.strong());
    }
    let filter = match screen.filter.as_str() {
        "" => String::new(),
        filter => format!("filter \"{filter}\"  "),
    };
    let deeds = match screen.tab {
        Tab::Connections => "x kill  ",
        Tab::Routes | Tab::Upstreams => "d drain  e enable  ",
        Tab::Faults => "",
    };
    Line::from(format!("{filter}{deeds}s sort  r reverse  / filter  p hold  ? help  q quit"))
}

/// Draws a box in the middle of the screen.
fn over(frame: &mut Frame<'_>, text: &str, size: Size, title: &'static str) {
    let area = frame.area();
    let (width, height) = ((size.width + 4).min(area.width), (size.height + 2).min(area.height));
    let area = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    let text = Paragraph::new(text.to_owned()).wrap(Wrap { trim: false });
    frame.render_widget(text.block(Block::bordered().title(title)), area);
}
