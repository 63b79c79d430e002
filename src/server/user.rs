//! `[process] user`: whom a start as root becomes.

use std::io;
use std::path::Path;

use tracing::warn;

use super::{include_set, sources};
use crate::config::{Compiled, Report, process_of};
use crate::files;
use crate::model::{Fault, User};
use crate::net::user::{Account, is_root};

/// Becomes the user that the file names. Before the first thread, and before anything is opened: what that user may open
/// then, an edit may open too. A fault of the file is left to those who report it.
pub(super) fn become_user(path: &Path) -> io::Result<()> {
    match files::read(path) {
        Ok(content) => become_user_of(path, content.bytes).map(drop),
        Err(_) => Ok(()),
    }
}

/// The same, with the text of the file. Returns whom it has become. `None`: it stays who it was.
pub fn become_user_of(path: &Path, text: Vec<u8>) -> io::Result<Option<User>> {
    let user = process_of(&text).user.filter(|_| is_root());
    let account = user.as_ref().and_then(Account::of).filter(|account| !account.is_ours());
    let Some((user, account)) = user.zip(account) else { return Ok(None) };
    account.become_it(sources::rights_for(&include_set::texts(path, text))).map_err(|error| {
        let help = "a start as root needs CAP_SETUID and CAP_SETGID for it";
        io::Error::new(error.kind(), format!("it cannot become the user `{user}`: {error}; {help}"))
    })?;
    Ok(Some(user))
}

/// Makes sure that nobody goes on as root whom the file wants to be another, and warns if nobody had to be.
pub(super) fn verify(compiled: &Compiled) -> io::Result<()> {
    match &compiled.table.process.user {
        None if is_root() => warn!(
            "it runs as root, which it does not need: with [process] user = \"portway\" it becomes that user \
             and keeps the right to ports below 1024; user = \"root\" says that it is meant"
        ),
        Some(user) if !is_ours(user) && is_root() => {
            let error = format!("the user `{user}` came into the file during the start: start again");
            return Err(io::Error::other(error));
        }
        Some(user) if !is_ours(user) => {
            warn!(%user, "[process] user is of no effect: only a start as root can become another user");
        }
        _ => {}
    }
    Ok(())
}

/// Warns of an edit that only the next start can follow.
pub(super) fn warn_if_late(user: Option<&User>) {
    if let Some(user) = user.filter(|user| !is_ours(user)) {
        warn!(%user, "[process] user takes effect at the next start: until then it runs as before");
    }
}

/// Fails if the file names a user whom this system does not have.
pub(super) fn check(compiled: &Compiled) -> Result<(), Report> {
    match &compiled.table.process.user {
        Some(user) if Account::of(user).is_none() => {
            let fault = Fault::new(
                format!("this system has no user `{user}`"),
                "write the number of the user, or one of the names in /etc/passwd",
            );
            Err(compiled.user_fault(fault))
        }
        _ => Ok(()),
    }
}

fn is_ours(user: &User) -> bool {
    Account::of(user).is_some_and(|account| account.is_ours())
}
