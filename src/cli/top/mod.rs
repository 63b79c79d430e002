//! `portway top`: the running proxy, live in a terminal.
//!
//! `screen` is its state, which keys and answers change; `draw` draws it. Both are pure. This module has the rest: the
//! terminal, the clock, and a thread that asks the proxy, so that a proxy that does not answer holds up no key.

mod ask;
mod confirm;
mod deeds;
mod draw;
mod rates;
mod screen;
#[cfg(test)]
mod tests;
mod view;
mod views;

use std::io::{self, IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::Instant;

use self::ask::{Answer, Asker, Order, View};
use self::screen::{Act, Key, Screen};
use super::{admin, table};

/// Shows the running proxy live: routes and their rates, upstreams, connections, faults
#[derive(Debug, clap::Args)]
#[command(after_help = "Keys: ? shows them. Without colour: NO_COLOR=1.

Example:
  portway top
  portway top --admin unix:/run/portway/admin.sock --every 5s")]
pub struct Args {
    #[command(flatten)]
    proxy: admin::Proxy,
    /// How often the proxy is asked. At least "100ms".
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    every: Duration,
}

/// The shortest time between two looks at the proxy.
const SOONEST: Duration = Duration::from_millis(100);
/// How soon an answer is shown at the latest.
const BLINK: Duration = Duration::from_millis(50);

/// Shows the screen until the person leaves it.
pub fn run(args: &Args) -> ExitCode {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        // If standard error is gone, the exit code is all that can be said.
        drop(io::stderr().write_all(
            b"error: top needs a terminal\n  help: in a script take portway status --json, or portway connections --json\n",
        ));
        return ExitCode::from(2);
    }
    let proxy = match args.proxy.find() {
        Ok(proxy) => proxy,
        Err(failure) => return failure.exit(),
    };
    // Before the screen opens: if no proxy answers, plain words say so.
    let first = match ask::look(&proxy, false) {
        Ok(view) => view,
        Err(failure) => return failure.exit(),
    };
    let watched = Asker::start(proxy).and_then(|asker| {
        let mut screen = Screen::new(!speaks_utf8());
        screen.see(Ok(first));
        let mut terminal = ratatui::try_init()?;
        let watched = watch(&mut terminal, &mut screen, asker, args.every.max(SOONEST));
        ratatui::restore();
        watched
    });
    match watched {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "error: the terminal: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the terminal shows more than ASCII, according to the locale.
fn speaks_utf8() -> bool {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os);
    let mut said = said.filter(|value| !value.is_empty());
    let locale = said.next().unwrap_or_default().to_string_lossy().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn watch(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    mut asker: Asker,
    every: Duration,
) -> io::Result<()> {
    let colour = super::output::colour(&stdout());
    let mut due = Instant::now() + every;
    loop {
        terminal.draw(|frame| draw::draw(frame, screen, colour))?;
        let wait = if asker.waits() { BLINK } else { due.saturating_duration_since(Instant::now()) };
        if event::poll(wait)?
            && let Event::Key(pressed) = event::read()?
            && let Some(key) = key(pressed)
        {
            match screen.key(key) {
                Act::Leave => return Ok(()),
                Act::Nothing => {}
                Act::Ask => due = Instant::now(),
                Act::Do(deed) => asker.order(Order::Do(deed)),
            }
        }
        while let Some(answer) = asker.answer() {
            match answer {
                Answer::Look(view) => screen.see(*view),
                Answer::Done(message) => {
                    screen.message = Some(message);
                    due = Instant::now();
                }
            }
        }
        if !asker.waits() && Instant::now() >= due {
            asker.order(Order::Look { connections: screen.wants_connections() });
            due = Instant::now() + every;
        }
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c' | 'd') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Char('x'),
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
