//! Where the access log goes: into no file that Portway reads, for its lines would stand in it.

use std::path::{Path, PathBuf};

use crate::config::{Compiled, Report, ValueFault};
use crate::files::Identity;
use crate::model::addr::straight;
use crate::model::{AdminSettings, Credentials, Fault, LogTarget, TokenSource};

/// Fails if the access log is a file that the routes' file is, or names. May block.
pub(super) fn check(compiled: &Compiled) -> Result<(), Report> {
    let LogTarget::File(target) = &compiled.table.log.access else { return Ok(()) };
    let Some(what) = read_there(compiled, target) else { return Ok(()) };
    let message = format!("the access log would be written into {what}");
    let fault = Fault::new(message, "write another path: \"access.log\"");
    let value = target.to_string_lossy().into_owned();
    Err(compiled.value_faults(&[ValueFault { keys: &["access"], value, fault }]))
}

/// What Portway reads at this path.
fn read_there(compiled: &Compiled, target: &Path) -> Option<&'static str> {
    let (table, folder) = (&compiled.table, compiled.folder());
    let is_it = |path: &Path| is_same(&folder.join(path), target);
    if is_same(Path::new(compiled.files().main().name()), target) {
        return Some("this file itself");
    }
    if compiled.files().included().keys().any(|path| is_it(path)) || is_included(compiled, target) {
        return Some("a file of `include`");
    }
    if table.all_routes().flat_map(|route| route.policy.access.files()).any(|path| is_it(path)) {
        return Some("a list of networks");
    }
    let of = |credentials: Credentials| credentials.files().into_iter().any(|(_, path)| is_it(path));
    if table.all_routes().flat_map(|route| route.policy.tls.credentials()).any(of) {
        return Some("a certificate or a key");
    }
    let token = |source: &TokenSource| matches!(source, TokenSource::File(path) if is_it(path));
    table.admin.iter().flat_map(AdminSettings::token_sources).any(token).then_some("a token")
}

/// Whether both paths lead to one file. Where one of them leads nowhere yet, its text tells.
fn is_same(one: &Path, other: &Path) -> bool {
    match (Identity::of(one), Identity::of(other)) {
        (Ok(one), Ok(other)) => one.is_same_file(&other),
        _ => plain(one).is_some_and(|one| plain(other) == Some(one)),
    }
}

/// Whether `include` means the path, even if no file is there yet.
fn is_included(compiled: &Compiled, target: &Path) -> bool {
    let (main, folder) = (compiled.files().main(), plain(compiled.folder()));
    let Some(target) = plain(target) else { return false };
    let inside = folder.and_then(|folder| target.strip_prefix(folder).ok());
    main.includes(&target) || inside.is_some_and(|path| main.includes(path))
}

/// The path from the root, without `.` and `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    // The folder of a file without one is the working directory.
    std::env::current_dir().ok().map(|here| straight(&here.join(path)))
}
