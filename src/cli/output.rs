//! How commands print.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Writes to `out`, mostly standard output. Exit code 1 if that fails.
pub(super) fn say(out: &mut impl Write, text: &str) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

/// Whether to write in colour: to a terminal, unless the user asked for none (https://no-color.org).
pub(super) fn colour(out: &impl IsTerminal) -> bool {
    let asked_for_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    out.is_terminal() && !asked_for_none && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
