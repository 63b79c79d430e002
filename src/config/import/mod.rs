//! A file of another proxy becomes a file of routes: `portway import`.
//!
//! Pure: text in, text out. Each language has a parser and one table of what its statements mean here; all of them fill a
//! [`Sheet`](sheet::Sheet), and `write` makes the text of it, which the compiler takes: what it refuses stands as a comment.
//! No statement is lost: each is carried over, or a comment names it with its line and the reason.

mod compose;
mod fields;
mod haproxy;
mod meaning;
mod misread;
mod neighbours;
mod networks;
mod nginx;
mod program;
mod realm;
mod rinetd;
mod sheet;
mod tree;
mod values;
mod write;
mod yaml;

pub use program::Program;
pub use sheet::{Fate, Imported, Statement};

use crate::config::report::Report;
use crate::model::Fault;

/// Makes a file of routes of a file of this program; without one, of the program whose language it is in. `name` is what
/// messages call the file.
pub fn import(name: &str, text: &[u8], program: Option<Program>) -> Result<Imported, Report> {
    let whole = |message: &str, help: &str| Report::about_file(name, Fault::new(message, help));
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(whole("the file is not text (UTF-8)", "is it the right one?"));
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some(program) = program.or_else(|| Program::of(text)) else {
        let help = "say whose it is: --from nginx, haproxy, realm, rinetd or compose";
        return Err(whole("whose file this is cannot be told from its text", help));
    };
    let read = match program {
        Program::Nginx => nginx::read(text),
        Program::Haproxy => haproxy::read(text),
        Program::Realm => realm::read(text),
        Program::Rinetd => rinetd::read(text),
        Program::Compose => compose::read(text),
    };
    let sheet = read.map_err(|misread| Report::at(name, text, misread.at, misread.fault))?;
    write::write(sheet, name).map_err(|why| {
        let message = format!("there is nothing in this file of {program} that Portway could forward");
        whole(&message, why.as_deref().unwrap_or_else(|| program.wants()))
    })
}
